"""What is learned of batches that did not fit."""

from dataclasses import replace

import pytest

from provider.engine.memory import MemoryBounds
from provider.generation import BatchKey

KEY = BatchKey("aitbc/tiny-sd", 512, 512, 30, "default", is_guided=True, strength=None)


@pytest.fixture
def bounds() -> MemoryBounds:
    return MemoryBounds()


def go_well(bounds: MemoryBounds, key: BatchKey, batches: int, backend_rows: int = 8) -> None:
    for _ in range(batches):
        bounds.ran_well(key, bounds.most_rows(key, backend_rows), backend_rows)


def test_the_backends_own_figure_holds_until_it_proves_wrong(bounds: MemoryBounds) -> None:
    assert bounds.most_rows(KEY, 8) == 8
    go_well(bounds, KEY, 100)
    assert bounds.most_rows(KEY, 8) == 8
    bounds.ran_out(KEY, 8)
    assert bounds.most_rows(KEY, 8) == 4
    assert bounds.most_rows(KEY, 2) == 2


def test_only_what_decides_over_memory_is_told_apart(bounds: MemoryBounds) -> None:
    bounds.ran_out(KEY, 8)
    assert bounds.most_rows(replace(KEY, steps=5, scheduler="ddim", strength=0.5), 8) == 4
    for other in (replace(KEY, width=256), replace(KEY, is_guided=False), replace(KEY, model="other")):
        assert bounds.most_rows(other, 8) == 8


def test_it_goes_down_to_a_single_row(bounds: MemoryBounds) -> None:
    seen = [9]
    while seen[-1] > 1:
        bounds.ran_out(KEY, seen[-1])
        seen.append(bounds.most_rows(KEY, 16))
    assert seen == [9, 5, 3, 2, 1]


def test_a_batch_that_was_started_before_the_bound_was_known_teaches_nothing_new(bounds: MemoryBounds) -> None:
    bounds.ran_out(KEY, 8)
    bounds.ran_out(KEY, 8)
    assert bounds.most_rows(KEY, 8) == 4


def test_it_is_forgotten_slowly_and_more_slowly_where_that_fails(bounds: MemoryBounds) -> None:
    bounds.ran_out(KEY, 8)
    go_well(bounds, KEY, 31)
    assert bounds.most_rows(KEY, 8) == 4
    go_well(bounds, KEY, 1)
    assert bounds.most_rows(KEY, 8) == 5
    bounds.ran_out(KEY, 5)
    assert bounds.most_rows(KEY, 8) == 4
    go_well(bounds, KEY, 63)
    assert bounds.most_rows(KEY, 8) == 4
    go_well(bounds, KEY, 1)
    assert bounds.most_rows(KEY, 8) == 5
    go_well(bounds, KEY, 64 * 10)
    assert bounds.most_rows(KEY, 8) == 8


def test_small_batches_say_nothing_of_large_ones(bounds: MemoryBounds) -> None:
    bounds.ran_out(KEY, 8)
    for _ in range(1_000):
        bounds.ran_well(KEY, 3, 8)
    assert bounds.most_rows(KEY, 8) == 4


def test_the_number_of_remembered_shapes_is_bounded(bounds: MemoryBounds) -> None:
    for number in range(256):
        bounds.ran_out(replace(KEY, width=8 * (number + 1)), 8)
    bounds.ran_out(replace(KEY, width=8), 4)
    bounds.ran_out(replace(KEY, model="one more"), 8)
    assert bounds.most_rows(replace(KEY, width=8), 8) == 2
    assert bounds.most_rows(replace(KEY, width=16), 8) == 8
