"""The bounds that stand beside the cheat bench's figures."""

import pytest

from tests.simulation.cheats import exact_bounds


@pytest.mark.parametrize(
    ("successes", "of", "low", "high"),
    [
        (0, 10, 0.0, 0.30850),  # Clopper and Pearson's, as R's binom.test prints them.
        (5, 10, 0.18709, 0.81291),
        (10, 10, 0.69150, 1.0),
        (1300, 1300, 0.025 ** (1 / 1300), 1.0),
    ],
)
def test_exact_bounds(successes: int, of: int, low: float, high: float) -> None:
    assert exact_bounds(successes, of) == pytest.approx((low, high), abs=1e-5)
