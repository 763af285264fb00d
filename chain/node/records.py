"""What the node stores beside blocks and in the indexes, as canonical MessagePack. The store does not look inside."""

from typing import Annotated

import msgspec

from chain.primitives import message_pack
from chain.primitives.block import AddressField, HashField, HeightField, TransactionResult
from chain.primitives.types import Address, BlockHeight, Hash32


class StoredResults(msgspec.Struct, frozen=True, array_like=True):
    """What a block's transactions did. Senders and failures are no part of consensus: they spare a second execution."""

    encoded_results: tuple[msgspec.Raw, ...]
    """A TransactionResult each, decoded when asked for: who reads one does not want the thousands beside it."""
    senders: tuple[Annotated[Address, AddressField], ...]
    failures: tuple[tuple[int, str, str], ...]
    """(index, reason, message) of each with status 0."""

    def result(self, index: int) -> TransactionResult:
        """Status and events of one transaction."""
        return message_pack.decode_trusted(bytes(self.encoded_results[index]), TransactionResult)

    def failure(self, index: int) -> str | None:
        """Why a transaction failed, None where it did not."""
        return next((f"{reason}: {message}" for at, reason, message in self.failures if at == index), None)


def encode_results(
    results: tuple[TransactionResult, ...], senders: tuple[Address, ...], failures: tuple[tuple[int, str, str], ...]
) -> bytes:
    """For CommittedBlock.results."""
    return message_pack.encode((results, senders, failures))


def decode_results(encoded: bytes) -> StoredResults:
    """From `encode_results`."""
    return message_pack.decode_trusted(encoded, StoredResults)


class ReceiptEntry(msgspec.Struct, frozen=True, array_like=True):
    """Behind a receipt hash: the transaction that used it up, and who got how much (amounts as minimal bytes)."""

    height: HeightField
    index: int
    shares: tuple[tuple[Address, bytes], ...]

    def encode(self) -> bytes:
        """For the RECEIPT table."""
        return message_pack.encode(self)


def decode_receipt_entry(encoded: bytes) -> ReceiptEntry:
    """From `ReceiptEntry.encode`."""
    return message_pack.decode_trusted(encoded, ReceiptEntry)


class MintEntry(msgspec.Struct, frozen=True, array_like=True):
    """One provider's share of a mint, in the list of its mints."""

    height: BlockHeight
    index: int
    receipt_hash: Annotated[Hash32, HashField]
    amount: bytes

    def encode(self) -> bytes:
        """For the PROVIDER_MINT table."""
        return message_pack.encode(self)


def decode_mint_entry(encoded: bytes) -> MintEntry:
    """From `MintEntry.encode`."""
    return message_pack.decode_trusted(encoded, MintEntry)


class EpochEntry(msgspec.Struct, frozen=True, array_like=True):
    """How an epoch began: the block that set its validators up, the last one of the epoch before, and who they are."""

    height: BlockHeight
    validators: tuple[Annotated[Address, AddressField], ...]

    def encode(self) -> bytes:
        """For the EPOCH table."""
        return message_pack.encode(self)


def epoch_key(epoch: int) -> bytes:
    """A key behind the EPOCH table."""
    return epoch.to_bytes(8, "big")


def decode_epoch_entry(encoded: bytes) -> EpochEntry:
    """From `EpochEntry.encode`."""
    return message_pack.decode_trusted(encoded, EpochEntry)
