"""One pass: order, slots, cutting, deadlines."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.scheduling.assignment import Scheduler, SchedulingOptions
from hub.scheduling.fairness import FairClock
from hub.scheduling.filters import is_eligible
from hub.scheduling.policies.policy import Policy
from hub.scheduling.runs import Run
from hub.scheduling.workers import Standing, Worker
from tests.hub.scheduling.machines import need
from tests.hub.scheduling.workers_of import address, run, worker


def scheduler(**options: object) -> Scheduler:
    return Scheduler(SchedulingOptions(**options), FairClock())  # type: ignore[arg-type]


def test_nothing_comes_of_nothing() -> None:
    assert scheduler().assign([], [run()], 0.0) == []
    assert scheduler().assign([worker(1)], [], 0.0) == []


def test_best_place_first_whatever_the_order_of_the_list() -> None:
    runs = [run(str(number), rank_s=float(number)) for number in range(5)]
    random.Random(1).shuffle(runs)
    made = scheduler().assign([worker(1), worker(2)], runs, 0.0)
    assert [assignment.run.job_id for assignment in made] == ["0", "1"]


def test_as_many_as_there_are_slots() -> None:
    fleet = [worker(1, concurrency=3, busy_until_s=(9.0,)), worker(2, busy_until_s=(9.0,))]
    made = scheduler().assign(fleet, [run(str(number)) for number in range(5)], 0.0)
    assert [assignment.worker for assignment in made] == [address(1), address(1)]


def test_a_run_that_nobody_may_serve_does_not_hold_up_others() -> None:
    made = scheduler().assign([worker(1)], [run("stuck", need=need(model="none")), run("b", rank_s=1.0)], 0.0)
    assert [assignment.run.job_id for assignment in made] == ["b"]


def test_expectations_stand_in_the_assignment() -> None:
    (made,) = scheduler().assign([worker(1, picture_s=3.0, loaded=frozenset(), load_s=7.0)], [run()], 0.0)
    assert made.expected_s == pytest.approx(10.0)
    assert made.lease_s == pytest.approx(40.0)
    assert not made.is_warm


def test_a_large_job_is_cut_for_everybody_in_consecutive_parts() -> None:
    fleet = [worker(1, picture_s=1.0), worker(2, picture_s=2.0), worker(3, picture_s=4.0)]
    made = scheduler().assign(fleet, [run(count=28)], 0.0)
    # Their shares are 16, 8 and 4; of each, two fifths.
    assert [(part.worker, part.run.first, part.count) for part in made] == [
        (address(1), 0, 7),
        (address(2), 7, 4),
        (address(3), 11, 2),
    ]


def test_every_slot_of_a_worker_gets_a_part() -> None:
    made = scheduler().assign([worker(1, concurrency=4)], [run(count=16)], 0.0)
    assert Counter(part.worker for part in made) == {address(1): 4}


def test_a_slow_worker_gets_nothing_that_others_will_sooner_be_done_with() -> None:
    fast, slow = worker(1, busy_until_s=(0.5,)), worker(2, picture_s=5.0)
    assert scheduler().assign([fast, slow], [run(first=63, count=1)], 0.0) == []
    # A job of its own waits for nobody.
    assert len(scheduler().assign([fast, slow], [run()], 0.0)) == 1
    # Nor does the last part, once the fast one is long overdue.
    assert len(scheduler().assign([fast, slow], [run(first=63, count=1)], 10.0)) == 1


def test_two_large_jobs_do_not_count_on_the_same_workers() -> None:
    fast, slow = worker(1, picture_s=1.0, busy_until_s=(1.0,)), worker(2, picture_s=4.0)
    runs = [run("a", first=1, count=3, rank_s=0.0), run("b", first=1, count=1, rank_s=1.0)]
    made = scheduler().assign([fast, slow], runs, 0.0)
    # The first leaves the slow one alone, because the fast one will be done with all three; then it is the second's.
    assert [part.run.job_id for part in made] == ["b"]


def test_parts_of_two_clients_take_turns() -> None:
    runs = [run("a", 8, rank_s=0.0, rank_step_s=1.0), run("b", 8, rank_s=0.5, rank_step_s=1.0, client="other")]
    made = scheduler().assign([worker(number) for number in range(1, 5)], runs, 0.0)
    assert [part.run.job_id for part in made] == ["a", "b", "a", "b"]


def test_what_is_past_its_deadline_is_not_begun() -> None:
    late = run(deadline_s=10.0)
    assert scheduler().assign([worker(1)], [late], 10.0) == []
    assert len(scheduler().assign([worker(1)], [late], 9.9)) == 1


def test_who_can_make_a_deadline_goes_first() -> None:
    fleet = [worker(1, picture_s=5.0), worker(2, picture_s=1.0)]
    (made,) = scheduler().assign(fleet, [run(deadline_s=3.0)], 0.0)
    assert made.worker == address(2)
    (made,) = scheduler().assign(fleet, [run(deadline_s=0.5)], 0.0)
    assert made.worker == address(1)  # Nobody can; it is tried all the same.


def test_an_excluded_worker_does_not_get_it_again() -> None:
    made = scheduler().assign([worker(1), worker(2)], [run(excluded=frozenset((address(1),)))], 0.0)
    assert [assignment.worker for assignment in made] == [address(2)]


def test_a_cold_worker_waits_for_a_warm_one_that_is_nearly_free() -> None:
    cold = worker(1, loaded=frozenset())
    assert scheduler().assign([cold, worker(2, busy_until_s=(3.0,))], [run()], 0.0) == []
    assert len(scheduler().assign([cold, worker(2, busy_until_s=(30.0,))], [run()], 0.0)) == 1


def test_undo_gives_the_turn_and_the_share_back() -> None:
    fleet = [worker(1), worker(2, standing=Standing.NEW)]
    once = scheduler(newcomer_share=0.4)
    (first,) = once.assign(fleet, [run()], 0.0)
    once.undo(first, fleet[0])
    (again,) = once.assign(fleet, [run()], 0.0)
    assert (first.worker, again.worker) == (address(1), address(1))
    (other,) = once.assign(fleet, [run()], 0.0)
    assert other.worker == address(2)


@pytest.mark.parametrize("policy", [Policy.ROUND_ROBIN, Policy.REPUTATION])
def test_undo_puts_the_worker_back_in_its_policy_s_order(policy: Policy) -> None:
    fleet = [worker(1), worker(2)]
    once = scheduler(policy=policy)
    (first,) = once.assign(fleet, [run()], 0.0)
    once.undo(first, fleet[0])
    (again,) = once.assign(fleet, [run()], 0.0)
    assert (first.worker, again.worker) == (address(1), address(1))


def workers() -> st.SearchStrategy[list[Worker]]:
    return st.lists(
        st.builds(
            lambda picture_s, slots, busy, price, warm, standing, reputation, paused, rows: {
                "picture_s": picture_s,
                "concurrency": slots,
                "busy_until_s": tuple(busy),
                "price": price,
                "loaded": frozenset(("tiny",) if warm else ()),
                "standing": standing,
                "reputation": reputation,
                "is_paused": paused,
                "batch_rows": rows,
            },
            st.floats(0.01, 100),
            st.integers(1, 4),
            st.lists(st.floats(-100, 100), max_size=4),
            st.sampled_from((5, 10, 20)),
            st.booleans(),
            st.sampled_from(Standing),
            st.sampled_from((0.1, 0.6, 1.0)),
            st.booleans(),
            st.sampled_from((1, 4)),
        ),
        max_size=8,
    ).map(lambda fields: [worker(number, **each) for number, each in enumerate(fields, 1)])


def runs() -> st.SearchStrategy[list[Run]]:
    return st.lists(
        st.builds(
            lambda count, rank, step, price, left, attempt, deadline, excluded: {
                "count": count,
                "rank_s": rank,
                "rank_step_s": step,
                "need": need(price_per_unit=price),
                "shards_left": left,
                "attempt": attempt,
                "deadline_s": deadline,
                "excluded": frozenset(map(address, excluded)),
            },
            st.sampled_from((1, 1, 2, 7, 64, 3_000)),
            st.floats(-100, 100),
            st.floats(0, 5),
            st.sampled_from((None, 5, 10, 20)),
            st.integers(1, 64),
            st.integers(0, 2),
            st.none() | st.floats(-50, 50),
            st.sets(st.integers(1, 8), max_size=3),
        ),
        max_size=8,
    ).map(lambda fields: [run(str(number), **each) for number, each in enumerate(fields)])


@given(workers(), runs(), st.sampled_from(Policy))
def test_whatever_the_fleet_and_the_queue_a_pass_holds_what_it_must(
    fleet: list[Worker], queue: list[Run], policy: Policy
) -> None:
    made = scheduler(policy=policy).assign(fleet, queue, 0.0)
    known = {each.address: each for each in fleet}
    whole = {each.job_id: each for each in queue}
    taken: Counter[str] = Counter()
    for part in made:
        original = whole[part.run.job_id]
        assert is_eligible(known[part.worker], original.need, original.excluded)
        assert original.deadline_s is None or original.deadline_s > 0
        assert part.run.first == taken[part.run.job_id]
        assert 1 <= part.count <= part.run.count == original.count - part.run.first
        taken[part.run.job_id] += part.count
    for number, count in Counter(part.worker for part in made).items():
        assert count <= known[number].free_slots
    for job_id, count in Counter(part.run.job_id for part in made).items():
        is_all = taken[job_id] == whole[job_id].count
        assert count + (not is_all) <= whole[job_id].shards_left


def test_other_models_wait_without_disturbing() -> None:
    made = scheduler().assign([worker(1)], [run("other", need=need(model="other")), run("own", rank_s=5.0)], 0.0)
    assert [part.run.job_id for part in made] == ["own"]
