"""What sessions ask of jobs and store, and what they bring: all of it durable when it returns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from chain.client import NodeError
from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.hub_messages import Outstanding
from chain.primitives.types import Address
from hub.jobs.elsewhere import declared_by
from hub.jobs.handing_out import HandingOut
from hub.jobs.live import Glimpse
from hub.jobs.places import DeskParts, Present
from hub.jobs.taking_in import TakingIn
from hub.reputation.rules import Outcome
from hub.store import events, leases, locks, outstanding, providers, receipts, sessions
from hub.store.leases import Lease
from hub.store.providers import Provider
from hub.store.store import now_ms
from hub.store.transaction import Transaction
from hub.workers.desk import Delivery, Grant, LeaseProgress, WorkerView

_EVENT_INTERVAL_S: Final = 1.0
"""How often at most a job's progress becomes an event that is kept."""
_MOST_TOLD: Final = 10_000
_BUSY: Final = frozenset({"busy"})
_LEAVING: Final = frozenset({"draining", "worker_gone"})
_PAUSE_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 30.0
"""How long a provider that is busy gets nothing, where it names no time, and at most."""


class Desk:
    """`hub.workers.desk.ShardDesk`. On the event loop's thread."""

    def __init__(
        self, parts: DeskParts, on_news: Callable[[str], None], on_joined: Callable[[WorkerView], None]
    ) -> None:
        """`on_news` gets the ids of jobs of which something was delivered or given back, `on_joined` who has come."""
        self._parts = parts
        self._on_news = on_news
        self._on_joined = on_joined
        self._present = Present()
        self._told_at_s: dict[str, float] = {}
        self._handing_out = HandingOut(parts, self._present)
        self._taking_in = TakingIn(parts, self._present, self.forget, on_news)

    @property
    def process(self) -> str:
        """The name of this process among those that share the database."""
        return self._parts.process

    async def assign(self, workers: Sequence[WorkerView]) -> Sequence[Grant]:
        """What the scheduler decides, once the rows are this hub's."""
        return await self._handing_out.assign(workers)

    # Coming and going

    async def open_grants(self, provider: Address) -> Sequence[Grant]:
        """Leases that it had when its connection ended, or when this hub was stopped."""
        return await self._handing_out.open_grants(provider)

    async def opened(self, view: WorkerView) -> None:
        """Its leases are this session's from here on."""
        parts, now = self._parts, now_ms()
        name = to_checksum_address(view.address)
        try:
            entry = await parts.chain.provider(view.address)
        except NodeError:
            entry = None  # It was asked a moment ago; what it declares counts until the chain answers again.
        if entry is not None:
            parts.roster.register(entry)
        self._present.views[view.address] = view
        declared = declared_by(view)

        def keep(transaction: Transaction) -> Provider:
            sessions.open_session(
                transaction, view.session_id, provider=name, process=parts.process, declared=declared, now_ms=now
            )
            for lease in leases.active(transaction, provider=name):
                leases.rehome(transaction, lease.lease_id, session=view.session_id, process=parts.process)
            receipts.deliver_again(transaction, name, now)
            return providers.change(
                transaction, name, lambda known: replace(known, declared=declared, last_seen_at_ms=now), now
            )

        await parts.store.write(keep)
        parts.roster.forget()
        self._on_joined(view)

    async def closed(self, session_id: str) -> None:
        """Its leases run on until they lapse: it may come back."""
        for address, view in list(self._present.views.items()):
            if view.session_id == session_id:
                del self._present.views[address]
                self._parts.roster.release_all(address)  # Its leases may come to their ends at another process.
        await self._parts.store.write(lambda t: sessions.close(t, session_id))

    # What they bring

    async def progress(self, lease_id: str, progress: LeaseProgress) -> None:
        """To who watches; once in a second it is written down as well."""
        known = self._present.pictures_of.get(lease_id)
        if known is None:
            return
        job_id, first, count = known
        picture = first + min(progress.picture, count - 1)
        glimpse = Glimpse(first, count, picture, progress.step, progress.steps, progress.fraction, progress.preview)
        self._parts.board.show(job_id, glimpse)
        if time.monotonic() < self._told_at_s.get(job_id, 0.0) + _EVENT_INTERVAL_S:
            return
        if len(self._told_at_s) > _MOST_TOLD:
            self._told_at_s.clear()
        self._told_at_s[job_id] = time.monotonic()
        now, data = now_ms(), glimpse.to_object()
        await self._parts.store.write(
            lambda t: events.append(t, job_id, "progress", data, now), first=locks.job(job_id)
        )

    async def delivered(self, delivery: Delivery) -> None:
        """Keeps a result; raises ResultRefused for what is not wanted or false."""
        await self._taking_in.delivered(delivery)

    async def is_taken(self, lease_id: str, provider: Address, receipt_hash: str) -> bool:
        """Whether this very result was taken already."""
        return await self._taking_in.is_taken(lease_id, provider, receipt_hash)

    async def outstanding(self, provider: Address, order_id: str) -> Outstanding:
        """From the rows, whichever process has written them."""
        name, now = to_checksum_address(provider), now_ms()
        counts = await self._parts.store.read(lambda r: outstanding.of_provider(r, name, now))
        return Outstanding(order_id=order_id, **counts)

    async def returned(
        self, lease_id: str, reason: str, detail: str, *, is_fault: bool, retry_after_s: float | None = None
    ) -> None:
        """The shard waits again. Whoever is busy or leaves is not tried again at once; whoever fails is not at all."""
        now = now_ms()
        is_busy = not is_fault and (reason in _BUSY or retry_after_s is not None)
        is_leaving = not is_fault and reason in _LEAVING

        def unit(transaction: Transaction) -> Lease | None:
            lease = leases.get(transaction, lease_id)
            if lease is None:
                return None
            ended = leases.fail(
                transaction,
                lease_id,
                outcome=reason,
                detail=detail[:500],
                excludes=not is_busy and not is_leaving,
                is_attempt=not is_busy and not is_leaving,
                now_ms=now,
            )
            if ended and not is_leaving:
                outcome = Outcome.DECLINED if is_busy else _outcome_of(reason, is_fault=is_fault)
                self._parts.checking.note_failure(transaction, lease, outcome, reason, now)
            return lease

        lease = await self._parts.store.write(unit)
        self.forget(lease_id)
        self._parts.metrics.leases.labels("lapsed" if reason == "lapsed" else "returned").inc()
        if lease is not None:
            if is_busy:
                pause_s = min(_LONGEST_PAUSE_S, retry_after_s or _PAUSE_S)
                self._parts.roster.hold(parse_address(lease.provider), time.monotonic() + pause_s)
            self._on_news(lease.job_id)

    def forget(self, lease_id: str) -> None:
        """Nobody has this lease any more."""
        self._parts.roster.release(lease_id)
        known = self._present.pictures_of.pop(lease_id, None)
        if known is not None:
            self._parts.board.forget(*known[:2])


def _outcome_of(reason: str, *, is_fault: bool) -> Outcome:
    """A session's faults are silence, and what breaks the protocol, which no honest provider does."""
    if not is_fault:
        return Outcome.FAILED
    return Outcome.TIMED_OUT if reason == "lapsed" else Outcome.LIED
