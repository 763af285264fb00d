"""Progress and previews for who watches a job on this process: in memory, newest first to go, never waited for."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

_MOST_KEPT: Final = 1_024
_MOST_WAITING: Final = 16


@dataclass(frozen=True, slots=True)
class Glimpse:
    """How far one provider is with its pictures of a job; what is lost of these is not missed."""

    first_picture: int
    picture_count: int
    picture: int
    """Of the whole job: the one that the preview shows."""
    step: int
    steps: int
    fraction: float
    """Of all these pictures."""
    preview: bytes | None

    def to_object(self) -> dict[str, Any]:
        """As JSON, without the preview."""
        return {
            "first_picture": self.first_picture,
            "picture_count": self.picture_count,
            "picture": self.picture,
            "step": self.step,
            "steps": self.steps,
            "fraction": round(self.fraction, 3),
        }


class LiveBoard:
    """On the event loop's thread."""

    def __init__(self) -> None:
        self._newest: OrderedDict[tuple[str, int], Glimpse] = OrderedDict()
        """By job and first picture: who begins to watch sees where it stands."""
        self._watching: defaultdict[str, set[asyncio.Queue[Glimpse]]] = defaultdict(set)

    def show(self, job_id: str, glimpse: Glimpse) -> None:
        """Tells all who watch; whoever is slow misses some."""
        place = (job_id, glimpse.first_picture)
        self._newest[place] = glimpse
        self._newest.move_to_end(place)
        if len(self._newest) > _MOST_KEPT:
            self._newest.popitem(last=False)
        for queue in self._watching.get(job_id, ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(glimpse)

    def forget(self, job_id: str, first_picture: int) -> None:
        """These pictures are there, or nobody works on them."""
        self._newest.pop((job_id, first_picture), None)

    @contextmanager
    def watch(self, job_id: str) -> Iterator[asyncio.Queue[Glimpse]]:
        """What is known now, and what comes."""
        queue: asyncio.Queue[Glimpse] = asyncio.Queue(_MOST_WAITING)
        known = [glimpse for (job, _), glimpse in self._newest.items() if job == job_id]
        for glimpse in known[-_MOST_WAITING:]:
            queue.put_nowait(glimpse)
        self._watching[job_id].add(queue)
        try:
            yield queue
        finally:
            self._watching[job_id].discard(queue)
            if not self._watching[job_id]:
                del self._watching[job_id]
