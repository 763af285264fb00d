"""The same blocks come to the same roots in every process: nothing hangs on the order of a hash table."""

import os
import subprocess
import sys
from pathlib import Path

from chain.primitives.modules import ASSET_FUNCTIONS, FUNCTIONS, MODULES

REPOSITORY = Path(__file__).parents[3]


def _play(seed: int, hash_seed: str) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.chain.rules.seeded_blocks", str(seed)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_the_same_blocks_under_two_hash_seeds() -> None:
    """Heights, block hashes (so every root), changes in their order, and the reasons of every failure and refusal."""
    first, second = _play(1, "0"), _play(1, "1")
    assert first == second
    assert len(first) > 20
    # Every operation that there is has succeeded at least once on the way.
    declared = {name: FUNCTIONS.get(module, ()) for name, module in MODULES.items()} | {"asset": ASSET_FUNCTIONS}
    expected = {f"{name}.{f.name}" for name, functions in declared.items() for f in functions if not f.is_view}
    assert set(first[-1].removeprefix("succeeded: ").split()) == expected | {"transfer"}
