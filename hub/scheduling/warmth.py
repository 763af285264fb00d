"""Warm-model routing: to who has the model loaded; and whether to load it elsewhere or to wait."""

from collections.abc import Iterable, Sequence

from hub.scheduling.runs import Need
from hub.scheduling.timeline import Timeline
from hub.scheduling.workers import Worker


def warm_ones(free: Sequence[Worker], need: Need) -> list[Worker]:
    """Those who can compute at once."""
    return [worker for worker in free if need.model in worker.loaded]


def worth_waiting_for(
    cold: Sequence[Worker], eligible: Iterable[Worker], need: Need, timeline: Timeline
) -> Worker | None:
    """The busy worker with the model loaded that will be free before any of the cold ones has loaded it; None: load.

    The caller occupies it on the timeline, so that a second run does not wait for the same slot; so a long queue for a
    model makes another worker load it.
    """
    warm = [worker for worker in eligible if worker.is_warm(need) and not worker.is_doubted]
    if not warm:
        return None
    soonest = min(warm, key=lambda worker: (timeline.first_free_s(worker), worker.address))
    shortest_load_s = min(worker.load_s for worker in cold)
    return soonest if timeline.first_free_s(soonest) - timeline.now_s < shortest_load_s else None
