"""Steps computed anew from opened latents: equal to what was committed to, and far from what was tampered with."""

from typing import Any

import numpy
import pytest

from provider.errors import GenerationFailed
from provider.generation import SCHEDULERS, Encoding
from provider.inference.latents import BATCH_TOLERANCE, compare_latents


def open_entries(trajectory: tuple[bytes, ...], needed: tuple[int, ...]) -> dict[int, bytes]:
    return {index: trajectory[index] for index in needed}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_step_of_a_batch_is_found_again_bit_for_bit(worker: Any, tools: Any, scheduler: str) -> None:
    key = tools.key(scheduler=scheduler, steps=6)
    rows = [tools.row(seed=4, negative_prompt="green"), tools.row(seed=5, guidance=7.3, records_trajectory=True)]
    run = tools.run(worker, key, *rows)
    trajectory = run.trajectory(1)
    assert worker.evaluations(key) == len(trajectory) - 1 == run.steps[-1].steps
    for step in range(len(trajectory)):
        opened = open_entries(trajectory, worker.latents_needed(key, step))
        assert all(index < step for index in opened)
        anew = worker.rerun_step(key, rows[1], step, opened, batch_rows=run.done.profile.batch_rows)
        assert anew == trajectory[step]


@pytest.mark.parametrize("scheduler", ["default", "euler_a", "heun"])
def test_steps_of_image_to_image_are_found_again(worker: Any, tools: Any, scheduler: str) -> None:
    key = tools.key(scheduler=scheduler, steps=6, strength=0.6)
    row = tools.row(records_trajectory=True, source_png=tools.source())
    trajectory = tools.run(worker, key, row).trajectory()
    for step in range(len(trajectory)):
        opened = open_entries(trajectory, worker.latents_needed(key, step))
        distance = compare_latents(worker.rerun_step(key, row, step, opened), trajectory[step], "float32")
        assert distance.relative < BATCH_TOLERANCE["float32"]


@pytest.mark.parametrize(
    "change", ["prompt", "guidance", "latents", "seed of an ancestral step", "another model's work"]
)
def test_what_was_not_computed_so_is_far_away(worker: Any, tools: Any, change: str) -> None:
    key = tools.key(scheduler="euler_a")
    row = tools.row(records_trajectory=True)
    trajectory = tools.run(worker, key, row).trajectory()
    claimed, opened = trajectory[3], {2: trajectory[2]}
    if change == "latents":
        values = numpy.frombuffer(claimed, "<f4").copy()
        values[0] += 0.5 * numpy.abs(values).max()
        claimed = values.tobytes()
    elif change == "another model's work":
        claimed = trajectory[2]
    else:
        field: dict[str, dict[str, Any]] = {
            "prompt": {"prompt": "a white ring on a green background"},
            "guidance": {"guidance": 3.5},
        }
        row = tools.row(**field.get(change, {"seed": 8}))
    distance = compare_latents(worker.rerun_step(key, row, 3, opened), claimed, "float32")
    assert distance.relative > 10 * BATCH_TOLERANCE["float32"]


def test_the_seed_alone_gives_the_first_latents(worker: Any, tools: Any) -> None:
    row = tools.row(records_trajectory=True)
    trajectory = tools.run(worker, tools.key(), row).trajectory()
    assert worker.latents_needed(tools.key(), 0) == ()
    assert worker.rerun_step(tools.key(), row, 0, {}) == trajectory[0]
    assert worker.rerun_step(tools.key(), tools.row(seed=8), 0, {}) != trajectory[0]


def test_the_last_latents_give_the_very_picture(worker: Any, tools: Any) -> None:
    key = tools.key(width=264, height=256)
    rows = [tools.row(), tools.row(seed=8, records_trajectory=True, encoding=Encoding("webp", 70))]
    run = tools.run(worker, key, *rows)
    assert worker.picture_of(key, rows[1], run.trajectory(1)[-1]) == run.done.rows[1].picture
    assert worker.picture_of(key, rows[1], run.trajectory(1)[-2]) != run.done.rows[1].picture
    with pytest.raises(GenerationFailed) as caught:
        worker.picture_of(key, rows[1], b"")
    assert caught.value.reason == "bad_latents"


def test_what_cannot_be_computed_is_refused(worker: Any, tools: Any) -> None:
    key, row = tools.key(scheduler="ddim"), tools.row(records_trajectory=True)
    trajectory = tools.run(worker, key, row).trajectory()
    not_numbers = numpy.full(len(trajectory[0]) // 4, numpy.nan, "<f4").tobytes()
    refused: list[tuple[int, dict[int, bytes], int]] = [
        (1, {}, 1),
        (1, {0: trajectory[0][:-1]}, 1),
        (1, {0: trajectory[0] + b"\0"}, 1),
        (1, {0: not_numbers}, 1),
        (6, {5: trajectory[5]}, 1),
        (-1, {}, 1),
        (1, {0: trajectory[0]}, 0),
        (1, {0: trajectory[0]}, 10**9),
    ]
    for step, opened, batch_rows in refused:
        with pytest.raises(GenerationFailed) as caught:
            worker.rerun_step(key, row, step, opened, batch_rows=batch_rows)
        assert caught.value.reason == "bad_latents"


def test_a_step_that_no_run_has_needs_nothing(worker: Any, tools: Any) -> None:
    for step in (-1, 6, 10**12):
        with pytest.raises(GenerationFailed) as caught:
            worker.latents_needed(tools.key(), step)
        assert caught.value.reason == "bad_latents"
