"""JSON-RPC over WebSocket, at /rpc and /: every method as over HTTP, and subscriptions.

Messages of one connection are answered one after another, so that transactions sent in the order of their nonces stay
in it. What a connection does not read is kept within bounds, then it is closed; others do not wait for it.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from chain.api.rpc.budget import ByteBudget
from chain.api.rpc.dispatch import Dispatcher
from chain.api.rpc.http import PATHS
from chain.api.rpc.news import News
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.socket import Close, Connection, Pace
from chain.api.rpc.subscriptions import Subscriptions, subscription_methods
from chain.node.peers.bans import address_group, is_loopback

MAX_CONNECTIONS: Final = 128
"""Half of what the server takes altogether."""
MAX_CONNECTIONS_PER_ADDRESS: Final = 64
IDLE_S: Final = 60.0
_MAX_QUEUED_MESSAGES: Final = 4_096
"""Which a client may send ahead: libraries send what a page asks for at once."""
_CLOSE_TIMEOUT_S: Final = 1.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.api.rpc")


class RpcSockets:
    """All WebSockets of one node."""

    def __init__(
        self,
        chain: ServedChain,
        dispatcher: Dispatcher,
        unsent: ByteBudget,
        *,
        registry: CollectorRegistry,
        origins: Sequence[str],
        max_connections: int = MAX_CONNECTIONS,
        idle_s: float = IDLE_S,
    ) -> None:
        """`origins`: of the pages that may connect, or "*" for all; who is no browser names none.

        Who has asked nothing for `idle_s`, and has subscribed to nothing, makes room where there is none.
        """
        self._chain = chain
        self._dispatcher = dispatcher
        self._unsent = unsent
        self._origins = frozenset(origins)
        self._max_connections = max_connections
        self._idle_s = idle_s
        self._news = News(chain)
        self._pace = Pace()
        self._connections: set[Connection] = set()
        self._is_open = False
        gauge = Gauge("aitbc_rpc_websockets", "WebSocket connections for JSON-RPC", registry=registry)
        gauge.set_function(lambda: len(self))
        gauge = Gauge("aitbc_rpc_subscriptions", "Subscriptions of WebSocket connections", registry=registry)
        gauge.set_function(lambda: self.subscription_count)
        self._ended = Counter("aitbc_rpc_websockets_ended", "WebSocket connections ended", ("code",), registry=registry)

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def subscription_count(self) -> int:
        """Of all connections together."""
        return len(self._news)

    def mount(self, application: Starlette) -> None:
        """Adds the endpoints."""
        for path in sorted(PATHS):
            application.router.routes.append(WebSocketRoute(path, self))

    def start(self) -> None:
        """Accepts from here on."""
        self._news.start()
        self._is_open = True

    async def close(self) -> None:
        """Tells all connections goodbye, before the node stops."""
        self._is_open = False
        for connection in self._connections:
            connection.end(Close.GOING_AWAY, "this node stops")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await asyncio.gather(*(each.closed.wait() for each in self._connections))
        await self._news.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for one connection."""
        if (await receive())["type"] != "websocket.connect":
            return
        host = (scope.get("client") or ("unknown", 0))[0]
        group = address_group(host)
        if not self._is_open or not self._is_welcome(scope) or not self._has_room(group):
            await send({"type": "websocket.close"})  # Answers the opening request with 403.
            return
        connection = Connection(receive, send, group=group, pace=self._pace, unsent=self._unsent)
        subscriptions = Subscriptions(self._chain, self._news, connection)
        dispatcher = self._dispatcher.with_methods(subscription_methods(subscriptions))
        self._connections.add(connection)
        try:
            await send({"type": "websocket.accept", "max_queued_messages": _MAX_QUEUED_MESSAGES})
            end = await connection.run(dispatcher, subscriptions)
            self._ended.labels(str(end.code)).inc()
            _log.debug("websocket_ended", host=host, code=end.code, reason=end.reason)
        except OSError:
            return  # The client was gone before it was accepted.
        finally:
            self._connections.discard(connection)
            subscriptions.close()

    def _is_welcome(self, scope: Scope) -> bool:
        origin = dict(scope["headers"]).get(b"origin")
        return origin is None or "*" in self._origins or origin.decode("latin-1") in self._origins

    def _has_room(self, group: str) -> bool:
        """Whether there is a place; where there is none, the one that has been idle for longest is ended."""
        if not is_loopback(group):
            neighbours = [each for each in self._connections if each.group == group]
            if len(neighbours) >= MAX_CONNECTIONS_PER_ADDRESS and not self._end_idle(neighbours):
                return False
        return len(self._connections) < self._max_connections or self._end_idle(list(self._connections))

    def _end_idle(self, connections: list[Connection]) -> bool:
        heard_before_s = time.monotonic() - self._idle_s
        idle = [each for each in connections if not each.has_subscriptions and each.heard_s <= heard_before_s]
        if not idle:
            return False
        longest = min(idle, key=lambda each: each.heard_s)
        longest.end(Close.GOING_AWAY, "idle, and others need the place")
        self._connections.discard(longest)
        return True
