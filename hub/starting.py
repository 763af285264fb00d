"""What a hub answers while it is being opened, which may take long: it may wait for its node, for the chain to list its
attester (`aitbc hub run --wait`), or for a database that is migrated."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from fastapi import FastAPI

from chain.web.problems import Problem, add_problem_handlers
from chain.web.server import Server

_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Closable(Protocol):
    """What is opened: `hub.hub.Hub`."""

    async def close(self) -> None:
        """Ends it."""


C = TypeVar("C", bound=Closable)


async def opened(
    listener: socket.socket, open_it: Callable[[Callable[[str], None]], Coroutine[Any, Any, C]], *, max_connections: int
) -> C | None:
    """What `open_it` opens, which gets whom to tell what it waits for; None where a signal has come meanwhile."""
    is_ended = False

    def end(_number: int) -> None:
        nonlocal is_ended
        is_ended = True
        opening.cancel()

    starting = Starting(listener, max_connections=max_connections, on_signal=end)
    opening = asyncio.create_task(open_it(starting.tell))
    async with starting:
        try:
            made = await opening
        except asyncio.CancelledError:
            if not is_ended:
                raise
            return None
    if is_ended:  # When it was open already, and was about to take over.
        await made.close()
        return None
    return made


class Starting:
    """An asynchronous context: within it `/healthz` is 200 and everything else 503 with what is waited for.

    The listening socket stays open behind it, so that the hub itself takes over without a gap.
    """

    def __init__(self, listener: socket.socket, *, max_connections: int, on_signal: Callable[[int], None]) -> None:
        self.detail = "the hub is starting"
        """What clients are told."""
        self._is_there = asyncio.Event()
        self._server = Server(
            self._application(),
            listener.dup(),
            max_connections=max_connections,
            on_signal=on_signal,
            is_announced=False,
        )

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self._server.serve(lambda _url: self._is_there.set()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A server that is stopped while it starts would leave its sockets open.
        started = asyncio.create_task(self._is_there.wait())
        await asyncio.wait({started, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        self._server.stop()
        await self._serving

    def tell(self, detail: str) -> None:
        """What it waits for now."""
        self.detail = f"the hub waits: {detail}"

    def _application(self) -> FastAPI:
        application = FastAPI(openapi_url=None)
        add_problem_handlers(application)

        @application.get("/healthz")
        async def healthz() -> dict[str, str]:
            return {"status": "ok"}  # Whoever started it anew would only have it wait from the beginning.

        @application.api_route("/{path:path}", methods=_METHODS)
        async def not_ready(path: str) -> None:
            raise Problem(503, "not_ready", self.detail, headers={"Retry-After": "5"})

        return application
