"""The long run of `make soak`: four validators and a follower under load and faults, minute after minute.

Prints what it does as it goes, and a summary at the end; the exit code is 1 where anything was wrong.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.processes.chaos import Report, run_chaos
from tests.processes.cluster import Cluster
from tests.processes.links import Links


def main() -> None:
    """Runs the soak test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of the faults")
    parser.add_argument("--validators", type=int, default=4)
    parser.add_argument("--per-second", type=float, default=30.0, help="transactions that are signed")
    parser.add_argument("--dir", type=Path, help="where the nodes' folders and logs go; default: a temporary folder")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="aitbc-soak-", dir=arguments.dir))
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {text}", flush=True)

    say(f"seed {arguments.seed}; folders and logs in {folder}")
    report: Report
    with Links() as links, Cluster.make(folder, validators=arguments.validators, links=links) as cluster:
        report = run_chaos(
            cluster,
            links,
            seconds=arguments.minutes * 60,
            seed=arguments.seed,
            say=say,
            per_second=arguments.per_second,
        )
    print("\n" + "\n".join(report.lines()))
    sys.exit(1 if report.violations else 0)


if __name__ == "__main__":
    main()
