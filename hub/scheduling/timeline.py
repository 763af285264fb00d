"""Who would be free when, and when several workers who share some pictures would be done with the last of them."""

import heapq
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from chain.primitives.types import Address
from hub.scheduling.runs import Need
from hub.scheduling.workers import Worker

MOST_PLANNED_PICTURES: Final = 1_024
"""Of more pictures only so many are planned one by one; the rest in proportion."""


class Share(msgspec.Struct):
    """What one slot would get of some pictures."""

    worker: Worker
    begins_s: float
    """When it could compute, the model loaded."""
    picture_s: float
    is_free: bool
    """Whether nothing is under way there."""
    pictures: int = 0

    @property
    def ends_s(self) -> float:
        """When it would be done."""
        return self.begins_s + self.pictures * self.picture_s


def slot_times(worker: Worker, now_s: float) -> list[float]:
    """When each of its slots will be free, the free ones now; earliest first.

    What should have ended is expected to take as long again as it is overdue: the longer one has waited, the longer one
    will have to (Lindy's law), and nobody relies for minutes on a worker that is about to be done.
    """
    times = [now_s] * worker.free_slots
    times += [until if until > now_s else now_s + (now_s - until) for until in worker.busy_until_s]
    return sorted(times)


class Timeline:
    """Slots of a fleet, on which work is laid out. Only a picture of what would be: it binds nobody."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s
        self._slots: dict[Address, list[float]] = {}

    def first_free_s(self, worker: Worker) -> float:
        """When its next slot is free."""
        return self._slots_of(worker)[0]

    def occupy(self, worker: Worker, duration_s: float) -> None:
        """Its next free slot is taken for so long."""
        slots = self._slots_of(worker)
        heapq.heapreplace(slots, slots[0] + duration_s)

    def shares(self, workers: Iterable[Worker], need: Need) -> list[Share]:
        """One for each slot of these workers, with no pictures yet."""
        return [
            Share(worker, free_s + worker.load_seconds(need), worker.picture_seconds(need), free_s <= self.now_s)
            for worker in workers
            for free_s in self._slots_of(worker)
        ]

    def pour(self, workers: Sequence[Worker], need: Need, pictures: float) -> float:
        """Lays out work that will be done before; all these workers are then busy until the time that it returns."""
        ends_s = common_end(self.shares(workers, need), pictures)
        for worker in workers:
            latest_start_s = ends_s - worker.load_seconds(need)
            slots = self._slots_of(worker)
            slots[:] = sorted(ends_s if free_s < latest_start_s else free_s for free_s in slots)
        return ends_s

    def _slots_of(self, worker: Worker) -> list[float]:
        slots = self._slots.get(worker.address)
        if slots is None:
            slots = self._slots[worker.address] = slot_times(worker, self.now_s)
        return slots


def common_end(shares: Sequence[Share], pictures: float) -> float:
    """When all would be done if pictures were infinitely divisible: everybody ends together, the late do not begin."""
    ordered = sorted(shares, key=lambda share: share.begins_s)
    speed = done_at_speed = 0.0
    ends_s = ordered[0].begins_s
    for place, share in enumerate(ordered):
        speed += 1 / share.picture_s
        done_at_speed += share.begins_s / share.picture_s
        ends_s = (pictures + done_at_speed) / speed
        if place + 1 == len(ordered) or ends_s <= ordered[place + 1].begins_s:
            break
    return ends_s


def lay_out(shares: Sequence[Share], pictures: int) -> float:
    """Gives out whole pictures one by one, each to who would be done with it first, and returns when the last is done.

    With known speeds and equal pictures no other way ends sooner: each picture takes the earliest end that is left.
    """
    # All but the last thousand in proportion, rounded down, so that nobody is beyond the common end.
    if pictures > MOST_PLANNED_PICTURES:
        ends_s = common_end(shares, pictures - MOST_PLANNED_PICTURES)
        for share in shares:
            share.pictures = max(0, int((ends_s - share.begins_s) / share.picture_s))
    queue = [(share.ends_s + share.picture_s, place) for place, share in enumerate(shares)]
    heapq.heapify(queue)
    for _ in range(pictures - sum(share.pictures for share in shares)):
        ends_s, place = queue[0]
        shares[place].pictures += 1
        heapq.heapreplace(queue, (ends_s + shares[place].picture_s, place))
    return max(share.ends_s for share in shares if share.pictures)
