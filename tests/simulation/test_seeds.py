"""Five hundred seeds with every kind of fault, and the same seed twice; `make simulate` takes as many as one likes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.scenario import scenario_of
from tests.simulation.simulation import simulate

SEEDS, CHUNK = 500, 20


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_seeds(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            simulate(scenario_of(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}; again: python -m tests.simulation.run --replay {seed}")
            raise


@pytest.mark.parametrize("seed", [3, 17])
def test_same_seed_twice_is_the_same_run(seed: int) -> None:
    first, second = simulate(scenario_of(seed)), simulate(scenario_of(seed))
    assert first.trace_hash == second.trace_hash
    assert first.actions == second.actions


def test_the_hash_seed_of_python_does_not_matter() -> None:
    program = (
        "from tests.simulation.scenario import scenario_of\n"
        "from tests.simulation.simulation import simulate\n"
        "print([simulate(scenario_of(seed)).trace_hash for seed in (5, 30, 31, 45)])"
    )
    hashes = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1")
    ]
    assert hashes[0] == hashes[1]
    assert hashes[0].count("'") == 8
