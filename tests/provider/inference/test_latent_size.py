"""What is expected of latents' size: honest runs of every scheduler and model are within it, and no huge ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from provider.errors import GenerationFailed
from provider.generation import SCHEDULERS, BatchKey, Row
from provider.inference.latent_size import MAX_RMS_RATIO, MAX_VALUE_RATIO, check_size, rms_of_entries
from provider.inference.latents import from_bytes, to_bytes
from provider.inference.schedulers import new_scheduler, prepare_schedule

CPU = torch.device("cpu")
STEPS = 16
"""More than the draft that expectations are made of has."""


def check_run(worker: Any, tools: Any, key: BatchKey, row: Row) -> None:
    """Holds every entry of an honest run against what is expected of it."""
    trajectory = tools.run(worker, key, row).trajectory()
    for step, (latents, rms) in enumerate(zip(trajectory, worker.expected_rms(key, row), strict=True)):
        check_size(from_bytes(latents, (len(latents) // 4,), torch.float32), rms, step)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_honest_runs_are_as_expected(worker: Any, tools: Any, scheduler: str) -> None:
    key = tools.key(scheduler=scheduler, steps=STEPS)
    check_run(worker, tools, key, tools.row(guidance=7.5, records_trajectory=True))


def test_honest_run_that_diverges_is_as_expected(worker: Any, tools: Any) -> None:
    """As linear multistep does at high guidance: a run of fewer steps would not say how far."""
    key = tools.key(scheduler="lms", steps=40)
    check_run(worker, tools, key, tools.row(guidance=12.0, records_trajectory=True))


@pytest.mark.parametrize(("scheduler", "strength"), [("default", 0.1), ("default", 1.0), ("lms", 0.1), ("heun", 0.6)])
def test_honest_image_to_image_is_as_expected(worker: Any, tools: Any, scheduler: str, strength: float) -> None:
    key = tools.key(scheduler=scheduler, steps=STEPS, strength=strength)
    check_run(worker, tools, key, tools.row(records_trajectory=True, source_png=tools.source()))


@pytest.mark.parametrize("scheduler", ["default", "euler", "ddim"])
def test_model_whose_latents_are_of_another_size(
    new_worker: Callable[..., Any], tools: Any, small_sd_folder: Path, scheduler: str
) -> None:
    """One of four channels and with random weights, which finishes with something like noise."""
    worker = new_worker(models={"small": str(small_sd_folder)})
    key = tools.key(model="small", scheduler=scheduler, steps=STEPS)
    check_run(worker, tools, key, tools.row(records_trajectory=True))


def test_run_without_a_step_is_as_large_as_its_source(worker: Any, tools: Any) -> None:
    key = tools.key(steps=5, strength=0.1)
    row = tools.row(records_trajectory=True, source_png=tools.source())
    (first,) = tools.run(worker, key, row).trajectory()
    values = from_bytes(first, (len(first) // 4,), torch.float32)
    assert worker.expected_rms(key, row) == pytest.approx((float(values.square().mean()) ** 0.5,))


@pytest.mark.parametrize(("scheduler", "noise"), [("ddim", False), ("dpmpp_2m", False), ("euler", True), ("lms", True)])
def test_noise_counts_as_much_as_the_scheduler_adds(scheduler: str, noise: bool) -> None:
    """Of a clean picture with noise on it, for any entry; `noise` where a scheduler's sum is not scaled down."""
    own = diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    made = new_scheduler(scheduler, own)
    schedule = prepare_schedule(made, 8, None, CPU)
    expected = rms_of_entries(made, schedule, clean_rms=3.0)
    generator = torch.Generator().manual_seed(3)
    clean, added = (torch.randn((1, 4, 64, 64), generator=generator) for _ in range(2))
    for timestep, rms in zip(schedule.timesteps, expected[:-1], strict=True):
        another = new_scheduler(scheduler, own)
        another.set_timesteps(8)
        noised = another.add_noise(3.0 * clean, added, timestep[None])
        assert float(noised.square().mean()) ** 0.5 == pytest.approx(rms, rel=0.05)
    assert expected[-1] == pytest.approx(3.0)
    assert (expected[0] > 10) is noise


def test_bounds() -> None:
    ordinary = torch.randn((4, 32, 32), generator=torch.Generator().manual_seed(1))
    check_size(ordinary, 1.0, 1)
    check_size(ordinary * 0.9 * MAX_RMS_RATIO, 1.0, 1)
    one_value = ordinary.clone()
    one_value[0, 0, 0] = 0.9 * MAX_VALUE_RATIO
    check_size(one_value, 1.0, 1)
    one_value[0, 0, 0] = 1.1 * MAX_VALUE_RATIO
    for latents in (ordinary * 1.1 * MAX_RMS_RATIO, one_value, -one_value, ordinary.half() * 6e4):
        with pytest.raises(GenerationFailed) as caught:
            check_size(latents, 1.0, 7)
        assert caught.value.reason == "bad_latents"
        assert "step 7" in caught.value.message


def test_opened_entry_that_is_huge_is_refused(worker: Any, tools: Any) -> None:
    key, row = tools.key(scheduler="euler"), tools.row(records_trajectory=True)
    trajectory = tools.run(worker, key, row).trajectory()
    expected = worker.expected_rms(key, row)
    assert worker.rerun_step(key, row, 3, {2: trajectory[2]}, expected_rms=expected) == trajectory[3]
    values = from_bytes(trajectory[2], (len(trajectory[2]) // 4,), torch.float32)
    with pytest.raises(GenerationFailed) as caught:
        worker.rerun_step(key, row, 3, {2: to_bytes(values * 1e3)}, expected_rms=expected)
    assert caught.value.reason == "bad_latents"
