"""How many pictures a worker takes."""

from typing import Any

import pytest

from hub.scheduling.cutting import LONGEST_SHARD_S, ShardBudget, pictures_to_take
from hub.scheduling.timeline import Share
from tests.hub.scheduling.workers_of import run, worker


def take(share: int, *, count: int = 64, picture_s: float = 2.0, shards_left: int = 64, **fields: Any) -> int:
    return pictures_to_take(run(count=count), Share(worker(1, **fields), 0.0, picture_s, True, share), shards_left)


def test_two_fifths_of_its_share_and_at_least_one() -> None:
    assert [take(share) for share in (1, 2, 3, 8, 21)] == [1, 1, 2, 4, 9]


def test_not_shorter_than_a_second_where_its_share_is_not() -> None:
    assert take(64, picture_s=0.1) == 26
    assert take(12, picture_s=0.1) == 10
    assert take(8, picture_s=0.1) == 8


def test_whole_batches_as_far_as_its_share_goes() -> None:
    assert take(10, batch_rows=4) == 4
    assert take(12, batch_rows=4) == 8
    assert take(6, batch_rows=4) == 4
    assert take(3, batch_rows=4) == 3


def test_no_more_than_the_worker_takes_or_can_do_in_time() -> None:
    assert take(60, most_pictures=8) == 8
    assert take(60, picture_s=30.0) == LONGEST_SHARD_S / 30
    assert take(60, picture_s=1_000.0) == 1


@pytest.mark.parametrize(("shards_left", "expected"), [(64, 1), (32, 2), (3, 22), (1, 64), (0, 64)])
def test_a_receipt_s_bound_on_shards_is_kept(shards_left: int, expected: int) -> None:
    assert take(1, shards_left=shards_left) == expected


def test_runs_of_one_job_share_its_budget() -> None:
    first, second, other = run("a", 8, shards_left=5), run("a", 8, first=8, shards_left=4), run("b", shards_left=0)
    budget = ShardBudget((first, second, other))
    assert budget.left(first) == 4
    budget.note_cut(second)
    assert budget.left(first) == 3
    assert budget.left(other) == 1
