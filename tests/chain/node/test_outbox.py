"""Nothing leaves before the votes that it follows are on the disk, and nothing overtakes."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from chain.consensus.effects import Record
from chain.node.outbox import MAX_GROUP_RECORDS, Outbox
from chain.primitives.hashing import keccak256
from chain.storage.errors import StorageError
from chain.storage.journal import VoteJournal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GENESIS_HASH = keccak256(b"genesis")


def record(view: int, *, is_vote: bool = True) -> Record:
    return Record(0, view, b"record %d" % view, is_vote)


class Desk:
    """An outbox over a real journal, and what has been let out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = VoteJournal.open(path, genesis_hash=GENESIS_HASH, journal_id=None)
        self.registry = CollectorRegistry()
        self.sync_seconds = Histogram("sync_seconds", "", registry=self.registry)
        self.votes = Counter("votes", "", registry=self.registry)
        self.sent: list[object] = []
        self.errors: list[Exception] = []

    def outbox(self, *, has_journal: bool = True) -> Outbox:
        return Outbox(
            self.journal if has_journal else None,
            on_error=self.errors.append,
            sync_seconds=self.sync_seconds,
            votes=self.votes,
        )

    def send(self, what: object) -> None:
        self.sent.append(what)

    def recorded(self) -> tuple[bytes, ...]:
        """What a restart would find."""
        self.journal.close()
        with_id = self.journal.journal_id
        self.journal = VoteJournal.open(self.path, genesis_hash=GENESIS_HASH, journal_id=with_id)
        return self.journal.records

    def append_count(self) -> int:
        """How often something was appended."""
        value = self.registry.get_sample_value("sync_seconds_count")
        assert value is not None
        return int(value)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "votes.journal")
    yield desk
    desk.journal.close()


def test_vote_is_in_the_journal_before_it_is_sent(desk: Desk) -> None:
    async def run() -> None:
        outbox = desk.outbox()
        outbox.put((record(1),), partial(desk.send, "vote"))
        assert desk.sent == []
        await outbox.close()

    asyncio.run(run())
    assert desk.sent == ["vote"]
    assert desk.recorded() == (b"record 1",)
    assert desk.errors == []


def test_nothing_overtakes_what_waits_for_the_disk(desk: Desk) -> None:
    async def run() -> None:
        outbox = desk.outbox()
        outbox.put((), partial(desk.send, 0))
        assert desk.sent == [0]  # Nothing waits: at once.
        outbox.put((record(1),), partial(desk.send, 1))
        outbox.put((), partial(desk.send, 2))
        outbox.put((record(2, is_vote=False),), partial(desk.send, 3))
        outbox.put((), partial(desk.send, 4))
        assert desk.sent == [0]
        await outbox.close()

    asyncio.run(run())
    assert desk.sent == [0, 1, 2, 3, 4]


def test_nothing_waits_for_a_record_without_a_vote(desk: Desk) -> None:
    async def run() -> None:
        outbox = desk.outbox()
        outbox.put((record(1, is_vote=False),), partial(desk.send, "certificate"))
        assert desk.sent == ["certificate"]
        outbox.put((record(2),), partial(desk.send, "vote"))
        outbox.put((record(3, is_vote=False),), partial(desk.send, "certificate with the vote"))
        assert desk.sent == ["certificate"]
        await outbox.close()
        outbox.put((), partial(desk.send, "later"))

    asyncio.run(run())
    assert desk.sent == ["certificate", "vote", "certificate with the vote", "later"]
    assert desk.recorded() == (b"record 1", b"record 2", b"record 3")


def test_what_comes_during_a_sync_shares_the_next_one(desk: Desk) -> None:
    async def run() -> None:
        outbox = desk.outbox()
        for view in range(1, 101):
            outbox.put((record(view),), partial(desk.send, view))
        await outbox.close()

    asyncio.run(run())
    assert desk.sent == list(range(1, 101))
    assert desk.append_count() <= 2
    assert len(desk.recorded()) == 100
    assert desk.registry.get_sample_value("votes_total") == 100


def test_group_is_bounded(desk: Desk) -> None:
    async def run() -> None:
        outbox = desk.outbox()
        for view in range(MAX_GROUP_RECORDS + 2):
            outbox.put((record(view, is_vote=False),), partial(desk.send, view))
        await outbox.close()

    asyncio.run(run())
    assert desk.append_count() == 2
    assert desk.sent == list(range(MAX_GROUP_RECORDS + 2))


def test_what_follows_may_put_in_more(desk: Desk) -> None:
    async def run() -> None:
        outbox = desk.outbox()
        outbox.put((record(1),), lambda: outbox.put((record(2),), partial(desk.send, 2)))
        outbox.put((), partial(desk.send, 1))
        await outbox.close()

    asyncio.run(run())
    assert desk.sent == [1, 2]


def test_after_a_journal_that_fails_nothing_is_sent_any_more(desk: Desk) -> None:
    async def run() -> None:
        outbox = desk.outbox()
        desk.journal.close()
        outbox.put((record(1),), partial(desk.send, "vote"))
        outbox.put((), partial(desk.send, "after it"))
        await outbox.close()
        outbox.put((), partial(desk.send, "much later"))
        outbox.put((record(2),), partial(desk.send, "a vote later"))

    asyncio.run(run())
    assert desk.sent == []
    (error,) = desk.errors
    assert isinstance(error, StorageError)


def test_prune_takes_its_turn(desk: Desk) -> None:
    async def run() -> None:
        outbox = desk.outbox()
        outbox.put((record(1), record(2)), partial(desk.send, "votes"))
        outbox.prune(0, 1)
        outbox.put((record(3),), partial(desk.send, "another"))
        await outbox.close()

    asyncio.run(run())
    assert desk.recorded() == (b"record 2", b"record 3")
    assert desk.sent == ["votes", "another"]


def test_who_has_no_key_waits_for_nothing(desk: Desk) -> None:
    async def run() -> None:
        outbox = desk.outbox(has_journal=False)
        outbox.put((record(1, is_vote=False),), partial(desk.send, 1))
        outbox.prune(0, 1)
        assert desk.sent == [1]
        await outbox.close()

    asyncio.run(run())
    assert desk.append_count() == 0
