"""Loading, or waiting for who has loaded."""

from hub.scheduling.timeline import Timeline
from hub.scheduling.warmth import warm_ones, worth_waiting_for
from tests.hub.scheduling.machines import need
from tests.hub.scheduling.workers_of import worker

COLD = worker(1, loaded=frozenset(), load_s=10.0)


def test_warm_ones() -> None:
    assert warm_ones([COLD, worker(2)], need()) == [worker(2)]


def test_waits_while_a_warm_one_is_free_sooner_than_a_load_takes() -> None:
    soon, late = worker(2, busy_until_s=(9.9,)), worker(3, busy_until_s=(10.0,))
    assert worth_waiting_for([COLD], [COLD, soon], need(), Timeline(0.0)) == soon
    assert worth_waiting_for([COLD], [COLD, late], need(), Timeline(0.0)) is None
    assert worth_waiting_for([COLD], [COLD], need(), Timeline(0.0)) is None


def test_does_not_wait_for_a_doubted_one() -> None:
    assert worth_waiting_for([COLD], [worker(2, reputation=0.1)], need(), Timeline(0.0)) is None


def test_does_not_wait_for_a_slot_that_others_wait_for() -> None:
    timeline, soon = Timeline(0.0), worker(2, busy_until_s=(4.0,))
    waiting = 0
    while worth_waiting_for([COLD], [soon], need(), timeline) is not None:
        timeline.occupy(soon, 2.0)
        waiting += 1
    assert waiting == 3
