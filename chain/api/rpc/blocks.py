"""eth_blockNumber, eth_getBlockBy… and their like."""

from typing import Final

from chain.api.rpc.block_ids import BLOCK_ID, BLOCK_NUMBER, BlockId
from chain.api.rpc.methods import Method, Parameter
from chain.api.rpc.objects import RpcBlock, RpcReceipt, block_object, receipt_object
from chain.api.rpc.schemas import BLOCK_SCHEMA, RECEIPT_SCHEMA, nullable
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.values import BOOLEAN, HASH, QUANTITY_SCHEMA, UINT64, quantity

_NUMBER: Final = Parameter("block", BLOCK_NUMBER)
_HASH: Final = Parameter("blockHash", HASH)
_BY_NAME: Final = (("Number", _NUMBER), ("Hash", _HASH))
_IS_FULL: Final = Parameter("fullTransactions", BOOLEAN, False)
_COUNT_OR_NULL: Final = nullable(QUANTITY_SCHEMA)


def block_methods(chain: ServedChain) -> tuple[Method, ...]:
    """Blocks of one chain. One may hold thousands of transactions, so they are put together in a thread."""

    def block(wanted: BlockId, is_full: bool) -> RpcBlock | None:
        stored = chain.stored_block(chain.view(), wanted)
        if stored is None:
            return None
        base_fee = chain.base_fee_at(stored.block.header.height)
        return block_object(stored, chain.figures(stored), base_fee, is_full=is_full)

    def transaction_count(wanted: BlockId) -> str | None:
        stored = chain.stored_block(chain.view(), wanted)
        return None if stored is None else quantity(len(stored.block.transactions))

    def receipts(wanted: BlockId) -> list[RpcReceipt] | None:
        stored = chain.stored_block(chain.view(), wanted)
        if stored is None:
            return None
        figures, base_fee = chain.figures(stored), chain.base_fee_at(stored.block.header.height)
        return [receipt_object(stored, index, figures, base_fee) for index in range(len(figures.hashes))]

    block_or_null = nullable(BLOCK_SCHEMA)
    return (
        Method(
            name="eth_blockNumber",
            summary="Height of the newest block; every block here is final",
            result=QUANTITY_SCHEMA,
            handler=lambda: quantity(chain.node.ledger.head.height),
        ),
        *(
            Method(
                name=f"eth_getBlockBy{name}",
                summary="A block with its transactions' hashes, or with the whole of them",
                parameters=(parameter, _IS_FULL),
                result=block_or_null,
                handler=block,
                is_heavy=True,
            )
            for name, parameter in _BY_NAME
        ),
        *(
            Method(
                name=f"eth_getBlockTransactionCountBy{name}",
                summary="How many transactions a block holds",
                parameters=(parameter,),
                result=_COUNT_OR_NULL,
                handler=transaction_count,
                is_heavy=True,
            )
            for name, parameter in _BY_NAME
        ),
        Method(
            name="eth_getBlockReceipts",
            summary="The receipts of all transactions of a block",
            parameters=(Parameter("block", BLOCK_ID),),
            result=nullable({"type": "array", "items": RECEIPT_SCHEMA}),
            handler=receipts,
            is_heavy=True,
        ),
        *_uncle_methods(chain),
    )


def _uncle_methods(chain: ServedChain) -> tuple[Method, ...]:
    """There are none: at each height there is one block, and it is final."""

    def uncle_count(wanted: BlockId) -> str | None:
        return None if chain.height_of(chain.view(), wanted) is None else quantity(0)

    return (
        *(
            Method(
                name=f"eth_getUncleCountByBlock{name}",
                summary="Always 0: there is one final block at each height",
                parameters=(parameter,),
                result=_COUNT_OR_NULL,
                handler=uncle_count,
            )
            for name, parameter in _BY_NAME
        ),
        *(
            Method(
                name=f"eth_getUncleByBlock{name}AndIndex",
                summary="Always null",
                parameters=(parameter, Parameter("index", UINT64)),
                result={"type": "null"},
                handler=lambda _block, _index: None,
            )
            for name, parameter in _BY_NAME
        ),
    )
