"""The books of clients' deposits: each event of the escrow module that is this hub's, once, in the chain's order.

Only final blocks are read. What a stretch of blocks says is booked in one unit, with the height up to which that was
done: so a crash books nothing twice, and two processes book it once. Deposits come before what is paid from them, as
the chain had it, so no account of a client's is ever below zero.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import httpx
import msgspec
import structlog

from chain.client import AsyncNodeClient, NodeError
from chain.primitives.escrow import (
    DEPOSIT_REFUNDED_EVENT,
    DEPOSITED_EVENT,
    PAID_EVENT,
    SETTLED_EVENT,
    WITHDRAWN_EVENT,
    audience_hash,
)
from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.modules import ESCROW
from chain.primitives.rejection import Rejected
from chain.primitives.types import Hash32
from hub.ledger import posting
from hub.store import followed
from hub.store.errors import StoreError
from hub.store.store import Store, now_ms
from hub.store.transaction import Transaction

NAME: Final = "escrow"
_MOST_BLOCKS: Final = 2_000
_MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
_PAUSE_S: Final = 2.0
_TIMEOUT_S: Final = 30.0
_HEADS: Final = (DEPOSITED_EVENT, SETTLED_EVENT, WITHDRAWN_EVENT, DEPOSIT_REFUNDED_EVENT)

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.following")


class ChainUnclear(Exception):
    """The node answered what no node of ours answers; nothing is booked."""


class _Log(msgspec.Struct):
    """What is read of a log."""

    block: str = msgspec.field(name="blockNumber")
    transaction_hash: str = msgspec.field(name="transactionHash")
    log_index: str = msgspec.field(name="logIndex")
    topics: list[str]
    data: str


class _Fault(msgspec.Struct):
    code: int
    message: str


class _Answer(msgspec.Struct):
    result: list[_Log] | None = None
    error: _Fault | None = None


class EscrowFollower:
    """The loop; `follow` books what is new."""

    def __init__(self, *, store: Store, node: AsyncNodeClient, node_url: str, hub_id: str) -> None:
        self._store = store
        self._node = node
        self._url = node_url.rstrip("/") + "/rpc"
        self._hub = audience_hash(hub_id)
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                is_behind = await self.follow()
            except (NodeError, httpx.HTTPError, ChainUnclear, StoreError) as error:
                _log.warning("escrow_not_followed", detail=str(error) or type(error).__name__)
                is_behind = False
            if not is_behind:
                await asyncio.sleep(_PAUSE_S)

    async def follow(self) -> bool:
        """Books the next stretch of final blocks; whether there are more."""
        done = await self._store.read(lambda c: followed.height(c, NAME))
        head = (await self._node.status()).finalized.height
        first = 0 if done is None else done + 1
        if first > head:
            return False
        last = min(head, first + _MOST_BLOCKS - 1)
        heads = await self._logs(first, last, [[to_hex(event.topic) for event in _HEADS], None, to_hex(self._hub)])
        entries = await self._entries(heads)
        await self._store.write(lambda t: self._book(t, done, last, entries))
        return last < head

    def _book(self, transaction: Transaction, done: int | None, last: int, entries: Sequence[posting.NewEntry]) -> None:
        if followed.advance(transaction, NAME, done, last):
            for entry in entries:
                posting.post(transaction, entry, now_ms())

    async def _entries(self, heads: Sequence[_Log]) -> list[posting.NewEntry]:
        """A journal entry for each event, in the chain's order."""
        try:
            ordered = sorted(heads, key=lambda log: (int(log.block, 16), int(log.log_index, 16)))
            return [await self._entry(log) for log in ordered]
        except (Rejected, ValueError, IndexError) as error:
            raise ChainUnclear(f"the node's logs are not the escrow module's: {error}") from None

    async def _entry(self, log: _Log) -> posting.NewEntry:
        topics = [bytes(parse_hash(topic, "topic")) for topic in log.topics]
        octets = parse_hex(log.data, field="data")
        reference = f"{parse_hash(log.transaction_hash).hex()}:{int(log.log_index, 16)}"
        for event in _HEADS:
            if topics[0] == event.topic:
                values = event.decode(topics, octets)
                if event is SETTLED_EVENT:
                    return await self._settlement(values, log)
                return _change(event.name, reference, values)
        raise ChainUnclear("a log of another event than was asked for")

    async def _settlement(self, values: dict[str, Any], log: _Log) -> posting.NewEntry:
        """With each provider's share, from the events beside it."""
        receipt_hash = Hash32(values["receiptHash"])
        paid = await self._logs(int(log.block, 16), int(log.block, 16), [to_hex(PAID_EVENT.topic)])
        shares: list[tuple[str, int]] = []
        for other in paid:
            if other.transaction_hash != log.transaction_hash:
                continue
            topics = [bytes(parse_hash(topic, "topic")) for topic in other.topics]
            share = PAID_EVENT.decode(topics, parse_hex(other.data, field="data"))
            if share["receiptHash"] == receipt_hash:
                shares.append((to_checksum_address(share["provider"]), int(share["units"])))
        if sum(amount for _, amount in shares) + values["fee"] != values["total"]:
            raise ChainUnclear("a settlement's shares do not come to what was taken")
        client = to_checksum_address(values["client"])
        return posting.settlement_entry(to_hex(receipt_hash), client, shares, fee=values["fee"])

    async def _logs(self, first: int, last: int, topics: Sequence[Any]) -> list[_Log]:
        query = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": to_checksum_address(ESCROW),
            "topics": list(topics),
        }
        call = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [query]}
        async with self._http.stream("POST", self._url, json=call) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MAX_ANSWER_BYTES:
                    raise ChainUnclear("the node's answer is too large")
        try:
            answer = msgspec.json.decode(bytes(content), type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ChainUnclear("the node answered no JSON-RPC") from None
        if answer.result is not None:
            return answer.result
        if answer.error is not None and first < last:  # Too many for one answer: in halves.
            middle = (first + last) // 2
            return [*await self._logs(first, middle, topics), *await self._logs(middle + 1, last, topics)]
        raise ChainUnclear("the node gives no logs" if answer.error is None else answer.error.message[:200])


def _change(name: str, reference: str, values: dict[str, Any]) -> posting.NewEntry:
    """A deposit, or what went back to its client: withdrawn, or refunded after the deadline."""
    client, amount = to_checksum_address(values["client"]), int(values["value"])
    if name == DEPOSITED_EVENT.name:
        return posting.deposit_entry(reference, client, amount)
    return posting.refund_entry(reference, client, amount)
