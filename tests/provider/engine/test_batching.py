"""Which rows go together."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.engine.batching import choose_batch, seconds_to_wait
from provider.engine.queue import FairQueue
from provider.generation import BatchKey

KEYS = [BatchKey("aitbc/tiny-sd", side, side, 5, "default", is_guided=True, strength=None) for side in (256, 512, 768)]


@dataclass(eq=False)
class Waiting:
    caller: str
    key: BatchKey = KEYS[0]
    largest_batch: int = 1_000
    turns: int = 1


def queue_of(*rows: Waiting) -> FairQueue[Waiting]:
    queue: FairQueue[Waiting] = FairQueue(1_000)
    for row in rows:
        queue.add([row])
    return queue


def most(rows: int) -> "dict[BatchKey, int]":
    return dict.fromkeys(KEYS, rows)


def test_rows_of_one_kind_share_a_batch_whoever_they_belong_to() -> None:
    rows = [Waiting("a"), Waiting("a", KEYS[1]), Waiting("b", KEYS[1]), Waiting("b"), Waiting("c")]
    choice = choose_batch(queue_of(*rows), most(8).__getitem__, 0)
    assert list(choice.rows) == [rows[0], rows[3], rows[4]]
    assert not choice.is_full


def test_a_full_batch() -> None:
    choice = choose_batch(queue_of(*(Waiting("a") for _ in range(5))), most(3).__getitem__, 0)
    assert len(choice.rows) == 3
    assert choice.is_full


def test_a_row_that_failed_in_a_larger_batch_goes_with_few() -> None:
    rows = [Waiting("a"), Waiting("a", largest_batch=1), Waiting("a", largest_batch=3), Waiting("a"), Waiting("a")]
    choice = choose_batch(queue_of(*rows), most(8).__getitem__, 0)
    assert list(choice.rows) == [rows[0], rows[2], rows[3]]
    assert choice.is_full


def test_a_row_that_must_be_alone_is_alone() -> None:
    choice = choose_batch(queue_of(Waiting("a", largest_batch=1), Waiting("a")), most(8).__getitem__, 0)
    assert len(choice.rows) == 1
    assert choice.is_full


def test_idle_slots_share_the_rows() -> None:
    queue = queue_of(*(Waiting("a") for _ in range(7)))
    assert [len(choose_batch(queue, most(8).__getitem__, others).rows) for others in (0, 1, 2, 9)] == [7, 4, 3, 1]


def test_slots_that_have_other_work_do_not_count_as_idle() -> None:
    queue = queue_of(*(Waiting("a") for _ in range(8)), Waiting("a", KEYS[1]))
    assert len(choose_batch(queue, most(8).__getitem__, 1).rows) == 8
    assert len(choose_batch(queue, most(8).__getitem__, 2).rows) == 4


def test_a_backend_that_says_zero_still_gets_a_row() -> None:
    assert len(choose_batch(queue_of(Waiting("a")), most(0).__getitem__, 0).rows) == 1


def test_nothing_waits() -> None:
    with pytest.raises(LookupError):
        choose_batch(queue_of(), most(8).__getitem__, 0)


def test_only_a_young_row_without_company_waits() -> None:
    one, full = queue_of(Waiting("a")), queue_of(Waiting("a"), Waiting("a"))
    choice = choose_batch(one, most(2).__getitem__, 0)
    assert seconds_to_wait(choice, 10.0, 10.002, 0.005) == pytest.approx(0.003)
    assert seconds_to_wait(choice, 10.0, 10.2, 0.005) < 0
    assert seconds_to_wait(choose_batch(full, most(2).__getitem__, 0), 10.0, 10.002, 0.005) == 0


@given(
    rows=st.lists(
        st.builds(Waiting, st.sampled_from("abc"), st.sampled_from(KEYS), st.sampled_from([1, 2, 5, 1_000])),
        min_size=1,
        max_size=40,
    ),
    bound=st.integers(1, 10),
    others=st.integers(0, 4),
)
def test_every_batch_keeps_to_its_bounds_and_all_rows_are_served(rows: list[Waiting], bound: int, others: int) -> None:
    queue = queue_of(*rows)
    served: list[Waiting] = []
    while queue:
        head, order = queue.head(), queue.in_fair_order()
        choice = choose_batch(queue, most(bound).__getitem__, others)
        batch = list(choice.rows)
        assert batch[0] is head
        assert {row.key for row in batch} == {head.key}
        assert len(batch) <= min(bound, *(row.largest_batch for row in batch))
        assert len(set(batch)) == len(batch)
        if choice.is_full:
            assert len(batch) == min(bound, *(row.largest_batch for row in batch))
        elif not others:
            # Whoever fits and is left out would have made the batch too large for itself.
            left_out = [row for row in order if row.key == head.key and row not in batch]
            assert all(row.largest_batch <= len(batch) for row in left_out)
        queue.take(batch)
        served += batch
    assert sorted(map(id, served)) == sorted(map(id, rows))
