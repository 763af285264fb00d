"""Typed client of a provider: orders pictures, follows their progress, and believes no answer that it has not checked.

    with ProviderClient("http://127.0.0.1:8000", api_key) as provider:
        made = provider.generate(PictureOrder("a red circle on a blue background"))
        Path("out.png").write_bytes(made.pictures[0])

`generate` verifies the provider's signature, the receipt's hashes of prompt, parameters and pictures, and what came.
An order whose connection breaks is sent again with the same Idempotency-Key, so the provider draws and charges it once.
`AsyncProviderClient` is the same for asyncio.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import httpx
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy
from websockets.sync.client import connect

from provider.ordering import calls
from provider.ordering.calls import Call
from provider.ordering.connection import ANSWER_TIMEOUT_S, PICTURES_TIMEOUT_S, Attempts, Connection
from provider.ordering.errors import ClientError
from provider.ordering.live import MAX_MESSAGE_BYTES, Accepted, Event, Finished, order_message, read_message
from provider.ordering.order import PictureOrder, PreparedOrder, Signing
from provider.ordering.verification import Expected, Pictures

__all__ = ["AsyncProviderClient", "Expected", "PictureOrder", "Pictures", "ProviderClient", "Signing"]

_ANYBODY: Final = Expected()
_CANCEL_TIMEOUT_S: Final = 5.0

P = ParamSpec("P")
T = TypeVar("T")
OnEvent = Callable[[Event], None]


class _LinkBroken(Exception):
    """A WebSocket could not be opened, or broke off; `cause` says how."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _NoLiveConnection(_LinkBroken):
    """The provider, or what stands before it, speaks no WebSocket: the order goes by HTTP."""


@contextlib.contextmanager
def _link_errors() -> Iterator[None]:
    """Around calls of the WebSocket only: what a listener raises is not the connection's fault."""
    try:
        yield
    except (InvalidHandshake, InvalidProxy) as error:
        raise _NoLiveConnection(error) from None
    except (ConnectionClosed, OSError) as error:  # A TimeoutError is an OSError.
        raise _LinkBroken(error) from None


class _connect_here(connect_async):  # noqa: N801 - a function in all but its name, like its base
    """Follows no redirects, as HTTP's do not either: the order is for this address."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """The answer is what it is."""
        return exc


class _Progress:
    """What is known of an order that is followed."""

    def __init__(self, prepared: PreparedOrder, expected: Expected, on_event: OnEvent) -> None:
        self._prepared = prepared
        self._expected = expected
        self._on_event = on_event
        self.job_id: str | None = None

    def take(self, text: str | bytes) -> Pictures | None:
        """The pictures once they are there; raises what ends the job."""
        event = read_message(text, self._prepared, self._expected)
        if isinstance(event, Accepted):
            self.job_id = event.job_id
        if event is not None:
            self._on_event(event)
        return event.pictures if isinstance(event, Finished) else None


def _blocking(build: Callable[P, Call[T]]) -> Callable[Concatenate["ProviderClient", P], T]:
    def method(client: "ProviderClient", /, *arguments: P.args, **options: P.kwargs) -> T:
        return client.perform(build(*arguments, **options))

    return _documented(method, build)


def _awaitable(build: Callable[P, Call[T]]) -> Callable[Concatenate["AsyncProviderClient", P], Coroutine[Any, Any, T]]:
    async def method(client: "AsyncProviderClient", /, *arguments: P.args, **options: P.kwargs) -> T:
        return await client.perform(build(*arguments, **options))

    return _documented(method, build)


def _documented(method: Callable[P, T], build: Callable[..., Any]) -> Callable[P, T]:
    method.__name__, method.__doc__ = build.__name__, build.__doc__
    return method


def _pause_s(attempts: Attempts, attempt: int, progress: _Progress, error: Exception) -> float | None:
    """Seconds to wait before a WebSocket that broke is opened again; None to give up."""
    nobody_was_there = attempt == 0 and progress.job_id is None and isinstance(error, OSError)
    return None if nobody_was_there or isinstance(error, TimeoutError) else attempts.pause_s(attempt)


class ProviderClient:
    """Blocking client; threads may share one. Every method raises the errors of `provider.ordering.errors`."""

    def __init__(
        self, url: str, api_key: str = "", *, expected: Expected = _ANYBODY, timeout_s: float = PICTURES_TIMEOUT_S
    ) -> None:
        """`url` such as http://127.0.0.1:8000. `expected` names the provider's address and chain where they are known;
        otherwise its word is taken for them. `timeout_s` is what `generate` may take in all."""
        self._connection = Connection(url, api_key, expected)
        self._timeout_s = timeout_s
        self._http = httpx.Client(**self._connection.http_options)

    def perform(self, call: Call[T], *, timeout_s: float = ANSWER_TIMEOUT_S) -> T:
        """Makes one call; again after a connection that broke, where that is safe."""
        attempts = Attempts.within(timeout_s)
        attempt = 0
        while True:
            try:
                return self._perform_once(call, attempts)
            except httpx.HTTPError as error:
                pause_s = attempts.pause_after_s(attempt, call, error)
                if pause_s is None:
                    raise self._connection.unreachable(error) from None
            time.sleep(pause_s)
            attempt += 1

    def _perform_once(self, call: Call[T], attempts: Attempts) -> T:
        content = bytearray()
        with self._http.stream(**self._connection.request_options(call, attempts)) as response:
            for chunk in response.iter_raw():
                self._connection.take(content, chunk, call, attempts)
        return self._connection.read(call, response, bytes(content))

    def generate(
        self,
        order: PictureOrder,
        *,
        signing: Signing | None = None,
        on_event: OnEvent | None = None,
        preview_every: int = 0,
    ) -> Pictures:
        """Finished pictures, checked against the order.

        `on_event` hears of the queue, every step, and every `preview_every` steps a preview, where the provider can be
        reached by WebSocket. Whatever interrupts the wait (Ctrl-C, an exception in `on_event`) cancels the job then.
        With `signing`, the provider's address and the chain id must be among what is `expected`.
        """
        attempts = Attempts.within(self._timeout_s)
        prepared = self._connection.prepared(order, signing)
        message = order_message(prepared, preview_every)
        if on_event is not None and len(message) <= MAX_MESSAGE_BYTES:
            with contextlib.suppress(_NoLiveConnection):
                return self._generate_live(message, prepared, on_event, attempts)
        call = calls.generate(prepared, self._connection.api_key, self._connection.expected)
        return self.perform(call, timeout_s=attempts.remaining_s)

    def _generate_live(self, message: str, prepared: PreparedOrder, on_event: OnEvent, attempts: Attempts) -> Pictures:
        progress = _Progress(prepared, self._connection.expected, on_event)
        attempt = 0
        try:
            while True:
                try:
                    return self._follow(message, prepared, progress, attempts)
                except _LinkBroken as broken:
                    if isinstance(broken, _NoLiveConnection) and progress.job_id is None:
                        raise
                    pause_s = _pause_s(attempts, attempt, progress, broken.cause)
                    if pause_s is None:
                        raise self._connection.unreachable(broken.cause) from None
                time.sleep(pause_s)
                attempt += 1
        except BaseException:
            if progress.job_id is not None:
                with contextlib.suppress(ClientError):  # It may have ended, well or badly.
                    self.perform(calls.cancel(progress.job_id), timeout_s=_CANCEL_TIMEOUT_S)
            raise

    def _follow(self, message: str, prepared: PreparedOrder, progress: _Progress, attempts: Attempts) -> Pictures:
        options = self._connection.live_options(attempts, prepared.order.max_answer_bytes())
        with _link_errors():
            socket = connect(self._connection.live_url, **options)
        with socket:
            with _link_errors():
                socket.send(message)
            while True:
                with _link_errors():
                    text = socket.recv(timeout=attempts.remaining_s)
                pictures = progress.take(text)
                if pictures is not None:
                    return pictures
                if attempts.is_over:
                    raise self._connection.too_slow()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    health = _blocking(calls.health)
    jobs = _blocking(calls.jobs)
    job = _blocking(calls.job)
    cancel = _blocking(calls.cancel)
    artifact = _blocking(calls.artifact)
    step = _blocking(calls.step)
    receipts = _blocking(calls.receipts)
    receipt = _blocking(calls.receipt)


class AsyncProviderClient:
    """The same for asyncio; one event loop's tasks may share one."""

    def __init__(
        self, url: str, api_key: str = "", *, expected: Expected = _ANYBODY, timeout_s: float = PICTURES_TIMEOUT_S
    ) -> None:
        """As `ProviderClient`."""
        self._connection = Connection(url, api_key, expected)
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(**self._connection.http_options)

    async def perform(self, call: Call[T], *, timeout_s: float = ANSWER_TIMEOUT_S) -> T:
        """As `ProviderClient.perform`."""
        attempts = Attempts.within(timeout_s)
        attempt = 0
        while True:
            try:
                return await self._perform_once(call, attempts)
            except httpx.HTTPError as error:
                pause_s = attempts.pause_after_s(attempt, call, error)
                if pause_s is None:
                    raise self._connection.unreachable(error) from None
            await asyncio.sleep(pause_s)
            attempt += 1

    async def _perform_once(self, call: Call[T], attempts: Attempts) -> T:
        content = bytearray()
        async with self._http.stream(**self._connection.request_options(call, attempts)) as response:
            async for chunk in response.aiter_raw():
                self._connection.take(content, chunk, call, attempts)
        return self._connection.read(call, response, bytes(content))

    async def generate(
        self,
        order: PictureOrder,
        *,
        signing: Signing | None = None,
        on_event: OnEvent | None = None,
        preview_every: int = 0,
    ) -> Pictures:
        """As `ProviderClient.generate`; a cancelled task cancels its job."""
        attempts = Attempts.within(self._timeout_s)
        prepared = self._connection.prepared(order, signing)
        message = order_message(prepared, preview_every)
        if on_event is not None and len(message) <= MAX_MESSAGE_BYTES:
            with contextlib.suppress(_NoLiveConnection):
                return await self._generate_live(message, prepared, on_event, attempts)
        call = calls.generate(prepared, self._connection.api_key, self._connection.expected)
        return await self.perform(call, timeout_s=attempts.remaining_s)

    async def _generate_live(
        self, message: str, prepared: PreparedOrder, on_event: OnEvent, attempts: Attempts
    ) -> Pictures:
        progress = _Progress(prepared, self._connection.expected, on_event)
        attempt = 0
        try:
            while True:
                try:
                    return await self._follow(message, prepared, progress, attempts)
                except _LinkBroken as broken:
                    if isinstance(broken, _NoLiveConnection) and progress.job_id is None:
                        raise
                    pause_s = _pause_s(attempts, attempt, progress, broken.cause)
                    if pause_s is None:
                        raise self._connection.unreachable(broken.cause) from None
                await asyncio.sleep(pause_s)
                attempt += 1
        except BaseException:
            if progress.job_id is not None:
                with contextlib.suppress(ClientError):  # It may have ended, well or badly.
                    await self.perform(calls.cancel(progress.job_id), timeout_s=_CANCEL_TIMEOUT_S)
            raise

    async def _follow(self, message: str, prepared: PreparedOrder, progress: _Progress, attempts: Attempts) -> Pictures:
        options = self._connection.live_options(attempts, prepared.order.max_answer_bytes())
        with _link_errors():
            socket = await _connect_here(self._connection.live_url, **options)
        async with socket:
            with _link_errors():
                await socket.send(message)
            while True:
                with _link_errors():
                    text = await asyncio.wait_for(socket.recv(), attempts.remaining_s)
                pictures = progress.take(text)
                if pictures is not None:
                    return pictures
                if attempts.is_over:
                    raise self._connection.too_slow()

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    health = _awaitable(calls.health)
    jobs = _awaitable(calls.jobs)
    job = _awaitable(calls.job)
    cancel = _awaitable(calls.cancel)
    artifact = _awaitable(calls.artifact)
    step = _awaitable(calls.step)
    receipts = _awaitable(calls.receipts)
    receipt = _awaitable(calls.receipt)
