"""POST /v1/transactions: the only way in, for one signed transaction or a batch."""

import asyncio
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from chain.answers import BatchEntry, SentTransaction, SentTransactions
from chain.api.answering import answers, respond
from chain.api.reading import BlockCache, find_transaction, stored_transaction_view
from chain.node.runner import Node
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_hex, to_hex
from chain.primitives.rejection import Rejected
from chain.primitives.transaction import MAX_TRANSACTION_BYTES
from chain.web.application import create_router
from chain.web.problems import Problem

MAX_BATCH_TRANSACTIONS: Final = 500
"""In one request: what the chain takes from one sender per block. Plain transfers of so many fit into a body."""

RawText = Annotated[
    str, Field(max_length=2 + 2 * MAX_TRANSACTION_BYTES, description="The bytes in hex, with 0x.", examples=["0x02f8…"])
]


class RawTransactions(BaseModel):
    """One signed envelope or several (type 2, or legacy with EIP-155 chain id), RLP-encoded: exactly one of the two."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"oneOf": [{"required": ["raw_transaction"]}, {"required": ["transactions"]}]},
    )

    raw_transaction: RawText = ""
    transactions: list[RawText] = Field(
        default=[], min_length=1, max_length=MAX_BATCH_TRANSACTIONS, description="A batch, admitted in this order."
    )


def sending_router(node: Node, cache: BlockCache) -> APIRouter:
    """The way into one node's mempool."""
    router = create_router(tag="transactions")

    @router.post(
        "/v1/transactions",
        summary="Hand in signed transactions",
        description="202: it waits in the mempool, or is in a block already. The same bytes again change nothing. "
        f"With `transactions`, a batch of at most {MAX_BATCH_TRANSACTIONS}, there is one result per entry in the same "
        "order, and a refused entry leaves the others be.",
        **answers(SentTransaction, 202, or_else=SentTransactions),
    )
    async def send_transactions(body: RawTransactions) -> Response:
        if len(body.model_fields_set) != 1:
            raise Problem(422, "missing_field", "give either raw_transaction or transactions", field="raw_transaction")
        if node.fault is not None:
            raise Problem(503, "unhealthy", "this node has stopped making blocks; send the transaction to another")
        if body.transactions:
            return respond(await _take_all(node, cache, body.transactions), 202)
        return respond(_take(node, cache, body.raw_transaction), 202)

    return router


async def _take_all(node: Node, cache: BlockCache, texts: list[str]) -> SentTransactions:
    raws: list[bytes] = []
    entries: list[BatchEntry | None] = []  # None for the next one of `raws`.
    for text in texts:
        try:
            raws.append(parse_hex(text, field="raw_transaction"))
            entries.append(None)
        except Rejected as rejection:
            entries.append(_refused(rejection))
    results = zip(raws, await node.submit_all(raws), strict=True)
    for index, entry in enumerate(entries):
        if entry is not None:
            continue
        raw, result = next(results)
        if not isinstance(result, Rejected):
            entries[index] = BatchEntry(transaction_hash=to_hex(result.transaction.hash), status="pending")
        elif (found := _find(node, cache, raw)) is not None:
            entries[index] = BatchEntry(**msgspec.structs.asdict(found))
            await asyncio.sleep(0)  # To find it, a large block may have been decoded.
        else:
            entries[index] = _refused(result)
    return SentTransactions(results=[entry for entry in entries if entry is not None])


def _refused(rejection: Rejected) -> BatchEntry:
    return BatchEntry(status="refused", reason=rejection.reason.value, detail=rejection.message)


def _take(node: Node, cache: BlockCache, text: str) -> SentTransaction:
    """Raises Rejected."""
    raw = parse_hex(text, field="raw_transaction")
    try:
        entry = node.submit(raw)
    except Rejected as rejection:
        found = _find(node, cache, raw)
        if found is not None:
            return found
        rejection.values.setdefault("field", "raw_transaction")
        raise
    return SentTransaction(transaction_hash=to_hex(entry.transaction.hash), status="pending", height=None)


def _find(node: Node, cache: BlockCache, raw: bytes) -> SentTransaction | None:
    """The transaction if a block has it: the mempool refuses it then, since its nonce is used."""
    found = find_transaction(node.ledger.view(), cache, keccak256(raw))
    if found is None:
        return None
    stored = stored_transaction_view(*found)
    return SentTransaction(transaction_hash=stored.hash, status=stored.status, height=stored.height)
