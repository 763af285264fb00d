"""Short ways to say a worker and a run."""

from typing import Any

from chain.primitives.types import Address
from hub.scheduling.runs import Run
from hub.scheduling.work import SizeClass
from hub.scheduling.workers import Offer, Standing, Worker
from tests.hub.scheduling.machines import MODEL, REFERENCE_WORK, need


def address(number: int) -> Address:
    """Of the worker with this number."""
    return Address(number.to_bytes(20, "big"))


def worker(number: int, *, picture_s: float = 1.0, price: int = 10, unit_type: str = "images", **fields: Any) -> Worker:
    """Regular, idle, with the model loaded."""
    known: dict[str, Any] = {
        "address": address(number),
        "offers": {MODEL: Offer(price, unit_type)},
        "loaded": frozenset((MODEL,)),
        "vram_mib": 8_192,
        "speeds": {(MODEL, SizeClass.MEDIUM): REFERENCE_WORK / picture_s},
        "standing": Standing.NORMAL,
    }
    return Worker(**(known | fields))


def run(job: str = "job", count: int = 1, **fields: Any) -> Run:
    """Waiting from the start, at place 0."""
    known: dict[str, Any] = {
        "job_id": job,
        "client": "client",
        "need": need(),
        "first": 0,
        "count": count,
        "rank_s": 0.0,
        "rank_step_s": 0.0,
    }
    return Run(**(known | fields))
