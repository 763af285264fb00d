"""One WebSocket connection: a task that answers messages in turn, one that writes; the first to end, ends both."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

import msgspec
import structlog
from starlette.types import Receive, Send

from chain.api.rpc.budget import ByteBudget
from chain.api.rpc.dispatch import Dispatcher
from chain.api.rpc.subscriptions import Subscriptions

MAX_UNSENT_BYTES: Final = 8 * 1024 * 1024
"""Of notifications: two full blocks' logs."""
MAX_UNSENT_NOTICES: Final = 20_000
NOTICES_PER_SECOND: Final = 5_000
"""To all connections together: a tenth of the event loop's time, which votes need too."""
_MAX_DEBT_S: Final = 0.005
_CLOSE_TIMEOUT_S: Final = 1.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.api.rpc")


class Close:
    """Codes of RFC 6455 with which a connection ends."""

    GOING_AWAY: Final = 1001
    LOST: Final = 1006
    TOO_SLOW: Final = 1008
    FAILED: Final = 1011
    CROWDED: Final = 1013


class End(msgspec.Struct, frozen=True):
    """Why a connection has ended."""

    code: int
    reason: str
    is_ours: bool
    """Whether the other side is still to be told."""


class Pace:
    """Lets through so many notifications a second, whosever they are."""

    def __init__(self, per_second: int = NOTICES_PER_SECOND) -> None:
        self._seconds_each = 1 / per_second
        self._paid_until_s = 0.0

    async def wait(self) -> None:
        """Until one more may be sent."""
        now_s = time.monotonic()
        self._paid_until_s = max(self._paid_until_s, now_s) + self._seconds_each
        debt_s = self._paid_until_s - now_s
        await asyncio.sleep(debt_s if debt_s > _MAX_DEBT_S else 0)


class Connection:
    """See the module. It is a Subscriber of `news`."""

    def __init__(self, receive: Receive, send: Send, *, group: str, pace: Pace, unsent: ByteBudget) -> None:
        self.group = group
        """The address that it comes from, or its neighbourhood."""
        self.heard_s = time.monotonic()
        self.closed = asyncio.Event()
        self._receive = receive
        self._send = send
        self._pace = pace
        self._unsent = unsent
        self._subscriptions: Subscriptions | None = None
        self._outbox: deque[tuple[str | None, bytes]] = deque()  # None: a response.
        self._held: list[tuple[str, bytes]] = []
        self._unsent_bytes = 0
        self._is_filled = asyncio.Event()
        self._is_answered = asyncio.Event()
        self._ending: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    @property
    def has_subscriptions(self) -> bool:
        """Whether it may be silent, and yet in use."""
        return bool(self._subscriptions)

    def end(self, code: int, reason: str) -> None:
        """Begins the end; the first reason counts."""
        self._end(End(code, reason, is_ours=True))

    def _end(self, end: End) -> None:
        if not self._ending.done():
            self._ending.set_result(end)

    async def run(self, dispatcher: Dispatcher, subscriptions: Subscriptions) -> End:
        """Until one side ends it."""
        self._subscriptions = subscriptions
        works = (self._answer(dispatcher, subscriptions), self._write())
        tasks = [asyncio.create_task(self._end_of(work)) for work in works]
        try:
            end = await self._ending
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.closed.set()
        if end.is_ours:
            with contextlib.suppress(OSError, RuntimeError, TimeoutError):  # It is gone, or does not read.
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await self._send({"type": "websocket.close", "code": end.code, "reason": end.reason})
        return end

    async def _end_of(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (OSError, RuntimeError):  # uvicorn: gone; or closed by itself a moment ago.
            self._end(End(Close.LOST, "connection lost", is_ours=False))
        except Exception:  # noqa: BLE001 - a fault of this node's; the others' connections must go on
            _log.exception("websocket_failed")
            self.fail()

    async def _answer(self, dispatcher: Dispatcher, subscriptions: Subscriptions) -> None:
        while True:
            event = await self._receive()
            if event["type"] != "websocket.receive":
                self._end(End(event.get("code") or Close.LOST, event.get("reason") or "closed", is_ours=False))
                return
            self.heard_s = time.monotonic()
            text = event.get("text")
            body = event["bytes"] if text is None else text.encode()
            response = dispatcher.answer_now(body) or await dispatcher.answer(body)
            if response is not None and not self._unsent.has_room(len(response)):
                self.end(Close.CROWDED, "this node has too many answers to deliver at present; try again")
                return
            if response is not None:
                with self._unsent.held(len(response)):
                    self._is_answered.clear()
                    self._put(None, response)
                    self._release(subscriptions)
                    await self._is_answered.wait()  # For a client that does not read, one response is kept.
            await asyncio.sleep(0)

    def notify(self, subscription_id: str, payload: bytes) -> None:
        """As in Subscriber. Who does not read is left."""
        assert self._subscriptions is not None
        self._unsent_bytes += len(payload)
        if self._unsent_bytes > MAX_UNSENT_BYTES or len(self._outbox) + len(self._held) >= MAX_UNSENT_NOTICES:
            self.end(Close.TOO_SLOW, "does not read what it has subscribed to")
        elif subscription_id in self._subscriptions.fresh:
            self._held.append((subscription_id, payload))
        else:
            self._put(subscription_id, payload)

    def _release(self, subscriptions: Subscriptions) -> None:
        """The client knows the ids of its newest subscriptions: their notifications may follow."""
        subscriptions.fresh.clear()
        self._outbox += self._held
        self._held.clear()

    def fail(self) -> None:
        """As in Subscriber."""
        self.end(Close.FAILED, "a fault in this node")

    def _put(self, subscription_id: str | None, payload: bytes) -> None:
        self._outbox.append((subscription_id, payload))
        self._is_filled.set()

    async def _write(self) -> None:
        while True:
            await self._is_filled.wait()
            self._is_filled.clear()
            while self._outbox:
                subscription_id, payload = self._outbox.popleft()
                if subscription_id is None:
                    await self._send({"type": "websocket.send", "text": payload.decode()})
                    self._is_answered.set()
                else:
                    await self._send({"type": "websocket.send", "text": _notification(subscription_id, payload)})
                    self._unsent_bytes -= len(payload)
                    await self._pace.wait()


def _notification(subscription_id: str, payload: bytes) -> str:
    parameters = f'{{"subscription":"{subscription_id}","result":{payload.decode()}}}'
    return f'{{"jsonrpc":"2.0","method":"eth_subscription","params":{parameters}}}'
