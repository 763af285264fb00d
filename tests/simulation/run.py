"""Many seeds at once: python -m tests.simulation.run --seeds 1000 --validators 4, or one again with --replay SEED."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from multiprocessing import get_context
from typing import Any, Final

import msgspec

from tests.simulation.report import Report
from tests.simulation.scenario import scenario_of
from tests.simulation.simulation import simulate
from tests.simulation.violation import Violation

_PROGRESS_EVERY_S: Final = 5.0
_SUMMED: Final = (
    "views",
    "blocks",
    "commits",
    "epochs",
    "crashes",
    "faults",
    "lost_messages",
    "sent_messages",
    "evidence",
    "cpu_seconds",
)


class Failure(msgspec.Struct, frozen=True):
    """A seed that broke a property, or the engine."""

    seed: int
    reason: str


def run_seed(job: tuple[int, int | None]) -> Report | Failure:
    """One seed; also a fault of the engine's is a failure of the seed."""
    seed, validator_count = job
    try:
        return simulate(scenario_of(seed, validator_count))
    except Violation as violation:
        return Failure(seed, str(violation))
    except Exception as error:  # noqa: BLE001 - whatever the engine raises, the other seeds go on and this one is shown
        return Failure(seed, f"{type(error).__name__}: {error}")


def replay_command(seed: int, validator_count: int | None) -> str:
    """What shows a seed again."""
    number = "" if validator_count is None else f" --validators {validator_count}"
    return f"{sys.executable} -m tests.simulation.run --replay {seed}{number}"


def results(jobs: list[tuple[int, int | None]], workers: int) -> Iterator[Report | Failure]:
    """In whatever order they come."""
    if workers <= 1:
        yield from map(run_seed, jobs)
        return
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(run_seed, jobs, chunksize=4)


def summary_of(reports: list[Report], failures: list[Failure], wall_seconds: float) -> dict[str, Any]:
    """The figures of a run."""
    sums: dict[str, Any] = {name: sum(getattr(report, name) for report in reports) for name in _SUMMED}
    cpu_seconds = max(sums["cpu_seconds"], 1e-9)
    return {
        "seeds": len(reports) + len(failures),
        **sums,
        "cpu_seconds": round(cpu_seconds, 1),
        "wall_seconds": round(wall_seconds, 1),
        "views_per_cpu_second": round(sums["views"] / cpu_seconds),
        "longest_settling_in_delays": max((report.settled_after_delays for report in reports), default=0),
        "largest_memory": max((report.memory for report in reports), default=0),
        "failures": [msgspec.to_builtins(failure) for failure in failures],
    }


def main() -> int:
    """The command line; 1 where a seed has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--validators", type=int, default=None, help="n; else the seed chooses, mostly 4")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")
    parser.add_argument("--replay", type=int, default=None, metavar="SEED", help="one seed, with its trace")
    options = parser.parse_args()
    if options.replay is not None:
        from tests.simulation.replay import replay

        return replay(options.replay, options.validators)
    jobs = [(seed, options.validators) for seed in range(options.first, options.first + options.seeds)]
    reports: list[Report] = []
    failures: list[Failure] = []
    began = last_shown = time.monotonic()
    for result in results(jobs, options.workers):
        if isinstance(result, Failure):
            failures.append(result)
            print(f"seed {result.seed}: {result.reason}", file=sys.stderr)
            print(f"  {replay_command(result.seed, options.validators)}", file=sys.stderr)
        else:
            reports.append(result)
        if time.monotonic() - last_shown > _PROGRESS_EVERY_S and not options.json:
            last_shown = time.monotonic()
            done = len(reports) + len(failures)
            print(f"{done} of {len(jobs)} seeds, {len(failures)} failed, {last_shown - began:.0f} s", file=sys.stderr)
    summary = summary_of(reports, failures, time.monotonic() - began)
    if options.json:
        print(json.dumps(summary))
    else:
        failures_shown = " ".join(str(failure.seed) for failure in failures) or "none"
        figures = ", ".join(f"{name} {value}" for name, value in summary.items() if name != "failures")
        print(f"{figures}; failed seeds: {failures_shown}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
