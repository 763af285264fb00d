"""Blocks, transactions, receipts and logs in the shape that Ethereum tools expect, with this chain's own values.

What Ethereum has and this chain has not is constant: no uncles, no difficulty, no extra data. The roots are those of
the header, of another kind of tree, so no tool can check them; `aitbc_getFinalityProof` is for that.
"""

from typing import Any, Final

import msgspec

from chain.api.reading import StoredBlock
from chain.api.rpc.errors import revert_data
from chain.api.rpc.served_chain import BlockFigures
from chain.api.rpc.values import quantity
from chain.node.waiting import Entry
from chain.primitives import rlp
from chain.primitives.block import Header, Log
from chain.primitives.bloom import logs_bloom
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_hex
from chain.primitives.parameters import PARAMETER_BOUNDS
from chain.primitives.transaction import DYNAMIC_FEE, Transaction, decode_transaction, intrinsic_gas
from chain.primitives.types import Address, Hash32

_NO_UNCLES_HASH: Final = to_hex(keccak256(rlp.encode([])))
_NONCE: Final = to_hex(bytes(8))
_ZERO_HASH: Final = to_hex(bytes(32))
_ZERO: Final = "0x0"

BLOCK_GAS_LIMIT: Final = PARAMETER_BOUNDS["max_block_transactions"][1] * intrinsic_gas(b"\0") + (
    PARAMETER_BOUNDS["max_block_bytes"][1] * (intrinsic_gas(b"\0\0") - intrinsic_gas(b"\0"))
)
"""More than any block can use, whatever governance sets: blocks are bounded by bytes, count and recoveries instead."""


class RpcLog(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An event."""

    address: str
    topics: list[str]
    data: str
    block_number: str
    block_hash: str
    block_timestamp: str
    transaction_hash: str
    transaction_index: str
    log_index: str
    removed: bool = False


class RpcTransaction(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A transaction, in a block or waiting."""

    hash: str
    type: str
    chain_id: str
    nonce: str
    sender: str = msgspec.field(name="from")
    to: str
    value: str
    gas: str
    gas_price: str
    max_fee_per_gas: str | msgspec.UnsetType = msgspec.UNSET
    max_priority_fee_per_gas: str | msgspec.UnsetType = msgspec.UNSET
    access_list: list[Any] | msgspec.UnsetType = msgspec.UNSET
    input: str
    v: str
    r: str
    s: str
    y_parity: str | msgspec.UnsetType = msgspec.UNSET
    block_hash: str | None
    block_number: str | None
    transaction_index: str | None


class RpcReceipt(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a transaction did. `revert_reason` stands beside a status of 0, encoded as `Error(string)`."""

    transaction_hash: str
    transaction_index: str
    block_hash: str
    block_number: str
    sender: str = msgspec.field(name="from")
    to: str
    type: str
    status: str
    gas_used: str
    cumulative_gas_used: str
    effective_gas_price: str
    contract_address: None = None
    logs: list[RpcLog]
    logs_bloom: str
    revert_reason: str | msgspec.UnsetType = msgspec.UNSET


class RpcBlock(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A block."""

    number: str
    hash: str
    parent_hash: str
    timestamp: str
    miner: str
    state_root: str
    transactions_root: str
    receipts_root: str
    logs_bloom: str
    gas_limit: str = quantity(BLOCK_GAS_LIMIT)
    gas_used: str
    base_fee_per_gas: str
    size: str
    transactions: list[str | RpcTransaction]
    sha3_uncles: str = _NO_UNCLES_HASH
    difficulty: str = _ZERO
    extra_data: str = "0x"
    mix_hash: str = _ZERO_HASH
    nonce: str = _NONCE
    uncles: list[str] = []


def block_object(stored: StoredBlock, figures: BlockFigures, base_fee: int, *, is_full: bool) -> RpcBlock:
    """A block with its transactions, or with their hashes alone. `base_fee`: atoms per gas that held for it."""
    header = stored.block.header
    transactions: list[str | RpcTransaction] = [to_hex(each) for each in figures.hashes]
    if is_full:
        transactions = [transaction_object(stored, index, base_fee) for index in range(len(figures.hashes))]
    return RpcBlock(
        number=quantity(header.height),
        hash=to_hex(header.hash),
        parent_hash=to_hex(header.parent_hash),
        timestamp=quantity(header.time_ms // 1000),
        miner=to_hex(header.proposer),
        state_root=to_hex(header.state_root),
        transactions_root=to_hex(header.transactions_root),
        receipts_root=to_hex(header.results_root),
        logs_bloom=to_hex(figures.logs_bloom),
        gas_used=quantity(figures.gas_used),
        base_fee_per_gas=quantity(base_fee),
        size=quantity(figures.size_bytes),
        transactions=transactions,
    )


def transaction_object(stored: StoredBlock, index: int, base_fee: int) -> RpcTransaction:
    """A transaction in a block."""
    header = stored.block.header
    transaction = decode_transaction(stored.block.transactions[index])
    return _transaction_object(transaction, stored.results.senders[index], base_fee, place=(header, index))


def pending_transaction_object(entry: Entry, base_fee: int) -> RpcTransaction:
    """A transaction in the mempool; `base_fee` is the present one."""
    return _transaction_object(entry.transaction, entry.sender, base_fee, place=None)


def _transaction_object(
    transaction: Transaction, sender: Address, base_fee: int, *, place: tuple[Header, int] | None
) -> RpcTransaction:
    parity = transaction.signature[64] - 27
    is_dynamic = transaction.type == DYNAMIC_FEE
    header, index = place if place is not None else (None, None)
    return RpcTransaction(
        hash=to_hex(transaction.hash),
        type=quantity(transaction.type),
        chain_id=quantity(transaction.chain_id),
        nonce=quantity(transaction.nonce),
        sender=to_hex(sender),
        to=to_hex(transaction.to),
        value=quantity(transaction.value),
        gas=quantity(transaction.gas_limit),
        gas_price=quantity(base_fee if is_dynamic else transaction.max_fee),
        max_fee_per_gas=quantity(transaction.max_fee) if is_dynamic else msgspec.UNSET,
        max_priority_fee_per_gas=quantity(transaction.max_priority_fee) if is_dynamic else msgspec.UNSET,
        access_list=[] if is_dynamic else msgspec.UNSET,
        input=to_hex(transaction.data),
        v=quantity(parity if is_dynamic else 35 + 2 * transaction.chain_id + parity),
        r=quantity(int.from_bytes(transaction.signature[:32], "big")),
        s=quantity(int.from_bytes(transaction.signature[32:64], "big")),
        y_parity=quantity(parity) if is_dynamic else msgspec.UNSET,
        block_hash=to_hex(header.hash) if header is not None else None,
        block_number=quantity(header.height) if header is not None else None,
        transaction_index=quantity(index) if index is not None else None,
    )


def receipt_object(stored: StoredBlock, index: int, figures: BlockFigures, base_fee: int) -> RpcReceipt:
    """What a transaction in a block did. Its price is the fee in force, which newcomers do not pay."""
    header, result = stored.block.header, stored.results.result(index)
    transaction = decode_transaction(stored.block.transactions[index])
    failure = stored.results.failure(index)
    return RpcReceipt(
        transaction_hash=to_hex(transaction.hash),
        transaction_index=quantity(index),
        block_hash=to_hex(header.hash),
        block_number=quantity(header.height),
        sender=to_hex(stored.results.senders[index]),
        to=to_hex(transaction.to),
        type=quantity(transaction.type),
        status=quantity(result.status),
        gas_used=quantity(transaction.gas_used),
        cumulative_gas_used=quantity(figures.cumulative_gas[index]),
        effective_gas_price=quantity(base_fee),
        logs=[
            log_object(
                log,
                block_hash=header.hash,
                height=header.height,
                time_ms=header.time_ms,
                transaction_hash=transaction.hash,
                transaction_index=index,
                log_index=log_index,
            )
            for log_index, log in enumerate(result.logs, figures.log_starts[index])
        ],
        logs_bloom=to_hex(logs_bloom(result.logs)),
        revert_reason=to_hex(revert_data(failure)) if failure is not None else msgspec.UNSET,
    )


def log_object(
    log: Log,
    *,
    block_hash: Hash32,
    height: int,
    time_ms: int,
    transaction_hash: Hash32,
    transaction_index: int,
    log_index: int,
) -> RpcLog:
    """An event in a block; `log_index` counts the block's logs."""
    return RpcLog(
        address=to_hex(log.address),
        topics=[to_hex(topic) for topic in log.topics],
        data=to_hex(log.data),
        block_number=quantity(height),
        block_hash=to_hex(block_hash),
        block_timestamp=quantity(time_ms // 1000),
        transaction_hash=to_hex(transaction_hash),
        transaction_index=quantity(transaction_index),
        log_index=quantity(log_index),
    )
