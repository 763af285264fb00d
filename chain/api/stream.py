"""/v1/stream: final blocks, trades and orders as server-sent events, as browsers' EventSource reads them.

Each stream goes through the chain at its own pace: it takes the next block when the client has read the one before, so
nothing piles up for who is slow, and whoever comes back with the id of the last block that it has had goes on from
there. What a block means is read once, in a thread, and kept for a while for all.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry, Gauge
from starlette.types import Receive, Scope, Send

from chain.api.market_news import MAX_EVENTS, BlockNotice, MarketNews, event_octets, notice_of
from chain.api.reading import BlockCache
from chain.market_answers import ResetNews
from chain.node.peers.bans import address_group, is_loopback
from chain.node.runner import Node
from chain.node.waiting import Entry
from chain.primitives.hexadecimal import parse_address
from chain.primitives.types import Address, BlockHeight
from chain.storage.errors import StorageError
from chain.web.application import create_router
from chain.web.problems import Problem

MAX_STREAMS: Final = 64
"""A quarter of what the server takes altogether."""
MAX_STREAMS_PER_ADDRESS: Final = 16
MAX_RESUMED_BLOCKS: Final = 1_000
"""Who has been away for longer asks for what it needs instead."""
HEARTBEAT_S: Final = 15.0
"""A comment after so much silence: proxies close connections on which nothing moves."""
_RETRY_MS: Final = 2_000
_KEPT_BLOCKS: Final = 64
_KEPT_BYTES: Final = 32 * 1024 * 1024
_PIECE_BYTES: Final = 64 * 1024
_UNBUFFERED: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""nginx would keep the events back."""
_EVENT_ID: Final = "^(0|[1-9][0-9]{0,14})$"


class Wanted(msgspec.Struct, frozen=True):
    """Which trades and orders a stream tells; None: all."""

    market: int | None = None
    account: Address | None = None

    def takes(self, news: MarketNews) -> bool:
        """Whether one is among them."""
        return (self.market is None or self.market == news.market) and (
            self.account is None or self.account in news.accounts
        )


class Streams:
    """All streams of one node: a listener of its feed. On the event loop, but for reading blocks."""

    def __init__(
        self,
        node: Node,
        cache: BlockCache,
        *,
        registry: CollectorRegistry,
        heartbeat_s: float = HEARTBEAT_S,
        max_events: int = MAX_EVENTS,
    ) -> None:
        """`max_events` of one block: where there are more, none is told, and the stream says so."""
        self._node = node
        self._cache = cache
        self._heartbeat_s = heartbeat_s
        self._max_events = max_events
        self._newest = node.ledger.head.height
        self._wake = asyncio.Event()
        self._is_open = False
        self._groups: list[str] = []
        self._notices: OrderedDict[int, asyncio.Task[BlockNotice]] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stream")
        gauge = Gauge("aitbc_streams", "Open streams of events (/v1/stream)", registry=registry)
        gauge.set_function(lambda: len(self))

    def __len__(self) -> int:
        return len(self._groups)

    def start(self) -> None:
        """Streams begin from here on."""
        self._newest = self._node.ledger.head.height
        self._node.feed.listen(self)
        self._is_open = True

    def stop(self) -> None:
        """Every stream ends."""
        self._is_open = False
        self._rouse()

    async def close(self) -> None:
        """Ends what is left, before the node stops; waits for the block that is being read."""
        self._node.feed.forget(self)
        self.stop()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    # From the node

    def on_block(self, height: BlockHeight) -> None:
        """As in Listener."""
        self._newest = height
        self._rouse()

    def on_transaction(self, entry: Entry) -> None:
        """As in Listener: what waits is no news here."""

    def _rouse(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()

    # To clients

    def check_room(self, group: str) -> None:
        """Raises Problem where there is no place for one more."""
        headers = {"Retry-After": "5"}
        if not self._is_open:
            raise Problem(503, "unavailable", "this node stops", headers=headers)
        of_group = 0 if is_loopback(group) else self._groups.count(group)
        if len(self._groups) >= MAX_STREAMS or of_group >= MAX_STREAMS_PER_ADDRESS:
            raise Problem(503, "crowded", "too many streams are open; try again later", headers=headers)

    def enter(self, group: str) -> None:
        """Counts one in."""
        self._groups.append(group)

    def leave(self, group: str) -> None:
        """Counts it out."""
        self._groups.remove(group)

    async def follow(self, wanted: Wanted, last_id: int | None) -> AsyncGenerator[bytes]:
        """The body of a stream: from the block after the one that the client has had last, else from the newest."""
        yield b"retry: %d\n\n" % _RETRY_MS
        told = self._newest - 1 if last_id is None else last_id
        if not self._newest - MAX_RESUMED_BLOCKS <= told <= self._newest:
            told = self._newest - 1
            yield event_octets("reset", ResetNews(height=max(told, 0)))
        while self._is_open:
            wake = self._wake
            if told < self._newest:
                told += 1
                for piece in _pieces(await self._notice(told), wanted):
                    yield piece
                continue
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await wake.wait()
            except TimeoutError:
                yield b": nothing new\n\n"

    async def _notice(self, height: int) -> BlockNotice:
        """What a block means, read at most once while it is wanted."""
        reading = self._notices.get(height)
        if reading is None:
            reading = self._notices[height] = asyncio.create_task(self._read(height), name=f"stream: block {height}")
        notice = await asyncio.shield(reading)  # A client that goes leaves it to the others.
        self._forget_oldest()
        return notice

    async def _read(self, height: int) -> BlockNotice:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._read_now, height)
        except BaseException:
            self._notices.pop(height, None)
            raise

    def _read_now(self, height: int) -> BlockNotice:
        stored = self._cache.block_at(self._node.ledger.view(), height)
        if stored is None:
            raise StorageError(f"Block {height} is not in the store.")
        return notice_of(stored, max_events=self._max_events)

    def _forget_oldest(self) -> None:
        sizes = {height: task.result().size_bytes for height, task in self._notices.items() if _has_result(task)}
        for height in tuple(sizes):
            if len(sizes) <= _KEPT_BLOCKS and sum(sizes.values()) <= _KEPT_BYTES:
                return
            del sizes[height], self._notices[height]


def _has_result(task: asyncio.Task[BlockNotice]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _pieces(notice: BlockNotice, wanted: Wanted) -> Iterator[bytes]:
    """What a block's notice is to one stream, in parts of some size."""
    waiting: list[bytes] = []
    waiting_bytes = 0
    if not notice.is_whole:
        waiting.append(event_octets("reset", ResetNews(height=notice.height)))
    for news in notice.news if notice.is_whole else ():
        if not wanted.takes(news):
            continue
        waiting.append(news.octets)
        waiting_bytes += len(news.octets)
        if waiting_bytes >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, waiting_bytes = [], 0
    yield b"".join((*waiting, notice.octets))


class _StreamResponse(StreamingResponse):
    """A stream that counts while it is answered."""

    def __init__(self, streams: Streams, group: str, body: AsyncIterator[bytes]) -> None:
        super().__init__(body, media_type="text/event-stream", headers=_UNBUFFERED)
        self._streams = streams
        self._group = group

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        self._streams.enter(self._group)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.leave(self._group)


def stream_router(streams: Streams) -> APIRouter:
    """The one route."""
    router = create_router(prefix="/v1", tag="market")

    @router.get(
        "/stream",
        summary="Blocks, trades and orders as server-sent events, without end",
        description=(
            "`trade` and `order` events, of one market or account where these are named; after them, for every block, "
            "`block`, whose id is the height: a client that comes back with it (Last-Event-ID) misses nothing, and "
            "may see the block that was cut off again. `reset` says that something is not told: ask anew."
        ),
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def stream(
        request: Request,
        market: Annotated[int | None, Query(ge=1, le=2**32 - 1, description="Of this market only.")] = None,
        account: Annotated[
            str | None, Query(pattern="^0x[0-9a-fA-F]{40}$", description="Of this account only.")
        ] = None,
        last_event_id: Annotated[
            str | None, Query(pattern=_EVENT_ID, description="As the header, for those who cannot set it.")
        ] = None,
        last_event_id_header: Annotated[
            str | None, Header(alias="Last-Event-ID", pattern=_EVENT_ID, description="Height of the last block had.")
        ] = None,
    ) -> StreamingResponse:
        wanted = Wanted(market, None if account is None else parse_address(account, "account"))
        group = address_group(request.client.host if request.client is not None else "unknown")
        streams.check_room(group)
        last_id = last_event_id_header or last_event_id
        body = streams.follow(wanted, None if last_id is None else int(last_id))
        return _StreamResponse(streams, group, body)

    return router
