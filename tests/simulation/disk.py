"""A journal as a disk keeps it: what was synced stays, what was only written is lost wholly or partly in a crash."""

from collections.abc import Sequence
from random import Random

from chain.consensus.effects import Record


class SimulatedJournal:
    """Survives the crashes of its node."""

    def __init__(self) -> None:
        self.is_new = True
        self.synced: list[Record] = []
        self.written: list[Record] = []
        """After the synced ones; the next sync makes them stay."""

    def append(self, records: Sequence[Record]) -> None:
        """Into the page cache."""
        self.written += records

    def sync(self) -> None:
        """fdatasync."""
        if any(record.is_vote for record in self.written):
            self.is_new = False
        self.synced += self.written
        self.written.clear()

    def tear(self, random: Random) -> None:
        """A crash: some of the written records have reached the disk, in order; a torn one is truncated away."""
        survivors = random.randrange(len(self.written) + 1) if self.written else 0
        del self.written[survivors:]

    def prune(self, epoch: int, view: int) -> None:
        """Written anew, synced, and put in place of the old one."""
        self.sync()
        self.synced = [record for record in self.synced if (record.epoch, record.view) > (epoch, view)]

    def lose(self) -> None:
        """The file is gone."""
        self.is_new, self.synced, self.written = True, [], []

    def recovered(self) -> tuple[bytes, ...]:
        """What a start finds."""
        return tuple(record.encoded for record in self.synced)
