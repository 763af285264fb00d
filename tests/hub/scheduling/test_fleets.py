"""Simulated fleets: what must hold for whoever sends jobs and whoever serves them, over thousands of jobs."""

import random
import statistics
from collections import Counter
from collections.abc import Sequence

import pytest

from hub.scheduling.assignment import SchedulingOptions
from hub.scheduling.fairness import HEAD_START_S
from hub.scheduling.policies.policy import Policy
from hub.scheduling.runs import DEFAULT_PRIORITY
from hub.scheduling.workers import Standing
from tests.hub.scheduling.conditions import OTHER_MODEL, random_simulation
from tests.hub.scheduling.fleet import FleetSimulation, Job, Order
from tests.hub.scheduling.machines import MODEL, Machine, need, unequal_machines
from tests.hub.scheduling.optimum import optimum_s


def stream(rng: random.Random, jobs: int, per_s: float, **fields: object) -> list[Order]:
    """Jobs at random moments, so many per second."""
    orders, now_s = [], 0.0
    for _ in range(jobs):
        now_s += rng.expovariate(per_s)
        orders.append(Order(now_s, **fields))  # type: ignore[arg-type]
    return orders


def run(seed: int, machines: Sequence[Machine], orders: Sequence[Order], **options: object) -> FleetSimulation:
    """To the end."""
    simulation = FleetSimulation(seed, machines, orders, SchedulingOptions(**options))  # type: ignore[arg-type]
    simulation.run()
    assert len(simulation.jobs) == len(orders)
    assert all(len(job.done) == job.order.pictures for job in simulation.jobs)
    return simulation


def shards_by(simulation: FleetSimulation) -> Counter[int]:
    """How many were given to each machine, by its number."""
    return Counter(int.from_bytes(assignment.worker, "big") for _, assignment in simulation.given)


# Everything at once


@pytest.mark.parametrize("first", range(0, 24, 4))
def test_random_days_end_with_every_picture_made_once(first: int) -> None:
    for seed in range(first, first + 4):
        simulation = random_simulation(seed, jobs=120)
        try:
            simulation.run()
            assert len(simulation.jobs) == 120
            for job in simulation.jobs:
                assert job.done == set(range(job.order.pictures))
                assert job.makers.keys() == job.done
        except AssertionError as error:
            error.add_note(f"seed {seed}; again: python -m tests.simulation.fleets --jobs 120 --replay {seed}")
            raise


def test_same_seed_twice_is_the_same_day() -> None:
    days = []
    for _ in range(2):
        simulation = random_simulation(7, jobs=60)
        simulation.run()
        days.append([(time_s, given.worker, given.run.job_id, given.count) for time_s, given in simulation.given])
    assert days[0] == days[1]


# Whoever serves


@pytest.mark.parametrize("load", [0.5, 1.1])
def test_round_robin_gives_equal_machines_equal_turns(load: float) -> None:
    machines = [Machine(number) for number in range(1, 11)]
    simulation = run(1, machines, stream(random.Random(1), 2_000, per_s=load * 10 / 2.0))
    turns = shards_by(simulation)
    assert max(turns.values()) <= 1.1 * 200
    assert min(turns.values()) >= 0.9 * 200


def test_round_robin_gives_everybody_a_turn_before_anybody_has_two() -> None:
    machines = [Machine(number, picture_s=number, noise=0) for number in range(1, 6)]
    simulation = run(1, machines, [Order(100.0 * number) for number in range(50)])
    order = [int.from_bytes(assignment.worker, "big") for _, assignment in simulation.given]
    assert order == [1, 2, 3, 4, 5] * 10


def test_cheapest_gives_the_dear_ones_only_what_is_too_much_for_the_cheap_ones() -> None:
    machines = [Machine(number, price=number) for number in range(1, 5)]
    idle = shards_by(run(1, machines, stream(random.Random(1), 300, per_s=0.05), policy=Policy.CHEAPEST))
    assert idle[1] > 0.85 * 300
    machines = [Machine(number, price=number) for number in range(1, 5)]
    full = shards_by(run(1, machines, stream(random.Random(1), 300, per_s=2.1), policy=Policy.CHEAPEST))
    assert min(full.values()) > 0.2 * 300


def test_fastest_prefers_the_fast_and_learns_who_has_become_slow() -> None:
    machines = [Machine(number, picture_s=number) for number in range(1, 4)]
    machines[0].picture_s = 6.0  # It was measured at one second.
    simulation = run(1, machines, stream(random.Random(1), 300, per_s=0.05), policy=Policy.FASTEST)
    turns = shards_by(simulation)
    assert turns[1] < 0.1 * 300
    assert turns[2] > 0.8 * 300


def test_reputation_weighs_by_how_often_it_goes_well() -> None:
    machines = [Machine(number, fails=fails) for number, fails in ((1, 0.0), (2, 0.0), (3, 0.2))]
    turns = shards_by(run(1, machines, stream(random.Random(1), 2_000, per_s=0.5), policy=Policy.REPUTATION))
    assert 0.3 < turns[3] / turns[1] < 0.6
    assert 0.9 < turns[2] / turns[1] < 1.1


@pytest.mark.parametrize("policy", Policy)
def test_who_fails_loses_nearly_all_of_its_work(policy: Policy) -> None:
    machines = [Machine(number, fails=0.95 if number == 1 else 0.0) for number in range(1, 6)]
    turns = shards_by(run(1, machines, stream(random.Random(1), 2_000, per_s=0.9 * 4 / 2.0), policy=policy))
    assert turns[1] < 0.05 * 2_000
    assert min(turns[number] for number in range(2, 6)) > 0.15 * 2_000


def test_who_has_become_slow_gets_as_much_less_to_do() -> None:
    machines = [Machine(number) for number in range(1, 5)]
    machines[0].picture_s = 8.0  # The others: two seconds.
    simulation = run(1, machines, [Order(0.0) for _ in range(1_000)])
    turns = shards_by(simulation)
    assert turns[1] == pytest.approx(1_000 / 13, rel=0.15)


def test_who_mends_its_ways_gets_its_work_back() -> None:
    machines = [Machine(number) for number in range(1, 5)]
    machines[0].fails = 1.0
    simulation = FleetSimulation(1, machines, stream(random.Random(1), 6_000, per_s=1.0))
    simulation.run(until_s=1_000)
    assert machines[0].worker().is_doubted
    machines[0].fails = 0.0
    simulation.run()
    late = Counter(assignment.worker for time_s, assignment in simulation.given if time_s > 5_000)
    assert late[machines[0].address] / late.total() > 0.2


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_newcomers_get_their_share_of_what_others_could_do(share: float) -> None:
    machines = [Machine(number, standing=Standing.NEW if number <= 3 else Standing.PROVEN) for number in range(1, 11)]
    simulation = run(1, machines, stream(random.Random(1), 2_000, per_s=1.0), newcomer_share=share)
    work = sum(simulation.work_by[machine.address] for machine in machines[:3]) / sum(simulation.work_by.values())
    assert work == pytest.approx(share, abs=0.02)
    turns = shards_by(simulation)
    assert max(turns[number] for number in (1, 2, 3)) <= 1.2 * min(turns[number] for number in (1, 2, 3))


def test_many_newcomers_at_once_do_not_take_the_work_of_those_who_are_there() -> None:
    machines = [Machine(number, standing=Standing.NORMAL) for number in range(1, 6)]
    simulation = FleetSimulation(1, machines, stream(random.Random(1), 1_500, per_s=1.0))
    for number in range(100, 150):
        simulation.join(500.0, Machine(number, standing=Standing.NEW))
    simulation.run()
    late = [assignment.worker for time_s, assignment in simulation.given if time_s > 500]
    share = sum(int.from_bytes(worker, "big") >= 100 for worker in late) / len(late)
    assert share < 0.15


def test_newcomers_help_out_when_all_others_are_busy() -> None:
    machines = [Machine(1, standing=Standing.PROVEN), *(Machine(n, standing=Standing.NEW) for n in range(2, 6))]
    turns = shards_by(run(1, machines, [Order(0.0) for _ in range(500)]))
    assert turns[1] == pytest.approx(100, rel=0.15)  # As much as anybody: all have always something to do.


def test_what_has_failed_goes_to_who_is_known() -> None:
    machines = [Machine(number, standing=Standing.NEW, fails=0.3) for number in range(1, 5)]
    machines += [Machine(number) for number in range(5, 9)]
    simulation = run(1, machines, stream(random.Random(1), 1_000, per_s=0.5), newcomer_share=0.5)
    second = [given.worker for _, given in simulation.given if given.run.attempt > 0]
    assert len(second) > 50
    assert all(int.from_bytes(worker, "big") >= 5 for worker in second)


# Whoever sends


def waits(jobs: Sequence[Job], client: str) -> list[float]:
    """How long each of a client's jobs waited."""
    return [job.waited_s for job in jobs if job.order.client == client]


def test_a_client_with_a_thousand_jobs_does_not_delay_one_with_few() -> None:
    machines = [Machine(number) for number in range(1, 5)]
    orders = [Order(0.0, client="hog") for _ in range(600)]
    orders += stream(random.Random(1), 50, per_s=0.2, client="visitor")
    simulation = run(1, machines, orders)
    # At most until one of four machines is free: their pictures take two seconds.
    assert max(waits(simulation.jobs, "visitor")) < 6
    assert statistics.mean(waits(simulation.jobs, "visitor")) < 1


def test_a_large_job_does_not_delay_others_clients() -> None:
    machines = [Machine(number) for number in range(1, 5)]
    orders = [Order(0.0, client="hog", pictures=200), *stream(random.Random(1), 20, per_s=0.5, client="visitor")]
    simulation = run(1, machines, orders)
    # Not longer than the first shards that were cut of the large one: two fifths of a quarter of it.
    assert max(waits(simulation.jobs, "visitor")) < 0.4 * 200 / 4 * 2.0 * 1.5


def test_clients_who_always_have_something_waiting_get_equal_shares() -> None:
    machines = unequal_machines(random.Random(3), 6)
    kinds = {"one": 1, "four": 4, "sixteen": 16}
    orders = [Order(0.0, client=client, pictures=size) for client, size in kinds.items() for _ in range(480 // size)]
    simulation = FleetSimulation(1, machines, orders)
    simulation.run(until_s=150)
    assert simulation.waiting
    served: Counter[str] = Counter()
    for _, given in simulation.given:
        served[given.run.client] += given.count
    assert min(served.values()) > 0.85 * max(served.values())


def test_who_comes_later_is_not_paid_for_having_been_away() -> None:
    machines = [Machine(number) for number in range(1, 5)]
    orders = [Order(0.0, client="early") for _ in range(700)] + [Order(200.0, client="late") for _ in range(700)]
    simulation = FleetSimulation(1, machines, orders)
    simulation.run(until_s=400)
    since = Counter(given.run.client for time_s, given in simulation.given if time_s > 200)
    assert since["early"] == pytest.approx(since["late"], rel=0.1)


def test_high_priority_goes_before_and_low_priority_does_not_starve() -> None:
    machines = [Machine(number) for number in range(1, 5)]
    # More than the fleet can do, for longer than the head start is.
    orders = stream(random.Random(1), 1_200, per_s=1.5 * 2, client="urgent", priority=9)
    orders += [Order(10.0 * number, client="patient", priority=0) for number in range(20)]
    simulation = run(1, machines, orders)
    patient = waits(simulation.jobs, "patient")
    # The head start of nine levels, as work of the other client, which has the fleet meanwhile; and one shard.
    assert max(patient) < 9 * HEAD_START_S * 1.2 + 6
    assert min(patient[3:]) > 10


def test_priority_puts_a_job_before_the_client_s_own_by_the_head_start() -> None:
    orders = [Order(0.0) for _ in range(200)] + [Order(1.0, priority=9)]
    simulation = run(1, [Machine(1, noise=0)], orders)
    urgent = simulation.jobs[-1]
    later = sum(job.first_start_s > urgent.first_start_s for job in simulation.jobs)
    # Four levels, in pictures of two seconds.
    assert later == pytest.approx((9 - DEFAULT_PRIORITY) * HEAD_START_S / 2, abs=1)


# Models


def test_jobs_go_where_their_model_is_loaded() -> None:
    both = (MODEL, OTHER_MODEL)
    machines = [Machine(number, models=both if number % 2 else both[::-1]) for number in range(1, 7)]
    rng = random.Random(1)
    orders = sorted(
        stream(rng, 500, per_s=0.4) + stream(rng, 500, per_s=0.4, need=need(model=OTHER_MODEL)),
        key=lambda order: order.at_s,
    )
    run(1, machines, orders)
    assert sum(machine.loads for machine in machines) < 10  # Of 1,000 jobs; half of them by chance.


def test_a_long_queue_for_a_model_has_it_loaded_elsewhere() -> None:
    both = (MODEL, OTHER_MODEL)
    machines = [Machine(number, models=both) for number in range(1, 5)]
    machines.append(Machine(5, models=both[::-1]))
    simulation = run(1, machines, [Order(0.0, need=need(model=OTHER_MODEL)) for _ in range(200)])
    assert all(machine.loads == 1 for machine in machines[:4])
    # The optimum: four load for 20 s while one works; then five of them do two seconds a picture.
    assert max(job.ends_s for job in simulation.jobs) < 1.15 * (20 + (200 - 10) / 5 * 2)


# Large jobs


def test_64_pictures_over_eight_unequal_machines_are_done_nearly_as_soon_as_can_be() -> None:
    ratios = []
    for seed in range(60):
        machines = unequal_machines(random.Random(seed), noise=0.15)
        ratios.append(run(seed, machines, [Order(0.0, pictures=64)]).jobs[0].took_s / optimum_s(machines, 64))
    assert statistics.mean(ratios) <= 1.10
    assert sorted(ratios)[int(0.9 * len(ratios))] <= 1.15


def test_a_straggler_is_made_up_for() -> None:
    def ratio(seed: int, *, with_reissues: bool) -> float:
        machines = unequal_machines(random.Random(seed), tail=0.03)
        simulation = FleetSimulation(seed, machines, [Order(0.0, pictures=64)], with_reissues=with_reissues)
        simulation.run()
        return simulation.jobs[0].took_s / optimum_s(machines, 64)

    assert statistics.mean(ratio(seed, with_reissues=True) for seed in range(60)) <= 1.15
    assert statistics.mean(ratio(seed, with_reissues=False) for seed in range(60)) > 1.3


def test_machines_that_vanish_or_fall_silent_cost_a_job_little() -> None:
    ratios = []
    for seed in range(30):
        machines = unequal_machines(random.Random(seed), silent=0.01, fails=0.03)
        simulation = FleetSimulation(seed, machines, [Order(0.0, pictures=64)])
        simulation.leave(4.0, machines[seed % 8])
        simulation.run()
        ratios.append(simulation.jobs[0].took_s / optimum_s(machines, 64))
    assert statistics.median(ratios) < 1.35


def test_small_jobs_are_not_cut_into_crumbs() -> None:
    machines = [Machine(number, picture_s=0.05, overhead_s=0.05) for number in range(1, 5)]
    simulation = run(1, machines, [Order(0.0, pictures=64)])
    assert simulation.jobs[0].shards == 4


# Promises


def test_nine_of_ten_jobs_end_when_they_were_said_to_be_late_and_half_when_expected() -> None:
    early, late = [], []
    for seed in range(200, 210):
        simulation = random_simulation(seed, jobs=120)
        simulation.run()
        for job in simulation.jobs:
            assert job.estimate is not None
            early.append(job.took_s / job.estimate.ends_s)
            late.append(job.took_s <= job.estimate.ends_late_s)
    assert 0.8 < statistics.median(early) < 1.25
    assert statistics.mean(late) > 0.85


def test_honest_shards_end_before_their_leases() -> None:
    lapses = shards = 0
    for seed in range(300, 306):
        simulation = random_simulation(seed, jobs=120)
        simulation.run()
        lapses, shards = lapses + simulation.honest_lapses, shards + simulation.honest_shards
    # What stumbles takes five times as long, a lease holds four times.
    assert lapses <= shards / 500
