"""What subscriptions tell: each committed block and its logs, and what the mempool admits, encoded once for everybody.

A task follows the node at its own pace: blocks are read from the store in a thread, in order and without gaps, however
fast they come. Of transactions, which nobody promised to tell, the oldest are left out where too many come at once.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Any, Final, Protocol

import msgspec
import structlog

from chain.api.log_search import LogFilter, logs_of_block
from chain.api.rpc.logs import found_log_object
from chain.api.rpc.network import syncing
from chain.api.rpc.objects import block_object, pending_transaction_object
from chain.api.rpc.served_chain import ServedChain
from chain.node.waiting import Entry
from chain.primitives.hexadecimal import to_hex
from chain.primitives.types import BlockHeight

_MAX_ENTRIES: Final = 10_000
_NOTICES_PER_TURN: Final = 200
"""Told before other work on the event loop gets its turn: well under a millisecond."""
_NOT_OF_A_HEADER: Final = ("transactions", "uncles", "size")

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.api.rpc")
_encode: Final = msgspec.json.Encoder().encode


class Topic(StrEnum):
    """What can be subscribed to."""

    HEADS = "newHeads"
    LOGS = "logs"
    TRANSACTIONS = "newPendingTransactions"
    SYNCING = "syncing"


class Subscriber(Protocol):
    """One connection."""

    def notify(self, subscription_id: str, payload: bytes) -> None:
        """Queues what a subscription tells, as JSON. Must not wait."""

    def fail(self) -> None:
        """Something that it has subscribed to cannot be told."""


class Subscription(msgspec.Struct, frozen=True, eq=False):
    """What a connection wants to hear of."""

    id: str
    topic: Topic
    subscriber: Subscriber
    wanted: LogFilter
    """Which logs, and of which blocks."""
    is_full: bool = False
    """Whole transactions, not their hashes."""


Notice = tuple[Subscription, bytes]


class News:
    """All subscriptions of one node: a listener of its feed. On the event loop, but for `_read`."""

    def __init__(self, chain: ServedChain) -> None:
        self._chain = chain
        self._subscriptions: dict[str, Subscription] = {}
        self._entries: deque[Entry] = deque(maxlen=_MAX_ENTRIES)
        self._newest = self._told = chain.head().height
        self._was_syncing = False
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="news")
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._subscriptions)

    def start(self) -> None:
        """Listens from here on."""
        self._newest = self._told = self._chain.head().height
        self._chain.node.feed.listen(self)
        self._task = asyncio.create_task(self._run(), name="rpc: news")

    async def close(self) -> None:
        """Tells nothing more; waits for the block that is being read."""
        self._chain.node.feed.forget(self)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)

    def add(self, subscription: Subscription) -> None:
        """It is told from now on."""
        self._subscriptions[subscription.id] = subscription

    def remove(self, subscription_id: str) -> None:
        """It is told nothing more."""
        self._subscriptions.pop(subscription_id, None)

    # From the node

    def on_block(self, height: BlockHeight) -> None:
        """As in Listener."""
        self._newest = height
        self._wake.set()

    def on_transaction(self, entry: Entry) -> None:
        """As in Listener."""
        if self._of(Topic.TRANSACTIONS):
            self._entries.append(entry)
            self._wake.set()

    # To the subscribers

    def _of(self, *topics: Topic) -> list[Subscription]:
        return [each for each in self._subscriptions.values() if each.topic in topics]

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._tell_transactions()
            while self._told < self._newest:
                wanted = self._of(Topic.HEADS, Topic.LOGS, Topic.SYNCING)
                height = BlockHeight(self._told + 1 if wanted else self._newest)
                try:
                    await self._tell_block(height, wanted)
                except Exception:  # noqa: BLE001 - a gap must not look like a quiet chain
                    _log.exception("news_failed", height=height)
                    for subscription in wanted:
                        subscription.subscriber.fail()
                self._told = height
                await self._tell_transactions()

    async def _tell_block(self, height: BlockHeight, wanted: Sequence[Subscription]) -> None:
        of_block = [each for each in wanted if each.topic is not Topic.SYNCING and each.wanted.from_height <= height]
        if of_block:
            loop = asyncio.get_running_loop()
            await self._tell(await loop.run_in_executor(self._thread, self._read, height, of_block))
        status = syncing(self._chain)
        if bool(status) != self._was_syncing:
            self._was_syncing = bool(status)
            payload = _encode({"syncing": True, "status": status} if status else False)
            await self._tell([(each, payload) for each in self._of(Topic.SYNCING)])

    async def _tell_transactions(self) -> None:
        base_fee = self._chain.base_fee_at(self._newest) if self._entries else 0
        while self._entries:
            entry = self._entries.popleft()
            wanted = self._of(Topic.TRANSACTIONS)
            short, full = _encode(to_hex(entry.transaction.hash)), b""
            if any(each.is_full for each in wanted):
                full = _encode(pending_transaction_object(entry, base_fee))
            await self._tell([(each, full if each.is_full else short) for each in wanted])

    async def _tell(self, notices: Sequence[Notice]) -> None:
        for index, (subscription, payload) in enumerate(notices):
            if subscription.id in self._subscriptions:
                subscription.subscriber.notify(subscription.id, payload)
            if index % _NOTICES_PER_TURN == 0:
                await asyncio.sleep(0)

    def _read(self, height: BlockHeight, wanted: Sequence[Subscription]) -> list[Notice]:
        """What a block means to each, in a thread."""
        stored = self._chain.cache.block_at(self._chain.view(), height)
        assert stored is not None
        notices: list[Notice] = []
        of_heads = [each for each in wanted if each.topic is Topic.HEADS]
        if of_heads:
            block = block_object(stored, self._chain.figures(stored), self._chain.base_fee_at(height), is_full=False)
            header: dict[str, Any] = msgspec.to_builtins(block)
            for name in _NOT_OF_A_HEADER:
                del header[name]
            payload = _encode(header)
            notices += [(each, payload) for each in of_heads]
        of_logs = [each for each in wanted if each.topic is Topic.LOGS]
        if of_logs:
            for found in logs_of_block(stored):
                matching = [each for each in of_logs if each.wanted.matches(found.log)]
                payload = _encode(found_log_object(found)) if matching else b""
                notices += [(each, payload) for each in matching]
        return notices
