"""What a picture costs at a worker: by the picture, or by the time that it takes there."""

from typing import Final

from hub.scheduling.runs import Need
from hub.scheduling.workers import Worker

PER_PICTURE: Final = "images"
"""The unit type of which a picture is one; any other is time of computing, in seconds."""


def picture_units(worker: Worker, need: Need) -> float:
    """Units that it would meter for a picture, as expected."""
    return 1.0 if worker.offers[need.model].unit_type == PER_PICTURE else worker.picture_seconds(need)


def picture_cost(worker: Worker, need: Need) -> float:
    """Atoms, at what it asks; a float, for comparing only."""
    return worker.offers[need.model].price_per_unit * picture_units(worker, need)
