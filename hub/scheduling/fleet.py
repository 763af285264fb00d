"""The workers of one pass: who may serve a run, and who of them has a slot left."""

from collections.abc import Iterable

from hub.scheduling.filters import is_eligible
from hub.scheduling.runs import Need, Run
from hub.scheduling.timeline import Timeline
from hub.scheduling.workers import Worker


class Fleet:
    """Counts slots down as they are given. What equal needs have found is remembered, as most jobs' needs are alike."""

    def __init__(self, workers: Iterable[Worker], now_s: float) -> None:
        self.now_s = now_s
        self._workers = tuple(workers)
        self.timeline = Timeline(now_s)
        self._slots = {worker.address: worker.free_slots for worker in self._workers if worker.free_slots}
        self._eligible: dict[Need, list[Worker]] = {}
        self._free: dict[Need, list[Worker]] = {}

    @property
    def has_free_slots(self) -> bool:
        """Whether anybody could be given anything."""
        return bool(self._slots)

    def has_slot(self, worker: Worker) -> bool:
        """Whether this one could."""
        return worker.address in self._slots

    def take_slot(self, worker: Worker, duration_s: float) -> None:
        """It is given a shard that will take so long."""
        self.timeline.occupy(worker, duration_s)
        self._slots[worker.address] -= 1
        if self._slots[worker.address] == 0:
            del self._slots[worker.address]

    def eligible(self, run: Run) -> list[Worker]:
        """All who may serve it, busy ones too."""
        found = self._eligible.get(run.need)
        if found is None:
            found = self._eligible[run.need] = [worker for worker in self._workers if is_eligible(worker, run.need)]
        return _without_excluded(found, run)

    def free(self, run: Run) -> list[Worker]:
        """Those of them with a slot left."""
        found = self._free.get(run.need)
        if found is None:
            found = [worker for worker in self._workers if self.has_slot(worker) and is_eligible(worker, run.need)]
        else:
            found = [worker for worker in found if self.has_slot(worker)]
        self._free[run.need] = found
        return _without_excluded(found, run)


def _without_excluded(workers: list[Worker], run: Run) -> list[Worker]:
    return [worker for worker in workers if worker.address not in run.excluded] if run.excluded else workers
