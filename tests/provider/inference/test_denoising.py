"""The loop against diffusers' own pipelines: bit for bit alone, within a measured distance in a batch."""

from typing import Any

import numpy
import pytest
import torch

from provider.generation import SCHEDULERS, PipelineOptions
from provider.inference.devices import find_devices
from provider.inference.latents import BATCH_TOLERANCE, compare_latents
from provider.inference.loading import load_model


@pytest.mark.parametrize("strength", [None, 0.7], ids=["text", "picture"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_alone_a_row_is_bit_for_bit_what_diffusers_computes(
    worker: Any, embedded: Any, tools: Any, scheduler: str, strength: float | None
) -> None:
    key = tools.key(scheduler=scheduler, strength=strength)
    source = tools.source() if strength else None
    row = tools.row(guidance=7.3, negative_prompt="green", records_trajectory=True, source_png=source)
    run = tools.run(worker, key, row)
    pixels, latents = tools.run_bare(embedded, key, row)
    assert list(run.trajectory()[1:]) == latents
    assert numpy.array_equal(run.picture(), pixels)
    assert [event.step for event in run.steps] == list(range(1, len(latents) + 1))
    assert {event.steps for event in run.steps} == {len(latents)}


@pytest.mark.parametrize("scheduler", ["default", "euler_a", "pndm"])
def test_guidance_of_one_computes_no_unconditional_half(worker: Any, embedded: Any, tools: Any, scheduler: str) -> None:
    key = tools.key(scheduler=scheduler, is_guided=False)
    row = tools.row(guidance=1.0, negative_prompt="green", records_trajectory=True)
    run = tools.run(worker, key, row)
    pixels, latents = tools.run_bare(embedded, key, row)
    assert list(run.trajectory()[1:]) == latents
    assert numpy.array_equal(run.picture(), pixels)
    other = tools.run(worker, key, tools.row(guidance=1.0, negative_prompt="red", records_trajectory=True))
    assert other.trajectory() == run.trajectory()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_in_a_batch_each_row_keeps_its_own_seed_guidance_and_prompts(worker: Any, tools: Any, scheduler: str) -> None:
    key = tools.key(scheduler=scheduler)
    rows = [
        tools.row(guidance=7.3, seed=2**63 - 1, records_trajectory=True),
        tools.row(guidance=2.5, seed=1, prompt="a yellow square on a black background", records_trajectory=True),
        tools.row(guidance=1.5, seed=1, negative_prompt="green", records_trajectory=True),
    ]
    together = tools.run(worker, key, *rows)
    for index, row in enumerate(rows):
        alone = tools.run(worker, key, row)
        distance = compare_latents(alone.trajectory()[-1], together.trajectory(index)[-1], "float32")
        assert distance.relative < BATCH_TOLERANCE["float32"]
        assert abs(alone.picture() - together.picture(index)).max() <= 2
        assert compare_latents(alone.trajectory()[0], together.trajectory(index)[0], "float32").max_abs == 0
    # The tolerance tells rows apart: the same seed with other prompts is far away.
    assert compare_latents(together.trajectory(1)[-1], together.trajectory(2)[-1], "float32").relative > 0.01


def test_rows_of_a_picture_batch_start_from_their_own_sources(worker: Any, tools: Any) -> None:
    key = tools.key(strength=0.5, scheduler="euler_a")
    other_source = tools.run(worker, tools.key(), tools.row(seed=3)).done.rows[0].picture
    rows = [tools.row(source_png=tools.source(), seed=4), tools.row(source_png=other_source, seed=5)]
    together = tools.run(worker, key, *rows)
    for index, row in enumerate(rows):
        assert abs(tools.run(worker, key, row).picture() - together.picture(index)).max() <= 2


def test_a_model_of_stable_diffusions_own_kind(new_worker: Any, small_sd_folder: Any, tools: Any) -> None:
    """Four channels, eight pixels per latent, epsilon prediction, PNDM as its own scheduler."""
    options = PipelineOptions(models={"small": str(small_sd_folder)}, device="cpu", cpu_threads=1)
    small = new_worker(models=options.models)
    model = load_model("small", small_sd_folder, options, find_devices(options)[0], torch.float32)
    for scheduler in ("default", "dpmpp_2m_karras", "euler_a"):
        key = tools.key(model="small", scheduler=scheduler)
        row = tools.row(records_trajectory=True)
        run = tools.run(small, key, row)
        pixels, latents = tools.run_bare(model, key, row)
        assert list(run.trajectory()[1:]) == latents
        assert numpy.array_equal(run.picture(), pixels)
        assert run.done.profile.latent_shape == (4, 32, 32)
