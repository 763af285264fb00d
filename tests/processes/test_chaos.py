"""Kill −9, SIGSTOP, cut wires: nothing final is lost or changes, and the chain goes on. `make soak` is the long run."""

from pathlib import Path

import pytest

from tests.processes.chaos import RESTART_BOUND_S, STALL_BOUND_S, run_chaos
from tests.processes.cluster import Cluster
from tests.processes.links import Links

SEED = 20261122


@pytest.mark.timeout(400)
def test_four_validators_and_a_follower_bear_everything(tmp_path: Path, links: Links) -> None:
    with Cluster.make(tmp_path, links=links) as cluster:
        report = run_chaos(cluster, links, seconds=30, seed=SEED, say=print, per_second=20)
    print(*report.lines(), sep="\n")
    assert report.violations == []
    assert report.transactions > 100
    assert max(report.restart_s, default=0) < RESTART_BOUND_S
    assert report.longest_stall_s < STALL_BOUND_S
