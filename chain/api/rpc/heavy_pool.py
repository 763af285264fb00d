"""The threads in which heavy calls run, and how much may wait for them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from chain.api.rpc.errors import LIMIT_EXCEEDED, RpcError

T = TypeVar("T")

THREADS: Final = 2
"""More would only take turns: Python runs one at a time, and reading from the disk is short."""
MAX_WAITING_CALLS: Final = 256
"""Calls in these threads or waiting for them, of all clients together."""
MAX_HELD_BYTES: Final = 128 * 1024 * 1024
"""Responses of batches that are not answered whole yet, of all clients together."""


class HeavyPool:
    """The threads for heavy calls, and a count of what batches hold in memory."""

    def __init__(self) -> None:
        self.held_bytes = 0
        """What batches have come to that are not answered whole yet."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="rpc")
        self._waiting = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises; RpcError where too many wait already."""
        if self._waiting >= MAX_WAITING_CALLS:
            raise RpcError(LIMIT_EXCEEDED, "this node has too much to answer at present; try again")
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._ended)  # Also when who waits gives up: then it is dropped, unless it runs.
        return await future

    def _ended(self, _future: "asyncio.Future[Any]") -> None:
        self._waiting -= 1

    async def close(self) -> None:
        """Waits for the calls in hand; the ones that wait are dropped."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
