"""What the tests of the engine share; see `cast`, `bench` and `table`."""

from __future__ import annotations

import pytest

from tests.chain.consensus.bench import Bench
from tests.chain.consensus.cast import Cast


@pytest.fixture
def cast() -> Cast:
    """Four validators, of whom one may lie."""
    return Cast(4)


@pytest.fixture
def bench(cast: Cast) -> Bench:
    """The engine of validator 0; it leads views 4, 8, 12."""
    return Bench(cast)
