"""Records to the vote journal, and what must not happen before they are on the disk.

One thread appends and syncs; while it does, whatever comes in queues up behind, and shares the next sync. Things happen
in the order that they were put in, so a message never overtakes one that waits for a vote. Records without a vote are
appended in their turn, but nothing waits for them: they are not synced, so nothing may depend on them anyway.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from prometheus_client import Counter, Histogram

from chain.consensus.effects import Record
from chain.storage.journal import VoteJournal

MAX_GROUP_RECORDS: Final = 512
"""Records that share one sync: a burst must not make one write of unbounded size."""


class _Entry(msgspec.Struct, frozen=True):
    records: tuple[Record, ...]
    prune: tuple[int, int] | None
    then: Callable[[], None] | None
    """None where nothing waits for it."""


class Outbox:
    """See the module. Everything but the journal's own work runs on the event loop."""

    def __init__(
        self,
        journal: VoteJournal | None,
        *,
        on_error: Callable[[Exception], None],
        sync_seconds: Histogram,
        votes: Counter,
    ) -> None:
        """Without a journal, as for one who has no key to vote with, nothing is recorded and nothing waits."""
        self._journal = journal
        self._on_error = on_error
        self._sync_seconds = sync_seconds
        self._votes = votes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._queue: deque[_Entry] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._held = 0
        """How many entries of the queue, or of the group in hand, something waits for."""
        self._is_dead = False

    def put(self, records: tuple[Record, ...], then: Callable[[], None]) -> None:
        """Appends these records, and calls `then` once all votes among them and before them are synced.

        At once where there is none to wait for.
        """
        if self._is_dead:
            return
        has_vote = any(record.is_vote for record in records)
        if self._journal is None:
            assert not has_vote, "who votes has a journal"
            then()
        elif has_vote or self._held:
            self._held += 1
            self._add(_Entry(records, None, then))
        else:
            if records:
                self._add(_Entry(records, None, None))
            then()

    def prune(self, epoch: int, view: int) -> None:
        """Forgets, in its turn, the records of this view and those before it, and of epochs before this one."""
        if self._journal is not None:
            self._add(_Entry((), (epoch, view), None))

    async def close(self) -> None:
        """Waits until everything that was put in has been done."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        self._thread.shutdown()

    def _add(self, entry: _Entry) -> None:
        self._queue.append(entry)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        try:
            while self._queue:
                await self._flush_group(self._next_group())
        except Exception as error:  # noqa: BLE001 - after a failed write nothing may be sent any more
            self._is_dead = True
            self._queue.clear()
            self._on_error(error)
        finally:
            self._flushing = None

    def _next_group(self) -> list[_Entry]:
        """Takes out what shares the next sync."""
        group = [self._queue.popleft()]
        count = len(group[0].records)
        while self._queue and count + len(self._queue[0].records) <= MAX_GROUP_RECORDS:
            group.append(self._queue.popleft())
            count += len(group[-1].records)
        return group

    async def _flush_group(self, group: list[_Entry]) -> None:
        records = [record for entry in group for record in entry.records]
        prunes = [entry.prune for entry in group if entry.prune is not None]
        if records or prunes:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, records, prunes)
        for entry in group:
            if entry.then is not None:
                entry.then()
                self._held -= 1

    def _write(self, records: list[Record], prunes: list[tuple[int, int]]) -> None:
        assert self._journal is not None
        if records:
            vote_count = sum(record.is_vote for record in records)
            with self._sync_seconds.time():
                self._journal.append(records, sync=vote_count > 0)
            self._votes.inc(vote_count)
        if prunes:
            self._journal.prune(*max(prunes))
