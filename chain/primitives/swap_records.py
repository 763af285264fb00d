"""What the state holds of a swap with another chain (key: `records.Domain.SWAP`)."""

from enum import IntEnum
from typing import Self

import msgspec

from chain.primitives import message_pack
from chain.primitives.message_pack import amount_from_bytes, amount_to_bytes, decode_trusted
from chain.primitives.types import Address, Amount, Hash32


class SwapStatus(IntEnum):
    """As the view `swap` and the Solidity counterpart give it."""

    NONE = 0
    """No swap has this id."""
    OPEN = 1
    CLAIMED = 2
    REFUNDED = 3


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """A hash-time-locked transfer. It stays for ever, so that its id is used once."""

    sender: Address
    recipient: Address
    asset: Address
    value: Amount
    hash: Hash32
    """SHA-256 of the secret."""
    deadline: int
    """Unix seconds: claimed before, refunded from then on."""
    status: SwapStatus = SwapStatus.OPEN
    secret: bytes = b""
    """32 bytes once it is claimed."""

    def encode(self) -> bytes:
        """Fields in order."""
        values = list(msgspec.structs.astuple(self))
        values[3] = amount_to_bytes(self.value)
        return message_pack.encode(values)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        sender, recipient, asset, value, hash_, deadline, status, secret = decode_trusted(
            encoded, tuple[bytes, bytes, bytes, bytes, bytes, int, SwapStatus, bytes]
        )
        return cls(
            sender=Address(sender),
            recipient=Address(recipient),
            asset=Address(asset),
            value=amount_from_bytes(value),
            hash=Hash32(hash_),
            deadline=deadline,
            status=status,
            secret=secret,
        )
