"""How surely cheats are found, and how often an honest answer is accused, with the embedded model:

    python -m tests.simulation.cheats --jobs 100 --workers 2
    python -m tests.simulation.cheats --jobs 100 --json figures.jsonl

Every job is served honestly in several ways and with every cheat (`tests.hub.verification.cheaters`), and each answer
is examined as a sampled one is. Jobs that stand in the file of figures already are not done again, so a run that was
cut off goes on. Exits with 1 where a cheat is found in fewer than 95 of 100 examinations or honest work is accused in
more than 1 of 100, unless it is one of the known exceptions, which are named with their figures.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from math import exp, lgamma, log, log1p
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from hub.verification.examination import ExaminationOptions
from tests.hub.verification.bench import HONEST, Case, Trial, cheating, try_cases

LEAST_FOUND: Final = 0.95
MOST_ACCUSED: Final = 0.01
_PROGRESS_EVERY_S: Final = 10.0

CASES: Final = (
    *HONEST,
    *cheating("float32", "float32"),
    *cheating("bfloat16", "float32"),
    *cheating("float32", "bfloat16"),
)

SLOW_EVERY: Final = 4
"""Jobs: bfloat16 by torch's own kernels takes ten times as long, and what a checker in bfloat16 misses is known."""
CONFIDENCE: Final = 0.95
"""Of the exact bounds of a share."""

_BELOW_ROUNDING: Final = "other weights that move a step by less than bfloat16 does"
_COARSE_CHECKER: Final = (
    "who computes in bfloat16 cannot say how far that moves a step, so the bound for all models holds"
)

EXCEPTIONS: Final[dict[str, str]] = {
    "int8 (bfloat16, checked in float32)": _BELOW_ROUNDING,
    "int8 (float32, checked in bfloat16)": _BELOW_ROUNDING,
    "half of the steps (float32, checked in bfloat16)": _COARSE_CHECKER,
    "three quarters of the steps (float32, checked in bfloat16)": _COARSE_CHECKER,
}
"""Cases that fall short, by name, and why; docs/hub.md has their figures."""


def _run_job(arguments: tuple[int, Sequence[Case], ExaminationOptions]) -> list[Trial]:
    number, cases, options = arguments
    return try_cases(number, cases_of(number, cases), options)


def cases_of(number: int, cases: Sequence[Case]) -> list[Case]:
    """Those that are tried on this job."""
    return [case for case in cases if number % SLOW_EVERY == 0 or not _is_slow(case)]


def _is_slow(case: Case) -> bool:
    is_by_slow_kernels = case.has_other_kernels and case.precision == "bfloat16"
    return is_by_slow_kernels or (case.cheat is not None and case.checker == "bfloat16")


def kept(file: Path, cases: Sequence[Case]) -> dict[int, list[Trial]]:
    """Whole jobs of an earlier run, by their number; what a run that was cut off left of its last one is none."""
    by_job: dict[int, dict[Case, Trial]] = defaultdict(dict)
    for line in file.read_text("utf-8").splitlines() if file.exists() else ():
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        case = Case(**fields.pop("case"))
        by_job[fields["number"]][case] = Trial(case=case, **fields)
    wanted = {number: cases_of(number, cases) for number in by_job}
    return {
        number: [found[case] for case in wanted[number]]
        for number, found in by_job.items()
        if all(case in found for case in wanted[number])
    }


def trials(
    jobs: Sequence[int], cases: Sequence[Case], options: ExaminationOptions, workers: int
) -> Iterator[list[Trial]]:
    """Job by job, in whatever order they come."""
    arguments = [(number, cases, options) for number in jobs]
    if workers <= 1:
        yield from map(_run_job, arguments)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_run_job, each) for each in arguments]):
            yield done.result()


def share_accused(found: Sequence[Trial]) -> float:
    """Of these trials."""
    return sum(trial.is_accused for trial in found) / max(1, len(found))


def exact_bounds(successes: int, of: int) -> tuple[float, float]:
    """Between which the true share lies, by Clopper and Pearson (Biometrika 26, 1934), two-sided."""

    def chance_of_at_most(most: int, share: float) -> float:
        return sum(chance_of(each, share) for each in range(most + 1))

    def chance_of(count: int, share: float) -> float:
        ways = lgamma(of + 1) - lgamma(count + 1) - lgamma(of - count + 1)  # A factorial of 171 is beyond a float.
        return exp(ways + count * log(share) + (of - count) * log1p(-share))

    def share_where(most: int, chance: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if chance_of_at_most(most, middle) > chance else (low, middle)
        return low

    tail = (1 - CONFIDENCE) / 2
    lowest = 0.0 if successes == 0 else share_where(successes - 1, 1 - tail)
    return lowest, 1.0 if successes == of else share_where(successes, tail)


def shortfalls(by_case: dict[Case, list[Trial]]) -> list[str]:
    """Cases beyond what the issue allows that are no known exception."""
    short = []
    for case, found in by_case.items():
        if not found:
            continue
        share = share_accused(found)
        falls_short = share > MOST_ACCUSED if case.cheat is None else share < LEAST_FOUND
        if falls_short and case.name not in EXCEPTIONS:
            short.append(f"{case.name}: {share:.0%} accused")
    return short


def summary(by_case: dict[Case, list[Trial]]) -> str:
    """The table."""
    lines = []
    for case, found in by_case.items():
        reasons: dict[str, int] = defaultdict(int)
        for trial in found:
            if trial.is_accused:
                reasons[trial.reason] += 1
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items(), key=lambda item: -item[1]))
        exception = f"  (known: {EXCEPTIONS[case.name]})" if case.name in EXCEPTIONS else ""
        low, high = exact_bounds(sum(trial.is_accused for trial in found), len(found))
        shares = f"{share_accused(found):7.1%} accused ({low:.1%} to {high:.1%})"
        lines.append(f"{case.name:68} {len(found):4} jobs {shares}  {why}{exception}")
    return "\n".join(lines)


def main() -> int:
    """The command line; 1 where a case falls short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--samples", type=int, default=ExaminationOptions().samples, help="steps of a run's middle")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--json", metavar="FILE", type=Path, help="every trial's figures, a line each, appended")
    options = parser.parse_args()
    examination = ExaminationOptions(samples=options.samples)
    by_case: dict[Case, list[Trial]] = {case: [] for case in CASES}
    began = last_shown = time.monotonic()
    known = kept(options.json, CASES) if options.json else {}
    for trial in (trial for found in known.values() for trial in found):
        by_case[trial.case].append(trial)
    jobs = [number for number in range(options.first, options.first + options.jobs) if number not in known]
    for done, found in enumerate(trials(jobs, CASES, examination, options.workers), start=1):
        for trial in found:
            by_case[trial.case].append(trial)
            if options.json:
                with options.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(trial)) + "\n")
        if time.monotonic() - last_shown > _PROGRESS_EVERY_S:
            last_shown = time.monotonic()
            print(f"{done} of {len(jobs)} jobs, {last_shown - began:.0f} s", file=sys.stderr)
    print(summary(by_case))
    short = shortfalls(by_case)
    for line in short:
        print(f"beyond the bound: {line}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
