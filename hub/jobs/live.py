"""Progress and previews for who watches a job on this process: in memory, newest first to go, never waited for."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

_MOST_JOBS: Final = 4_096
_MOST_WAITING: Final = 16


@dataclass(frozen=True, slots=True)
class Glimpse:
    """How far a picture is; what is lost of these is not missed."""

    picture: int
    """Of the whole job."""
    step: int
    steps: int
    fraction: float
    preview: bytes | None

    def to_object(self) -> dict[str, Any]:
        """As JSON, without the preview."""
        return {"picture": self.picture, "step": self.step, "steps": self.steps, "fraction": round(self.fraction, 3)}


class LiveBoard:
    """On the event loop's thread."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, dict[int, Glimpse]] = OrderedDict()
        self._watching: defaultdict[str, set[asyncio.Queue[Glimpse]]] = defaultdict(set)

    def show(self, job_id: str, glimpse: Glimpse) -> None:
        """Tells all who watch; whoever is slow misses some."""
        glimpses = self._newest.setdefault(job_id, {})
        glimpses[glimpse.picture] = glimpse
        self._newest.move_to_end(job_id)
        if len(self._newest) > _MOST_JOBS:
            self._newest.popitem(last=False)
        for queue in self._watching.get(job_id, ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(glimpse)

    def forget(self, job_id: str) -> None:
        """The job has ended."""
        self._newest.pop(job_id, None)

    def is_watched(self, job_id: str) -> bool:
        """Whether previews would be seen by anybody here."""
        return job_id in self._watching

    @contextmanager
    def watch(self, job_id: str) -> Iterator[asyncio.Queue[Glimpse]]:
        """What is known now, and what comes."""
        queue: asyncio.Queue[Glimpse] = asyncio.Queue(_MOST_WAITING)
        for glimpse in list(self._newest.get(job_id, {}).values())[-_MOST_WAITING:]:
            queue.put_nowait(glimpse)
        self._watching[job_id].add(queue)
        try:
            yield queue
        finally:
            self._watching[job_id].discard(queue)
            if not self._watching[job_id]:
                del self._watching[job_id]
