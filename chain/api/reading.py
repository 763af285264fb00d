"""Blocks, transactions and receipts of the store as answers. Any thread; everything in the store is final."""

from collections import OrderedDict
from threading import Lock
from typing import Final

import msgspec

from chain.answers import (
    Atoms,
    BlockView,
    CertificateView,
    LogView,
    MintShare,
    MintView,
    ReceiptView,
    SettlementView,
    TransactionView,
)
from chain.node.records import MintEntry, ReceiptEntry, StoredResults, decode_results
from chain.node.waiting import Entry
from chain.primitives import message_pack
from chain.primitives.block import Block, TransactionResult
from chain.primitives.certificate import Certificate
from chain.primitives.escrow import SETTLE
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import SIGNATURE_BYTES, RecoverAddress
from chain.primitives.message_pack import amount_from_bytes
from chain.primitives.modules import MINT_SPLIT, MINT_WITH_RECEIPT
from chain.primitives.receipt import attestation_digest, mint_split_digest
from chain.primitives.rejection import Rejected
from chain.primitives.settlement import Settlement
from chain.primitives.transaction import Transaction, decode_transaction
from chain.primitives.types import Address, BlockHeight, Hash32
from chain.rules.operations import decode_call
from chain.storage.reader import ChainReader
from chain.storage.view import StateView

_CACHED_BLOCKS: Final = 8  # A page of a list often stays within one block, which may have megabytes.


class StoredBlock(msgspec.Struct, frozen=True):
    """A block and what its transactions did."""

    block: Block
    results: StoredResults


class BlockCache:
    """Decodes blocks, and remembers the last few."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[int, StoredBlock] = OrderedDict()
        self._lock = Lock()

    def block_at(self, reader: ChainReader, height: int) -> StoredBlock | None:
        """A committed block, None above the head."""
        with self._lock:
            found = self._blocks.get(height)
            if found is not None:
                self._blocks.move_to_end(height)
                return found
        encoded, results = reader.block_at(height), reader.results_at(height)
        if encoded is None or results is None:
            return None
        stored = StoredBlock(message_pack.decode_trusted(encoded, Block), decode_results(results))
        with self._lock:
            self._blocks[height] = stored
            if len(self._blocks) > _CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        return stored


def find_transaction(view: StateView, cache: BlockCache, transaction_hash: Hash32) -> tuple[StoredBlock, int] | None:
    """The block that a transaction is in, and its index there; None where no block has it."""
    location = view.transaction_location(transaction_hash)
    stored = cache.block_at(view, location[0]) if location is not None else None
    return (stored, location[1]) if location is not None and stored is not None else None


def block_view(encoded: bytes, *, covering: tuple[int, bytes] | None = None, is_whole: bool = False) -> BlockView:
    """A block; whole ones list their transactions, and the certificate that covers them: (its height, encoded).

    Not from the cache: of a page of 200 full blocks no more than one is in memory at a time.
    """
    block = message_pack.decode_trusted(encoded, Block)
    header = block.header
    return BlockView(
        height=header.height,
        hash=to_hex(header.hash),
        parent_hash=to_hex(header.parent_hash),
        time_ms=header.time_ms,
        proposer=to_checksum_address(header.proposer),
        protocol_version=header.protocol_version,
        chain_id=header.chain_id,
        epoch=header.epoch,
        transactions_root=to_hex(header.transactions_root),
        results_root=to_hex(header.results_root),
        state_root=to_hex(header.state_root),
        next_validators_hash=to_hex(header.next_validators_hash),
        transaction_count=len(block.transactions),
        size_bytes=len(encoded),
        finalized=True,
        transactions=[to_hex(keccak256(raw)) for raw in block.transactions] if is_whole else None,
        certificate=certificate_view(*covering) if covering is not None else None,
    )


def certificate_view(height: int, encoded: bytes) -> CertificateView:
    """An encoded certificate over the block of a height."""
    certificate = message_pack.decode_trusted(encoded, Certificate)
    return CertificateView(
        height=BlockHeight(height),
        epoch=certificate.epoch,
        view=certificate.view,
        parent_view=certificate.parent_view,
        block_hash=to_hex(certificate.block_hash),
        signer_bitmap=hex(certificate.signer_bitmap),
        signatures=[to_hex(signature) for signature in certificate.signatures],
    )


def stored_transaction_view(stored: StoredBlock, index: int) -> TransactionView:
    """A transaction in a block."""
    header = stored.block.header
    result = stored.results.result(index)
    return _transaction_view(
        decode_transaction(stored.block.transactions[index]),
        stored.results.senders[index],
        status="success" if result.status else "failed",
        place=(header.height, index, header.time_ms),
        reason=stored.results.failure(index),
        result=result,
    )


def pending_transaction_view(entry: Entry) -> TransactionView:
    """A transaction in the mempool."""
    return _transaction_view(
        entry.transaction, entry.sender, status="pending", place=(None, None, None), reason=None, result=None
    )


def _transaction_view(
    transaction: Transaction,
    sender: Address,
    *,
    status: str,
    place: tuple[BlockHeight | None, int | None, int | None],
    reason: str | None,
    result: TransactionResult | None,
) -> TransactionView:
    height, index, time_ms = place
    return TransactionView(
        hash=to_hex(transaction.hash),
        status=status,
        finalized=result is not None,
        height=height,
        index=index,
        time_ms=time_ms,
        sender=to_checksum_address(sender),
        to=to_checksum_address(transaction.to),
        value=Atoms(transaction.value),
        nonce=transaction.nonce,
        type=transaction.type,
        data=to_hex(transaction.data),
        reason=reason,
        logs=[
            LogView(
                address=to_checksum_address(log.address),
                topics=[to_hex(topic) for topic in log.topics],
                data=to_hex(log.data),
            )
            for log in (result.logs if result is not None else ())
        ],
    )


def receipt_view(receipt_hash: bytes, entry: ReceiptEntry, stored: StoredBlock, recover: RecoverAddress) -> ReceiptView:
    """A used receipt, with the attestation as its transaction carries it."""
    transaction = decode_transaction(stored.block.transactions[entry.index])
    attestation = _attestation(transaction, recover)
    shares = [
        MintShare(provider=to_checksum_address(provider), units=Atoms(amount_from_bytes(amount)))
        for provider, amount in entry.shares
    ]
    return ReceiptView(
        receipt_hash=to_hex(receipt_hash),
        provider=shares[0].provider,
        units=Atoms(sum(share.units for share in shares)),
        shares=shares,
        attesters=[to_checksum_address(attester) for attester in attestation.attesters],
        attestation=to_hex(attestation.signatures),
        transaction_hash=to_hex(transaction.hash),
        height=entry.height,
        time_ms=stored.block.header.time_ms,
        finalized=True,
        receipt=None,  # The chain knows receipts by their hash; whoever has one may publish it.
        settlement=_settlement_view(attestation.settlement),
    )


class _Attestation(msgspec.Struct, frozen=True):
    """What a transaction that used a receipt up carries, and whose signatures they are."""

    signatures: bytes = b""
    attesters: tuple[Address, ...] = ()
    settlement: Settlement | None = None


def _attestation(transaction: Transaction, recover: RecoverAddress) -> _Attestation:
    """Nothing where another call has used the receipt up."""
    try:
        call = decode_call(transaction)
    except Rejected:
        return _Attestation()
    if call is None or call.operation.function not in (MINT_WITH_RECEIPT, MINT_SPLIT, SETTLE):
        return _Attestation()
    *values, signatures = call.arguments
    settlement: Settlement | None = None
    if call.operation.function is MINT_WITH_RECEIPT:
        digest = attestation_digest(*values)
    elif call.operation.function is MINT_SPLIT:
        digest = mint_split_digest(transaction.chain_id, *values)
    else:
        settlement, _ = Settlement.from_arguments(transaction.chain_id, call.arguments)
        digest = settlement.digest
    starts = range(0, len(signatures), SIGNATURE_BYTES)
    attesters = tuple(recover(digest, signatures[start : start + SIGNATURE_BYTES]) for start in starts)
    return _Attestation(signatures, attesters, settlement)


def _settlement_view(settlement: Settlement | None) -> SettlementView | None:
    if settlement is None:
        return None
    return SettlementView(
        client=to_checksum_address(settlement.client),
        audience=settlement.request.audience,
        request_hash=to_hex(settlement.request.hash),
        fee_recipient=to_checksum_address(settlement.fee_recipient),
        fee=Atoms(settlement.fee),
    )


def mint_view(provider: Address, entry: MintEntry, stored: StoredBlock) -> MintView:
    """One provider's share of a mint."""
    return MintView(
        receipt_hash=to_hex(entry.receipt_hash),
        provider=to_checksum_address(provider),
        units=Atoms(amount_from_bytes(entry.amount)),
        transaction_hash=to_hex(keccak256(stored.block.transactions[entry.index])),
        height=entry.height,
        finalized=True,
    )


def hash_of(text: str) -> Hash32:
    """The bytes of a hash that `inputs` has bounded."""
    return Hash32(bytes.fromhex(text[2:]))
