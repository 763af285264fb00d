"""Places in the queue: start-time fair queueing with head starts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.scheduling.fairness import HEAD_START_S, FairClock, Rank
from hub.scheduling.runs import DEFAULT_PRIORITY, PRIORITIES
from tests.hub.scheduling.workers_of import run


def admit(clock: FairClock, client: str, now_s: float, fleet_s: float = 1.0, **fields: int) -> Rank:
    asked = {"priority": DEFAULT_PRIORITY, "pictures": 1} | fields
    return clock.admit(client, fleet_s=fleet_s, now_s=now_s, **asked)


def test_while_nothing_waits_places_are_the_times_of_coming() -> None:
    clock = FairClock()
    assert admit(clock, "a", 100.0).finish_s == 101.0
    assert admit(clock, "b", 100.5).finish_s == 101.5
    assert admit(clock, "a", 200.0).finish_s == 201.0


def test_a_client_s_jobs_stand_behind_each_other_and_another_s_between_them() -> None:
    clock = FairClock()
    a = [admit(clock, "a", 0.0).rank_s for _ in range(3)]
    b = [admit(clock, "b", 0.5).rank_s for _ in range(3)]
    assert sorted(a + b) == [a[0], b[0], a[1], b[1], a[2], b[2]]


def test_pictures_of_a_job_stand_behind_each_other() -> None:
    rank = admit(FairClock(), "a", 0.0, fleet_s=12.0, pictures=4)
    assert rank.rank_step_s == 3.0
    assert rank.finish_s == 12.0


def test_who_was_away_begins_where_the_others_are() -> None:
    clock = FairClock()
    clock.note_waiting(True)
    ranks = [admit(clock, "a", 0.0) for _ in range(100)]
    clock.note_served(run(rank_s=ranks[49].rank_s))
    came = admit(clock, "b", 1_000.0)
    assert ranks[49].rank_s <= came.rank_s <= ranks[50].rank_s


def test_a_head_start_is_worth_its_seconds_and_no_more() -> None:
    clock = FairClock()
    clock.note_waiting(True)
    low = admit(clock, "a", 0.0, priority=0)
    assert admit(clock, "b", 0.0, priority=9).rank_s == low.rank_s - 9 * HEAD_START_S
    behind = [admit(clock, "b", 0.0, priority=9, fleet_s=10.0) for _ in range(20)]
    assert sum(rank.rank_s < low.rank_s for rank in behind) == 9


def test_a_job_that_was_not_taken_leaves_its_client_where_it_was() -> None:
    clock = FairClock()
    clock.note_waiting(True)
    first = admit(clock, "a", 0.0)
    for _ in range(100):
        admit(clock, "a", 0.0, fleet_s=10.0)
        clock.take_back("a", 10.0)
        admit(clock, "b", 0.0, fleet_s=10.0)
        clock.take_back("b", 10.0)
    assert admit(clock, "a", 0.0).rank_s == pytest.approx(first.rank_s + 1.0)
    assert admit(clock, "b", 0.0).rank_s == first.rank_s
    clock.note_waiting(False)
    clock.take_back("a", 10.0)  # Forgotten meanwhile, which is as good.
    clock.note_waiting(True)
    assert admit(clock, "a", 5.0).rank_s == admit(clock, "c", 5.0).rank_s


def test_an_open_job_known_to_another_process_counts() -> None:
    clock = FairClock()
    assert clock.admit("a", priority=5, pictures=1, fleet_s=1.0, now_s=10.0, last_finish_s=40.0).finish_s == 41.0


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(PRIORITIES), st.floats(0, 100), st.floats(0, 10)),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_comes_nobody_is_overtaken_by_more_than_the_head_start(
    jobs: list[tuple[str, int, float, float]],
) -> None:
    """While the first job waits, each other client gets at most its head start, and one job, of work before it."""
    clock = FairClock()
    clock.note_waiting(True)
    first = clock.admit("first", priority=0, pictures=1, fleet_s=1.0, now_s=0.0)
    before: dict[str, float] = dict.fromkeys("abc", 0.0)
    longest: dict[str, float] = dict.fromkeys("abc", 0.0)
    now_s = 0.0
    for client, priority, fleet_s, pause_s in jobs:
        now_s += pause_s
        rank = clock.admit(client, priority=priority, pictures=1, fleet_s=fleet_s, now_s=now_s)
        if rank.rank_s < first.rank_s:
            before[client] += fleet_s
            longest[client] = max(longest[client], fleet_s)
            clock.note_served(run(rank_s=rank.rank_s, priority=priority))
    for client, work_s in before.items():
        assert work_s <= 9 * HEAD_START_S + longest[client] + 1e-6


def test_nobody_stands_back_for_jobs_that_were_cancelled() -> None:
    clock = FairClock()
    clock.note_waiting(True)
    for _ in range(1_000):
        admit(clock, "a", 0.0)
    clock.note_waiting(False)
    assert admit(clock, "a", 10.0).rank_s == admit(clock, "b", 10.0).rank_s


@pytest.mark.parametrize("is_waiting", [False, True])
def test_the_place_is_known_before_a_job_is_admitted(is_waiting: bool) -> None:
    clock = FairClock()
    clock.note_waiting(is_waiting)
    for _ in range(3):
        told = [clock.rank_if_admitted_s(client, priority=7, now_s=50.0) for client in "aab"]
        assert admit(clock, "a", 50.0, priority=7).rank_s == told[0] == told[1]
        assert told[2] <= told[1]


def test_memory_is_bounded() -> None:
    clock = FairClock()
    for number in range(12_000):
        admit(clock, str(number), 0.0)
    assert len(clock._finishes) == 10_000
