"""What came of what the store's threads were asked for, brought back to who waits: coroutines of any event loop."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """`error` None means that it is done: what was written is committed."""

    value: Any = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who waits: a coroutine in `loop`, or a thread."""

    future: "asyncio.Future[Any] | Future[Any]"
    loop: asyncio.AbstractEventLoop | None


def answer(outcomes: Iterable[tuple[Caller, Outcome]]) -> None:
    """Everybody, from any thread: each event loop is woken once for all of its own."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[tuple[Any, Outcome]]] = defaultdict(list)
    for caller, outcome in outcomes:
        if caller.loop is None:
            _settle([(caller.future, outcome)])
        else:
            by_loop[caller.loop].append((caller.future, outcome))
    for loop, settled in by_loop.items():
        # A loop that has ended has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: list[tuple[Any, Outcome]]) -> None:
    for future, outcome in settled:
        if future.cancelled():
            continue
        if outcome.error is None:
            future.set_result(outcome.value)
        else:
            future.set_exception(outcome.error)
