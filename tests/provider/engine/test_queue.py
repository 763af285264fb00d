"""The queue: bounded, nothing lost or doubled, fair between callers by the work that they ask for."""

from collections import Counter
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from provider.engine.queue import MAX_DEBT_ROWS, MAX_TURNS, FairQueue, turns_of
from provider.generation import BatchKey

KEYS = [BatchKey("aitbc/tiny-sd", side, side, 5, "default", is_guided=True, strength=None) for side in (256, 512)]


MOST_TURNS = 5
"""Of a row in the machine below."""


@dataclass(eq=False)
class Waiting:
    caller: str
    key: BatchKey = KEYS[0]
    largest_batch: int = 1_000
    name: str = ""
    turns: int = 1

    def __repr__(self) -> str:
        return f"{self.caller}{self.name}"


def rows_of(caller: str, count: int, key: BatchKey = KEYS[0], turns: int = 1) -> list[Waiting]:
    return [Waiting(caller, key, name=str(number), turns=turns) for number in range(count)]


def serve(queue: FairQueue[Waiting], most: int = 1) -> list[Waiting]:
    """A batch of the head and whatever may share it."""
    rows = queue.in_fair_order(queue.head().key)[:most]
    queue.take(rows)
    return rows


def test_callers_take_turns_whatever_they_have_waiting() -> None:
    queue: FairQueue[Waiting] = FairQueue(100)
    for caller, count in (("a", 4), ("b", 1), ("c", 2)):
        queue.add(rows_of(caller, count))
    expected = ["a0", "b0", "c0", "a1", "c1", "a2", "a3"]
    assert [str(row) for row in queue.in_fair_order()] == expected
    assert [str(serve(queue)[0]) for _ in range(7)] == expected


def test_a_row_costs_what_its_work_is_worth() -> None:
    smallest = BatchKey("aitbc/tiny-sd", 256, 256, 5, "default", is_guided=False, strength=None)
    largest = BatchKey("aitbc/tiny-sd", 1024, 1024, 100, "default", is_guided=True, strength=None)
    assert turns_of(smallest) == turns_of(replace(smallest, strength=0.01)) == 1
    assert turns_of(replace(smallest, is_guided=True)) == 2
    assert turns_of(replace(smallest, height=264)) == 2
    assert turns_of(largest) == MAX_TURNS
    assert turns_of(replace(largest, strength=0.25)) == MAX_TURNS / 4
    assert turns_of(replace(largest, steps=10_000)) == MAX_TURNS


def test_callers_get_equal_shares_of_the_work() -> None:
    queue: FairQueue[Waiting] = FairQueue(100)
    queue.add(rows_of("large", 3, turns=4))
    queue.add(rows_of("small", 9))
    expected = ["large0", *(f"small{number}" for number in range(4)), "large1"]
    expected += [*(f"small{number}" for number in range(4, 8)), "large2", "small8"]
    assert [str(row) for row in queue.in_fair_order()] == expected
    assert [str(serve(queue)[0]) for _ in range(12)] == expected


def test_one_large_row_after_another_is_paid_for_too() -> None:
    """A caller whose next row comes only when its last one has been served has nothing waiting in between."""
    queue: FairQueue[Waiting] = FairQueue(100)
    queue.add(rows_of("large", 1, turns=5))
    queue.add(rows_of("small", 20))
    served = []
    for _ in range(12):
        (row,) = serve(queue)
        served.append(row.caller)
        if row.caller == "large":
            queue.add(rows_of("large", 1, turns=5))
    assert served == ["large", *["small"] * 5, "large", *["small"] * 5]


def test_what_is_owed_is_forgiven_when_nobody_has_anything_to_do() -> None:
    queue: FairQueue[Waiting] = FairQueue(100)
    queue.add(rows_of("large", 1, turns=5))
    queue.add(rows_of("small", 1))
    assert [serve(queue)[0].caller for _ in range(2)] == ["large", "small"]
    queue.add(rows_of("large", 1, turns=5))
    queue.forgive()
    queue.add(rows_of("small", 1))
    assert [serve(queue)[0].caller for _ in range(2)] == ["small", "large"]
    queue.forgive()
    queue.add(rows_of("large", 1, turns=5))
    queue.add(rows_of("small", 1))
    assert [serve(queue)[0].caller for _ in range(2)] == ["large", "small"]


def test_debts_of_callers_that_went_away_are_bounded_and_the_largest_are_kept() -> None:
    queue: FairQueue[Waiting] = FairQueue(10_000)
    queue.add(rows_of("keeper", 1_000))
    queue.add(rows_of("greedy", 1, turns=MAX_TURNS))
    for number in range(600):
        queue.add(rows_of(f"passer-by {number}", 1, turns=2 + number // 10))
    while len(queue) >= 1_000:
        serve(queue)
    assert len(queue._lines) < 300
    queue.add(rows_of("greedy", 1))
    queue.add(rows_of("stranger", 3))
    order = [row.caller for row in queue.in_fair_order()]
    assert order.index("stranger") < order.index("greedy")


def test_a_batch_has_rows_of_all_callers_in_turn() -> None:
    queue: FairQueue[Waiting] = FairQueue(100)
    queue.add(rows_of("a", 9))
    queue.add(rows_of("b", 2))
    assert [str(row) for row in serve(queue, 6)] == ["a0", "b0", "a1", "b1", "a2", "a3"]


def test_who_had_more_than_its_turn_is_passed_over() -> None:
    queue: FairQueue[Waiting] = FairQueue(100)
    queue.add(rows_of("a", 8, KEYS[0]))
    assert len(serve(queue, 4)) == 4
    queue.add(rows_of("b", 4, KEYS[1]))
    expected = ["b0", "b1", "b2", "a4", "b3", "a5", "a6", "a7"]
    assert [str(row) for row in queue.in_fair_order()] == expected
    assert [str(serve(queue)[0]) for _ in range(8)] == expected


def test_rows_that_rode_along_are_not_held_against_their_caller_for_ever() -> None:
    queue: FairQueue[Waiting] = FairQueue(1_000)
    queue.add(rows_of("rider", 200))
    for turn in range(10):
        queue.add(rows_of(f"driver {turn}", 1))
        assert len(serve(queue, 16)) == 16
    queue.add(rows_of("other", 100, KEYS[1]))
    callers = [serve(queue)[0].caller for _ in range(MAX_DEBT_ROWS + 1)]
    assert callers.count("rider") == 1


def test_rows_that_come_back_are_served_first_and_cost_nothing() -> None:
    queue: FairQueue[Waiting] = FairQueue(100)
    queue.add(rows_of("a", 3))
    queue.add(rows_of("b", 1))
    batch = serve(queue, 3)
    assert [str(row) for row in batch] == ["a0", "b0", "a1"]
    queue.put_back(batch)
    assert len(queue) == 4
    assert [str(row) for row in queue.in_fair_order()] == ["a0", "b0", "a1", "a2"]
    assert queue.head() is batch[0]


def test_a_quarter_of_the_places_is_kept_for_callers_with_nothing_waiting() -> None:
    queue: FairQueue[Waiting] = FairQueue(8)
    assert queue.excess("a", 8) == 0
    assert queue.excess("a", 10) == 2
    queue.add(rows_of("a", 6))
    assert queue.excess("a", 1) == 1
    assert queue.excess("b", 2) == 0
    assert queue.excess("b", 3) == 1


def test_a_queue_of_one_place_takes_one_row() -> None:
    queue: FairQueue[Waiting] = FairQueue(1)
    assert queue.excess("a", 1) == 0
    queue.add(rows_of("a", 1))
    assert queue.excess("a", 1) == 1
    assert queue.excess("b", 1) == 1


def test_places_in_the_queue() -> None:
    queue: FairQueue[Waiting] = FairQueue(100)
    queue.add(rows_of("a", 5))
    mine = Waiting("b")
    queue.add([mine])
    queue.add(rows_of("b", 1))
    assert queue.rows_ahead(lambda row: row is mine) == 1
    assert queue.rows_ahead(lambda row: row.caller == "c") == 0
    assert [str(row) for row in queue.first(2)] == ["a0", "b"]


def test_nothing_waits() -> None:
    queue: FairQueue[Waiting] = FairQueue(1)
    with pytest.raises(LookupError):
        queue.head()


@given(
    heavy_rows=st.integers(1, 100),
    most=st.integers(1, 16),
    slots=st.integers(1, 4),
    served_before=st.integers(0, 5),
    key=st.sampled_from(KEYS),
    heavy_turns=st.integers(1, MAX_TURNS),
    turns=st.integers(1, MAX_TURNS),
)
def test_a_heavy_caller_delays_anothers_first_row_by_one_batch(
    heavy_rows: int, most: int, slots: int, served_before: int, key: BatchKey, heavy_turns: int, turns: int
) -> None:
    queue: FairQueue[Waiting] = FairQueue(200)
    queue.add(rows_of("heavy", heavy_rows, turns=heavy_turns))
    for _ in range(served_before + slots):
        if queue:
            serve(queue, most)
    mine = Waiting("light", key, turns=turns)
    queue.add([mine])
    # Every slot is at work when it comes; whichever is free first serves one batch before it at most.
    assert mine in serve(queue, most) + (serve(queue, most) if queue else [])


@given(rides=st.integers(0, 40), most=st.integers(1, 16))
def test_a_stream_of_newcomers_does_not_starve_whoever_has_had_much(rides: int, most: int) -> None:
    queue: FairQueue[Waiting] = FairQueue(1_000)
    old = rows_of("old", rides * most + 1)
    queue.add(old)
    for _ in range(rides):
        serve(queue, most)
    left = queue.rows_ahead(lambda row: row is old[-1]) + 1
    for batch in range((left + 1) * (MAX_DEBT_ROWS + 2)):
        queue.add([Waiting(f"newcomer {batch}", KEYS[1])])
        if old[-1] in serve(queue):
            return
    pytest.fail("the old caller's last row was never served")


@given(
    lines=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=8), min_size=1, max_size=5),
    most=st.integers(1, 4),
    batches=st.integers(0, 6),
)
def test_rows_are_served_in_the_order_that_was_foretold(lines: list[list[int]], most: int, batches: int) -> None:
    queue: FairQueue[Waiting] = FairQueue(1_000)
    for number, line in enumerate(lines):
        caller = chr(ord("a") + number)
        queue.add([Waiting(caller, KEYS[number % 2], turns=turns) for turns in line])
    for _ in range(batches):
        if queue:
            serve(queue, most)
    foretold = queue.in_fair_order()
    assert [serve(queue)[0] for _ in range(len(queue))] == foretold


@given(
    turns=st.lists(st.integers(1, MAX_TURNS), min_size=2, max_size=6),
    one_at_a_time=st.sets(st.integers(0, 5)),
    most=st.integers(1, MAX_DEBT_ROWS),
    batches=st.integers(1, 300),
)
def test_whoever_always_has_something_waiting_gets_the_same_share_of_the_work(
    turns: list[int], one_at_a_time: set[int], most: int, batches: int
) -> None:
    """Whatever one row of a caller costs, and whether it sends many rows or one after another."""
    queue: FairQueue[Waiting] = FairQueue(10_000)
    rows = {
        caller: Waiting(caller, replace(KEYS[0], steps=number + 1), turns=cost)
        for number, (caller, cost) in enumerate(zip("abcdef", turns, strict=False))
    }
    waiting = {caller: 1 if number in one_at_a_time else most for number, caller in enumerate(rows)}
    for caller, count in waiting.items():
        queue.add([replace(rows[caller]) for _ in range(count)])
    work = dict.fromkeys(rows, 0)
    for _ in range(batches):
        batch = serve(queue, most)
        work[batch[0].caller] += sum(row.turns for row in batch)
        queue.add([replace(row) for row in batch])
    # Each has had as many turns as any other, but for the one of this lap, and for what its latest batch was above it.
    ahead = {caller: waiting[caller] * row.turns for caller, row in rows.items()}
    for one in rows:
        for other in rows:
            assert work[one] - work[other] <= ahead[one] + 1


class QueueMachine(RuleBasedStateMachine):
    """Any order of what can happen to a queue, beside a plain list of what should wait."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[Waiting] = FairQueue(24)
        self.waiting: set[Waiting] = set()
        self.at_work: list[list[Waiting]] = []
        self.finished: Counter[Waiting] = Counter()
        self.batches_since: dict[str, int] = {}
        self.admitted = 0

    @rule(
        caller=st.sampled_from("abcd"),
        count=st.integers(1, 6),
        key=st.sampled_from(KEYS),
        turns=st.integers(1, MOST_TURNS),
    )
    def submit(self, caller: str, count: int, key: BatchKey, turns: int) -> None:
        is_newcomer = all(row.caller != caller for row in self.waiting)
        excess = self.queue.excess(caller, count)
        assert excess == max(0, len(self.waiting) + count - (24 if is_newcomer else 18))
        if not excess:
            rows = rows_of(caller, count, key, turns)
            self.queue.add(rows)
            self.waiting.update(rows)
            self.admitted += count
            assert len(self.queue) <= self.queue.limit_rows

    @precondition(lambda self: self.waiting)
    @rule(most=st.integers(1, 16))
    def start(self, most: int) -> None:
        head = self.queue.head()
        assert self.queue.head() is head
        assert self.queue.in_fair_order()[0] is head
        batch = serve(self.queue, most)
        assert batch[0] is head
        assert self.waiting.issuperset(batch)
        self.waiting.difference_update(batch)
        self.at_work.append(batch)
        for caller in {row.caller for row in self.waiting}:
            self.batches_since[caller] = self.batches_since.get(caller, 0) + 1
        for caller in {row.caller for row in batch}:
            self.batches_since[caller] = 0
        # Four callers, each passed over as often as it owes: nobody can wait longer than this.
        assert max(self.batches_since.values(), default=0) <= 4 * (MAX_DEBT_ROWS * MOST_TURNS + 1)

    @precondition(lambda self: self.at_work)
    @rule(place=st.integers(0, 100))
    def finish(self, place: int) -> None:
        self.finished.update(self.at_work.pop(place % len(self.at_work)))

    @precondition(lambda self: self.at_work)
    @rule(place=st.integers(0, 100))
    def lose(self, place: int) -> None:
        batch = self.at_work.pop(place % len(self.at_work))
        self.queue.put_back(batch)
        self.waiting.update(batch)
        assert self.queue.head() is batch[0]

    @rule()
    def forgive(self) -> None:
        self.queue.forgive()

    @rule(caller=st.sampled_from("abcd"), key=st.sampled_from(KEYS))
    def cancel(self, caller: str, key: BatchKey) -> None:
        def is_cancelled(row: Waiting) -> bool:
            return row.caller == caller and row.key == key

        removed = self.queue.discard(is_cancelled)
        assert set(removed) == {row for row in self.waiting if is_cancelled(row)}
        self.waiting.difference_update(removed)
        self.finished.update(removed)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        listed = self.queue.in_fair_order()
        assert len(listed) == len(self.queue) == len(self.waiting)
        assert set(listed) == self.waiting
        at_work = sum(map(len, self.at_work))
        assert len(self.waiting) + at_work + self.finished.total() == self.admitted
        assert all(count == 1 for count in self.finished.values())


TestQueueMachine = QueueMachine.TestCase
