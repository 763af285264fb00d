"""The hub's scheduler on random fleets, for as many jobs as one likes:

    python -m tests.simulation.fleets --jobs 100000 --workers 2
    python -m tests.simulation.fleets --replay SEED

Each seed is a fleet and a day of its own (`tests.hub.scheduling.conditions`); what must hold is asserted at every pass.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from typing import Final

import msgspec

from tests.hub.scheduling.conditions import random_simulation

JOBS_PER_SEED: Final = 200
_PROGRESS_EVERY_S: Final = 5.0


class Outcome(msgspec.Struct, frozen=True):
    """What came of a seed; `failure` is the error, or empty."""

    seed: int
    jobs: int = 0
    shards: int = 0
    lost: int = 0
    """Shards that had to be given away again."""
    reissued: int = 0
    time_over_estimate: tuple[float, ...] = ()
    is_in_time: tuple[bool, ...] = ()
    """Whether each job ended when it was said to be late."""
    failure: str = ""


def run_seed(seed: int, jobs: int) -> Outcome:
    """One day. Whatever goes wrong in it is the seed's failure, so that the others go on."""
    try:
        simulation = random_simulation(seed, jobs)
        simulation.run()
        for job in simulation.jobs:
            assert job.done == set(range(job.order.pictures)), f"job {job.number} has not all of its pictures"
    except Exception:  # noqa: BLE001 - a broken promise, or whatever the scheduler raises: it is shown with its seed
        return Outcome(seed, failure=traceback.format_exc())
    promises = [(job.took_s, job.estimate) for job in simulation.jobs if job.estimate is not None]
    return Outcome(
        seed,
        len(simulation.jobs),
        len(simulation.given),
        sum(given.run.attempt > 0 for _, given in simulation.given),
        simulation.reissued,
        tuple(took_s / promised.ends_s for took_s, promised in promises),
        tuple(took_s <= promised.ends_late_s for took_s, promised in promises),
    )


def _run_seed(arguments: tuple[int, int]) -> Outcome:
    return run_seed(*arguments)


def outcomes(seeds: range, jobs: int, workers: int) -> Iterator[Outcome]:
    """In whatever order they come."""
    arguments = [(seed, jobs) for seed in seeds]
    if workers <= 1:
        yield from map(_run_seed, arguments)
        return
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(_run_seed, arguments)


def summary(days: Sequence[Outcome]) -> str:
    """One line."""
    ratios = sorted(ratio for day in days for ratio in day.time_over_estimate)
    in_time = [kept for day in days for kept in day.is_in_time]
    failed = sorted(day.seed for day in days if day.failure)
    figures = (
        f"{sum(day.jobs for day in days):,} jobs on {len(days)} fleets, {sum(day.shards for day in days):,} shards, "
        f"{sum(day.lost for day in days):,} after a loss, {sum(day.reissued for day in days):,} to a second worker"
    )
    if ratios:
        median, ninth = ratios[len(ratios) // 2], ratios[len(ratios) * 9 // 10]
        figures += f"; time over estimate {median:.2f} (half), {ninth:.2f} (nine of ten)"
        figures += f", {sum(in_time) / len(in_time):.0%} not later than said"
    return f"fleets: {figures}; failed seeds: {failed or 'none'}"


def main() -> int:
    """The command line; 1 where a seed has failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000, help="about how many, over all seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--replay", type=int, default=None, metavar="SEED", help="one seed alone, of --jobs jobs")
    options = parser.parse_args()
    if options.replay is not None:
        seeds, jobs = range(options.replay, options.replay + 1), min(options.jobs, JOBS_PER_SEED)
    else:
        seeds, jobs = range(options.first, options.first + -(-options.jobs // JOBS_PER_SEED)), JOBS_PER_SEED
    days: list[Outcome] = []
    began = last_shown = time.monotonic()
    for outcome in outcomes(seeds, jobs, min(options.workers, len(seeds))):
        days.append(outcome)
        if outcome.failure:
            print(f"seed {outcome.seed}:\n{outcome.failure}", file=sys.stderr)
        if time.monotonic() - last_shown > _PROGRESS_EVERY_S:
            last_shown = time.monotonic()
            print(f"{len(days)} of {len(seeds)} fleets, {last_shown - began:.0f} s", file=sys.stderr)
    print(summary(days))
    return 1 if any(day.failure for day in days) else 0


if __name__ == "__main__":
    sys.exit(main())
