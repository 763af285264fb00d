"""A run's place in the queue: fair between clients, with priorities as a head start, so that nobody starves.

Start-time fair queueing, after Goyal, Vin and Cheng (1996): each client has a virtual time of its own, which its
pictures push on by what they cost the fleet. A picture's place is where its client's time stands, but never before the
place that is being served now, so nobody saves up by staying away. Clients with something waiting get equal shares.

A priority is a head start, in seconds of that virtual time. It is subtracted once, when the job comes in; so two runs
never change their order while they wait, the place is a column in the database, and whatever comes later than the head
start cannot overtake: that is what ageing is for, without ageing anything.
"""

from collections import OrderedDict
from typing import Final

import msgspec

from hub.scheduling.runs import PRIORITIES, Run

HEAD_START_S: Final = 10.0
"""Of one level. The lowest is overtaken by at most 90 seconds of each client's work of the highest."""
_MOST_CLIENTS: Final = 10_000
"""Whose virtual time is remembered; of those that were forgotten, it is as if they had been away."""


class Rank(msgspec.Struct, frozen=True):
    """A new job's place."""

    rank_s: float
    """Of its first picture."""
    rank_step_s: float
    """Each later picture is so much behind the one before."""
    finish_s: float
    """Where the client's virtual time stands after it."""


class FairClock:
    """The virtual times of all clients. While nothing waits they stand at the caller's clock, which processes share."""

    def __init__(self) -> None:
        self._virtual_s = 0.0
        self._is_waiting = False
        self._finishes: OrderedDict[str, float] = OrderedDict()

    def admit(
        self,
        client: str,
        *,
        priority: int,
        pictures: int,
        fleet_s: float,
        now_s: float,
        last_finish_s: float | None = None,
    ) -> Rank:
        """The place of a new job that would take the whole fleet `fleet_s` seconds.

        `last_finish_s` is the largest `finish_s` of the client's unfinished jobs, where other processes admit some too.
        """
        assert priority in PRIORITIES
        assert pictures > 0
        if not self._is_waiting:
            self._virtual_s = max(self._virtual_s, now_s)
        start_s = self._start_s(client, now_s, last_finish_s)
        finish_s = start_s + max(0.0, fleet_s)
        self._finishes[client] = finish_s
        self._finishes.move_to_end(client)
        if len(self._finishes) > _MOST_CLIENTS:
            self._finishes.popitem(last=False)
        return Rank(start_s - priority * HEAD_START_S, max(0.0, fleet_s) / pictures, finish_s)

    def take_back(self, client: str, fleet_s: float) -> None:
        """A job that was admitted was not taken after all: its client shall not stand back for it."""
        finish_s = self._finishes.get(client)
        if finish_s is None:
            return
        finish_s -= max(0.0, fleet_s)
        if finish_s > self._virtual_s:
            self._finishes[client] = finish_s
        else:
            del self._finishes[client]

    def rank_if_admitted_s(
        self, client: str, *, priority: int, now_s: float, last_finish_s: float | None = None
    ) -> float:
        """Which place a job would get now: for estimates, nothing is changed."""
        assert priority in PRIORITIES
        return self._start_s(client, now_s, last_finish_s) - priority * HEAD_START_S

    def _start_s(self, client: str, now_s: float, last_finish_s: float | None) -> float:
        virtual_s = self._virtual_s if self._is_waiting else max(self._virtual_s, now_s)
        return max(virtual_s, self._finishes.get(client, 0.0), last_finish_s or 0.0)

    def note_served(self, run: Run) -> None:
        """The run's first pictures have been given to a worker."""
        self._virtual_s = max(self._virtual_s, run.rank_s + run.priority * HEAD_START_S)

    def note_waiting(self, is_waiting: bool) -> None:
        """Whether anything waits, as far as the caller has looked. Where nothing does, all clients are even.

        So nobody stands back for jobs that were cancelled, or that took less than was expected.
        """
        self._is_waiting = is_waiting
        if not is_waiting:
            self._finishes.clear()
