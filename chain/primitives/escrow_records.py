"""What the state holds of a client's deposit (key: `records.Domain.DEPOSIT`)."""

from typing import Self

import msgspec

from chain.primitives import message_pack
from chain.primitives.message_pack import amount_from_bytes, amount_to_bytes, decode_trusted
from chain.primitives.types import Amount


class Deposit(msgspec.Struct, frozen=True, kw_only=True):
    """What one client has put aside for one audience, while it is above 0. Never: balance < withdrawal."""

    audience: str
    balance: Amount
    """Atoms, also those that a withdrawal was asked for: they can be settled until they are taken."""
    deadline: int
    """Unix seconds: settled before, refunded from then on."""
    withdrawal: Amount = Amount(0)
    """What the client has asked to take out; 0 where nothing is asked."""
    withdrawable_from: int = 0
    """Unix seconds: from when the withdrawal can be taken; 0 where nothing is asked."""

    def encode(self) -> bytes:
        """Fields in order."""
        return message_pack.encode(
            (
                self.audience,
                amount_to_bytes(self.balance),
                self.deadline,
                amount_to_bytes(self.withdrawal),
                self.withdrawable_from,
            )
        )

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        audience, balance, deadline, withdrawal, withdrawable_from = decode_trusted(
            encoded, tuple[str, bytes, int, bytes, int]
        )
        return cls(
            audience=audience,
            balance=amount_from_bytes(balance),
            deadline=deadline,
            withdrawal=amount_from_bytes(withdrawal),
            withdrawable_from=withdrawable_from,
        )
