"""eth_getTransactionBy… and eth_getTransactionReceipt."""

from typing import Final

from chain.api.reading import StoredBlock, find_transaction
from chain.api.rpc.block_ids import BLOCK_NUMBER, BlockId
from chain.api.rpc.methods import Method, Parameter
from chain.api.rpc.objects import (
    RpcReceipt,
    RpcTransaction,
    pending_transaction_object,
    receipt_object,
    transaction_object,
)
from chain.api.rpc.schemas import RECEIPT_SCHEMA, TRANSACTION_SCHEMA, nullable
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.settling import Settling
from chain.api.rpc.values import HASH, UINT64
from chain.primitives.types import Hash32

_HASH: Final = Parameter("transactionHash", HASH)
_INDEX: Final = Parameter("index", UINT64)


def transaction_methods(chain: ServedChain) -> tuple[Method, ...]:
    """Transactions of one chain, in blocks and waiting. What there is to tell is told from a thread; what there is not
    yet is asked for again and again."""
    settling = Settling(chain.node)

    def find(wanted: Hash32) -> tuple[StoredBlock, int] | None:
        return find_transaction(chain.view(), chain.cache, wanted)

    def is_in_block(wanted: Hash32) -> bool:
        return chain.view().transaction_location(wanted) is not None

    def is_here(wanted: Hash32) -> bool:
        return is_in_block(wanted) or chain.node.pool.get(wanted) is not None  # With its data, 64 KiB in hex.

    def base_fee(stored: StoredBlock) -> int:
        return chain.base_fee_at(stored.block.header.height)

    def transaction(wanted: Hash32) -> RpcTransaction | None:
        found = find(wanted)
        if found is None:
            waiting = chain.node.pool.get(wanted)
            if waiting is not None:
                return pending_transaction_object(waiting, chain.next_base_fee())
            found = find(wanted)  # It may have moved from the one to the other meanwhile.
        return None if found is None else transaction_object(*found, base_fee(found[0]))

    def receipt(wanted: Hash32) -> RpcReceipt | None:
        found = find(wanted)
        if found is None:
            return None
        stored, index = found
        return receipt_object(stored, index, chain.figures(stored), base_fee(stored))

    def transaction_in(block: BlockId, index: int) -> RpcTransaction | None:
        stored = chain.stored_block(chain.view(), block)
        if stored is None or index >= len(stored.block.transactions):
            return None
        return transaction_object(stored, index, base_fee(stored))

    return (
        Method(
            name="eth_getTransactionByHash",
            summary="A transaction, in a block or waiting; null where this node knows none",
            parameters=(_HASH,),
            result=nullable(TRANSACTION_SCHEMA),
            handler=transaction,
            is_heavy=is_here,
        ),
        Method(
            name="eth_getTransactionReceipt",
            summary="What a transaction did; null until a block holds it, which is final then",
            parameters=(_HASH,),
            result=nullable(RECEIPT_SCHEMA),
            handler=receipt,
            is_heavy=is_in_block,
            is_early=settling.is_young,
            wait=settling.wait,
        ),
        *(
            Method(
                name=f"eth_getTransactionByBlock{name}AndIndex",
                summary="A transaction by its place in a block",
                parameters=(parameter, _INDEX),
                result=nullable(TRANSACTION_SCHEMA),
                handler=transaction_in,
                is_heavy=True,
            )
            for name, parameter in (
                ("Number", Parameter("block", BLOCK_NUMBER)),
                ("Hash", Parameter("blockHash", HASH)),
            )
        ),
    )
