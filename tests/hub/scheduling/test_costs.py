"""What a picture costs."""

import pytest

from hub.scheduling.costs import picture_cost, picture_units
from tests.hub.scheduling.machines import need
from tests.hub.scheduling.workers_of import worker


def test_by_the_picture_or_by_its_time() -> None:
    by_picture = worker(1, picture_s=3.0, price=10)
    by_time = worker(1, picture_s=3.0, price=10, unit_type="gpu_seconds")
    assert (picture_units(by_picture, need()), picture_cost(by_picture, need())) == (1.0, 10.0)
    assert (picture_units(by_time, need()), picture_cost(by_time, need())) == pytest.approx((3, 30))
