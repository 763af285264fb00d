"""The market's rules against the naive reference, for as many operations as one likes:

    python -m tests.simulation.market --operations 1000000 --workers 2
    python -m tests.simulation.market --replay SEED

Each seed is a history of its own (`tests.chain.rules.market.histories`), and ends with everybody cancelling everything.
"""

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from typing import Final

import msgspec

from tests.chain.rules.market.histories import History
from tests.chain.rules.market.world import World

OPERATIONS_PER_SEED: Final = 5_000
_PROGRESS_EVERY_S: Final = 5.0


class Outcome(msgspec.Struct, frozen=True):
    """What came of a seed; `failure` is the last operations and the error, or empty."""

    seed: int
    operations: int
    events: dict[str, int]
    failure: str = ""


def run_seed(seed: int) -> Outcome:
    """One history. Whatever goes wrong in it is the seed's failure, so that the others go on."""
    world, last = World(), [""] * 5
    try:
        for step in History(seed, world).steps(OPERATIONS_PER_SEED):
            last = [*last[1:], str(step)]
            world.play(step)
        world.cancel_everything()
    except Exception:  # noqa: BLE001 - a disagreement, or whatever the rules raise: it is shown with its seed
        failure = "\n".join((*last, traceback.format_exc()))
        return Outcome(seed, world.verdicts.total(), dict(world.met), failure)
    return Outcome(seed, world.verdicts.total(), dict(world.met))


def outcomes(seeds: range, workers: int) -> Iterator[Outcome]:
    """In whatever order they come."""
    if workers <= 1:
        yield from map(run_seed, seeds)
        return
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(run_seed, seeds)


def main() -> int:
    """The command line; 1 where a seed has failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000, help="about how many, over all seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--replay", type=int, default=None, metavar="SEED", help="one seed alone")
    options = parser.parse_args()
    if options.replay is not None:
        seeds = range(options.replay, options.replay + 1)
    else:
        seeds = range(options.first, options.first + -(-options.operations // OPERATIONS_PER_SEED))
    failed: list[int] = []
    operations, events = 0, Counter[str]()
    began = last_shown = time.monotonic()
    for outcome in outcomes(seeds, min(options.workers, len(seeds))):
        operations += outcome.operations
        events.update(outcome.events)
        if outcome.failure:
            failed.append(outcome.seed)
            print(f"seed {outcome.seed}:\n{outcome.failure}", file=sys.stderr)
        if time.monotonic() - last_shown > _PROGRESS_EVERY_S:
            last_shown = time.monotonic()
            print(f"{operations:,} operations, {last_shown - began:.0f} s", file=sys.stderr)
    figures = ", ".join(f"{name} {count:,}" for name, count in sorted(events.items()))
    print(f"market: {operations:,} operations in {len(seeds)} histories, {figures}; failed seeds: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
