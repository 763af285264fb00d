"""Who may serve a run at all, and, where nobody may, why."""

from collections.abc import Iterable
from enum import StrEnum

from chain.primitives.types import Address
from hub.scheduling.runs import Need
from hub.scheduling.workers import Worker


class Obstacle(StrEnum):
    """Why nobody can serve a run, however long it waits: the demand that the last remaining workers failed at."""

    NO_WORKER = "no_worker"
    MODEL_NOT_OFFERED = "model_not_offered"
    UNIT_TYPE_DIFFERS = "unit_type_differs"
    PRICE_TOO_LOW = "price_too_low"
    TOO_LITTLE_VRAM = "too_little_vram"
    OTHER_PROFILE = "other_profile"
    ALL_PAUSED = "all_paused"
    ALL_EXCLUDED = "all_excluded"


_ORDER = tuple(Obstacle)


def is_eligible(worker: Worker, need: Need, excluded: frozenset[Address] = frozenset()) -> bool:
    """Whether it could serve such pictures, now or when it is free."""
    return worker_obstacle(worker, need, excluded) is None


def worker_obstacle(worker: Worker, need: Need, excluded: frozenset[Address] = frozenset()) -> Obstacle | None:
    """The first demand that this worker does not meet, in the order of the enumeration."""
    offer = worker.offers.get(need.model)
    if offer is None:
        return Obstacle.MODEL_NOT_OFFERED
    if need.unit_type is not None and offer.unit_type != need.unit_type:
        return Obstacle.UNIT_TYPE_DIFFERS
    if need.price_per_unit is not None and offer.price_per_unit > need.price_per_unit:
        return Obstacle.PRICE_TOO_LOW
    if worker.vram_mib < need.min_vram_mib:
        return Obstacle.TOO_LITTLE_VRAM
    if need.profile is not None and worker.profile != need.profile:
        return Obstacle.OTHER_PROFILE
    if worker.is_paused or worker.is_draining:
        return Obstacle.ALL_PAUSED
    if worker.address in excluded:
        return Obstacle.ALL_EXCLUDED
    return None


def obstacle(workers: Iterable[Worker], need: Need, excluded: frozenset[Address] = frozenset()) -> Obstacle | None:
    """Why nobody can serve it, None where somebody can: the obstacle of those who came nearest."""
    nearest = Obstacle.NO_WORKER
    for worker in workers:
        found = worker_obstacle(worker, need, excluded)
        if found is None:
            return None
        nearest = max(nearest, found, key=_ORDER.index)
    return nearest
