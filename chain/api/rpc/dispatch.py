"""From a request's bytes to the response's: calls are looked up in the table of methods, read, answered in order.

Cheap calls are answered on the event loop. Those that read much or recover signatures go to a few threads of their own,
behind a bounded queue, so that they keep neither votes nor cheap calls waiting.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import Any, Final

import msgspec
import structlog

from chain.api.rpc.errors import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    LIMIT_EXCEEDED,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    RESPONSE_TOO_LARGE,
    SERVER_ERROR,
    TIMED_OUT,
    RpcError,
    refusal,
)
from chain.api.rpc.heavy_pool import MAX_HELD_BYTES, HeavyPool
from chain.api.rpc.methods import Method
from chain.api.rpc.metrics import RpcMetrics
from chain.api.rpc.protocol import (
    MAX_RESPONSE_BYTES,
    Call,
    InvalidCall,
    check_call,
    decode_request,
    encode_batch,
    encode_error,
    encode_result,
)
from chain.primitives.rejection import Rejected
from chain.storage.errors import StorageError
from chain.web.problems import Problem

TIMEOUT_S: Final = 30.0
_TURN_S: Final = 0.002
"""So long a batch may take before others get their turn on the event loop, and the call that it is at."""
_INSTANT_CALLS: Final = 100
_INSTANT_BYTES: Final = 64 * 1024
"""What a request may hold to be answered at once: a millisecond's work."""
_UNKNOWN: Final = "unknown"
_MAX_SHOWN_CHARACTERS: Final = 64

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.api.rpc")


class Dispatcher:
    """Answers requests by a table of methods. On the event loop."""

    def __init__(
        self, methods: Iterable[Method], *, pool: HeavyPool, metrics: RpcMetrics, timeout_s: float = TIMEOUT_S
    ) -> None:
        """`timeout_s`: how long what is heavy or early in one request may take altogether."""
        self._methods = {method.name: method for method in methods}
        self._pool = pool
        self._metrics = metrics
        self._timeout_s = timeout_s

    def with_methods(self, more: Iterable[Method]) -> "Dispatcher":
        """Another one that knows these methods too: those of one WebSocket connection."""
        methods = (*self._methods.values(), *more)
        return Dispatcher(methods, pool=self._pool, metrics=self._metrics, timeout_s=self._timeout_s)

    def answer_now(self, body: bytes) -> bytes | None:
        """The response to a call, or to a few, that are answered at once; None for what must go through `answer`.

        Never raises.
        """
        if len(body) > _INSTANT_BYTES:
            return None
        try:
            request = decode_request(body)
        except RpcError:
            return None
        calls = request if isinstance(request, list) else [request]
        if len(calls) > _INSTANT_CALLS:
            return None
        prepared: list[_Prepared] = []
        for call in calls:
            if isinstance(call, InvalidCall) or call.is_notification:
                return None
            if len(calls) > 1 and self._is_answered_together(call):
                return None  # Also one by one among others: each is dear.
            prepared.append(self._prepare(call))
            if prepared[-1].is_heavy or prepared[-1].is_early:
                return None
        responses = [self._perform(each) for each in prepared]
        return encode_batch(responses) if isinstance(request, list) else responses[0]

    async def answer(self, body: bytes) -> bytes | None:
        """The response, None where nobody waits for one. Never raises, whatever the body is."""
        try:
            request = decode_request(body)
        except RpcError as error:
            self._metrics.count_error(_UNKNOWN, error.code)
            return encode_error(None, error)
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        if isinstance(request, list):
            responses: list[bytes] = []
            try:
                await self._answer_batch(request, responses, deadline)
                return encode_batch(responses) if responses else None
            finally:
                self._pool.held_bytes -= sum(map(len, responses))
        response = await self._answer_call(request, deadline)
        return None if _is_notification(request) else response

    async def _answer_batch(self, calls: Sequence[Call | InvalidCall], responses: list[bytes], deadline: float) -> None:
        """In order, neighbours together where their method answers them so; within bounds of time and bytes."""
        loop = asyncio.get_running_loop()
        turn_ends = loop.time() + _TURN_S
        size_bytes = start = 0
        while start < len(calls):
            together = self._neighbours(calls, start)
            error = self._too_large(size_bytes)
            if error is not None:
                answered = [encode_error(call.id, error) for call in together]
            elif len(together) > 1:
                answered = await self._answer_together([call for call in together if isinstance(call, Call)], deadline)
            else:
                answered = [await self._answer_call(together[0], deadline)]
            for call, response in zip(together, answered, strict=True):
                if not _is_notification(call):
                    responses.append(response)
                    size_bytes += len(response)
                    self._pool.held_bytes += len(response)
            start += len(together)
            if loop.time() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = loop.time() + _TURN_S

    def _too_large(self, size_bytes: int) -> RpcError | None:
        """Why a batch whose responses have come to so much is answered no further."""
        if size_bytes > MAX_RESPONSE_BYTES:
            return RpcError(RESPONSE_TOO_LARGE, "response too large: send fewer calls in one batch")
        if size_bytes and self._pool.held_bytes > MAX_HELD_BYTES:
            return RpcError(LIMIT_EXCEEDED, "this node has too much to answer at present; try again")
        return None

    def _neighbours(self, calls: Sequence[Call | InvalidCall], start: int) -> Sequence[Call | InvalidCall]:
        """The call at `start`, and those after it that are answered together with it."""
        first = calls[start]
        end = start + 1
        if isinstance(first, Call) and self._is_answered_together(first):
            while end < len(calls) and isinstance(call := calls[end], Call) and call.method == first.method:
                end += 1
        return calls[start:end]

    def _is_answered_together(self, call: Call) -> bool:
        method = self._methods.get(call.method)
        return method is not None and method.handle_all is not None

    async def _answer_call(self, call: Call | InvalidCall, deadline: float) -> bytes:
        if isinstance(call, InvalidCall):
            self._metrics.count_error(_UNKNOWN, INVALID_REQUEST)
            return encode_error(call.id, RpcError(INVALID_REQUEST, "invalid request"))
        prepared = self._prepare(call)
        is_early = prepared.is_early
        if not is_early and not prepared.is_heavy:
            return self._perform(prepared)
        try:
            async with asyncio.timeout_at(deadline):
                if is_early:
                    await prepared.wait()
                if prepared.is_heavy:
                    return await self._pool.run(partial(self._perform, prepared))
                return self._perform(prepared)
        except TimeoutError:
            error = self._timed_out()
        except RpcError as limit:
            error = limit
        self._metrics.count_error(call.method, error.code)
        return encode_error(call.id, error)

    def _prepare(self, call: Call) -> "_Prepared":
        method = self._methods.get(call.method)
        try:
            values = check_call(call)
            if method is None:
                raise _unknown_method(call.method)
            return _Prepared(call, method, method.read(values))
        except RpcError as error:
            return _Prepared(call, method, error)

    def _perform(self, prepared: "_Prepared") -> bytes:
        """The response to one call. Any thread."""
        started_at = time.perf_counter()
        call, method, arguments = prepared.call, prepared.method, prepared.arguments
        label = _UNKNOWN if method is None else call.method
        try:
            if isinstance(arguments, RpcError):
                raise arguments
            assert method is not None
            response = encode_result(call.id, method.handler(*arguments))
        except Exception as exception:  # noqa: BLE001 - the last resort: the client gets an error, the log the traceback
            response = self._failure(label, call, exception)
        self._metrics.observe(label, time.perf_counter() - started_at)
        return response

    def _timed_out(self) -> RpcError:
        return RpcError(TIMED_OUT, f"request timed out after {self._timeout_s:g} s")

    def _failure(self, label: str, call: Call, exception: Exception) -> bytes:
        error = error_of(exception, label)
        self._metrics.count_error(label, error.code)
        return encode_error(call.id, error)

    async def _answer_together(self, calls: Sequence[Call], deadline: float) -> list[bytes]:
        """The responses to neighbouring calls of one method."""
        started_at = time.perf_counter()
        method = self._methods[calls[0].method]
        assert method.handle_all is not None
        read = [self._prepare(call).arguments for call in calls]
        results: Iterator[Any]
        try:
            async with asyncio.timeout_at(deadline):
                results = iter(await method.handle_all([each for each in read if not isinstance(each, RpcError)]))
        except TimeoutError:
            results = repeat(self._timed_out())
        except Exception as exception:  # noqa: BLE001 - as in `_perform`
            results = repeat(error_of(exception, method.name))
        seconds = (time.perf_counter() - started_at) / len(calls)
        responses: list[bytes] = []
        for call, arguments in zip(calls, read, strict=True):
            result = arguments if isinstance(arguments, RpcError) else next(results)
            self._metrics.observe(method.name, seconds)
            failed = isinstance(result, RpcError)
            responses.append(self._failure(method.name, call, result) if failed else encode_result(call.id, result))
        return responses


class _Prepared(msgspec.Struct, frozen=True, gc=False):
    """A call whose parameters have been read, or what is wrong with them."""

    call: Call
    method: Method | None
    arguments: list[Any] | RpcError

    @property
    def is_heavy(self) -> bool:
        """Whether it takes a thread."""
        method, arguments = self.method, self.arguments
        if method is None or isinstance(arguments, RpcError):
            return False
        is_heavy = method.is_heavy
        try:
            return is_heavy if isinstance(is_heavy, bool) else is_heavy(*arguments)
        except StorageError:
            return False  # The method itself will say so.

    @property
    def is_early(self) -> bool:
        """Whether it had better be answered a moment later."""
        method, arguments = self.method, self.arguments
        if method is None or method.is_early is None or isinstance(arguments, RpcError):
            return False
        try:
            return method.is_early(*arguments)
        except StorageError:
            return False  # As above.

    async def wait(self) -> None:
        """Until that moment."""
        method, arguments = self.method, self.arguments
        assert method is not None
        assert method.wait is not None
        assert not isinstance(arguments, RpcError)
        with contextlib.suppress(StorageError):
            await method.wait(*arguments)


def error_of(exception: Exception, method: str) -> RpcError:
    """What the client is told; what is our own fault goes to the log."""
    match exception:
        case RpcError():
            return exception
        case Rejected():
            return refusal(exception)
        case Problem():
            return RpcError(NOT_FOUND if exception.status == 404 else SERVER_ERROR, exception.detail)
        case StorageError():
            _log.error("storage_error", fault=str(exception), method=method)
            return RpcError(INTERNAL_ERROR, "this node cannot read its chain at present")
    request_id = uuid.uuid4().hex[:12]
    _log.error("call_failed", request_id=request_id, method=method, exc_info=exception)
    return RpcError(INTERNAL_ERROR, f"a fault in this node; its log has it under {request_id}")


def _is_notification(call: Call | InvalidCall) -> bool:
    return isinstance(call, Call) and call.is_notification


def _unknown_method(name: str) -> RpcError:
    shown = name if len(name) <= _MAX_SHOWN_CHARACTERS else name[:_MAX_SHOWN_CHARACTERS] + "…"
    return RpcError(METHOD_NOT_FOUND, f"the method {shown} does not exist/is not available")
