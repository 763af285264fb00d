"""Transactions that peers have sent: looked at by turns and within quotas, apart from all that is urgent."""

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from chain.consensus.effects import PeerId
from chain.node.peers.quotas import TokenBucket
from chain.node.peers.settings import PeerCounts, PeerSettings

_LONGEST_PAUSE_S: Final = 0.2
_RAW_OVERHEAD_BYTES: Final = 64

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node.peers")

Handle = Callable[[PeerId, tuple[bytes, ...]], Awaitable[None]]


class _Waiting:
    """One peer's."""

    def __init__(self, settings: PeerSettings, now_s: float, *, is_validator: bool) -> None:
        quota = settings.validator_quota if is_validator else settings.other_quota
        self.max_bytes = settings.waiting_validator_bytes if is_validator else settings.waiting_other_bytes
        self.bucket = TokenBucket(quota.transactions, now_s)
        self.is_validator = is_validator
        self.batches: deque[tuple[bytes, ...]] = deque()
        self.queued_bytes = 0
        self.has_room = asyncio.Event()
        self.has_room.set()


class Intake:
    """Hands batches to the node one after another, the peers by turns."""

    def __init__(self, settings: PeerSettings, counts: PeerCounts) -> None:
        self._settings = settings
        self._counts = counts
        self._waiting: OrderedDict[PeerId, _Waiting] = OrderedDict()
        self._shared = TokenBucket(settings.others_together_quota.transactions, time.monotonic())
        self._is_filled = asyncio.Event()

    async def put(self, peer: PeerId, raws: tuple[bytes, ...], *, is_validator: bool) -> bool:
        """Queues a batch. Where the queue is full, a validator's is left out, so that its votes do not wait behind it;
        for others this waits."""
        waiting = self._waiting.get(peer)
        if waiting is None or waiting.is_validator != is_validator:
            waiting = self._waiting[peer] = _Waiting(self._settings, time.monotonic(), is_validator=is_validator)
        size = _size(raws)
        is_over_quota = False
        while waiting.queued_bytes and waiting.queued_bytes + size > waiting.max_bytes:
            if is_validator:
                self._counts.add("transactions_left_out", len(raws))
                return False
            is_over_quota = is_over_quota or waiting.bucket.delay_s(time.monotonic()) > 0
            waiting.has_room.clear()
            await waiting.has_room.wait()
        waiting.batches.append(raws)
        waiting.queued_bytes += size
        self._is_filled.set()
        return is_over_quota

    def forget(self, peer: PeerId) -> None:
        """The peer is gone, and so is what it had queued."""
        waiting = self._waiting.pop(peer, None)
        if waiting is not None:
            waiting.queued_bytes = 0
            waiting.has_room.set()

    async def run(self, handle: Handle) -> None:
        """Until cancelled."""
        while True:
            await self._is_filled.wait()
            self._is_filled.clear()
            pause_s: float | None = 0.0
            while pause_s is not None:
                pause_s = await self._take_turn(handle)
                if pause_s:
                    with contextlib.suppress(TimeoutError):  # Nobody else's came meanwhile.
                        await asyncio.wait_for(self._is_filled.wait(), min(pause_s, _LONGEST_PAUSE_S))
                    self._is_filled.clear()

    async def _take_turn(self, handle: Handle) -> float | None:
        """One batch of each peer that may; gives how long nothing can be done, None where nothing waits."""
        pauses: list[float] = []
        for peer, waiting in list(self._waiting.items()):
            if not waiting.batches:
                continue
            now_s = time.monotonic()
            pause_s = waiting.bucket.delay_s(now_s)
            if not waiting.is_validator:
                pause_s = max(pause_s, self._shared.delay_s(now_s))
            pauses.append(pause_s)
            if pause_s == 0:
                raws = waiting.batches.popleft()
                waiting.queued_bytes -= min(waiting.queued_bytes, _size(raws))
                waiting.has_room.set()
                waiting.bucket.take(len(raws), now_s)
                if not waiting.is_validator:
                    self._shared.take(len(raws), now_s)
                await self._hand_over(handle, peer, raws)
        return min(pauses, default=None)

    async def _hand_over(self, handle: Handle, peer: PeerId, raws: tuple[bytes, ...]) -> None:
        try:
            await handle(peer, raws)
        except Exception:  # noqa: BLE001 - a fault of this node's; the transactions of others must go on
            self._counts.add("transactions_failed", len(raws))
            _log.exception("transactions_failed", peer=peer)


def _size(raws: tuple[bytes, ...]) -> int:
    return sum(len(raw) + _RAW_OVERHEAD_BYTES for raw in raws)
