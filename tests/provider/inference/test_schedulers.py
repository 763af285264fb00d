"""Every name is a scheduler of diffusers; a fresh one for each batch; which evaluations each step needs."""

import inspect
from typing import Any

import diffusers
import pytest
import torch

from provider.errors import GenerationFailed
from provider.generation import SCHEDULERS
from provider.inference.schedulers import (
    draws_noise,
    first_evaluation_needed,
    may_diverge,
    new_scheduler,
    prepare_schedule,
)

CLASSES = {
    "default": "DPMSolverMultistepScheduler",
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "dpmpp_2m_karras": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lms": "LMSDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
}
CPU = torch.device("cpu")


@pytest.fixture
def own() -> Any:
    """A model's own scheduler, which clips as pixels ask for and spaces its noise as Karras does."""
    return diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True, prediction_type="v_prediction", solver_order=3)


def test_every_name_has_its_class(own: Any) -> None:
    assert set(CLASSES) == set(SCHEDULERS)
    for name, class_name in CLASSES.items():
        assert type(new_scheduler(name, own)).__name__ == class_name


def test_the_models_kind_of_prediction_is_kept_and_the_name_decides_the_rest(own: Any) -> None:
    for name in SCHEDULERS:
        scheduler = new_scheduler(name, own)
        assert scheduler.config.prediction_type == "v_prediction"
        assert scheduler is not own
        if name != "default":
            assert not scheduler.config.get("clip_sample", False)
            if "use_karras_sigmas" in inspect.signature(type(scheduler)).parameters:
                assert scheduler.config.use_karras_sigmas == (name == "dpmpp_2m_karras")
    assert new_scheduler("default", own).config.use_karras_sigmas


def test_unknown_names_are_refused(own: Any) -> None:
    with pytest.raises(GenerationFailed) as caught:
        new_scheduler("x" * 1000, own)
    assert caught.value.reason == "unknown_scheduler"
    assert len(caught.value.message) < 100


@pytest.mark.parametrize(
    ("name", "steps", "strength", "evaluations"),
    [
        ("euler", 5, None, 5),
        ("heun", 5, None, 9),
        ("pndm", 5, None, 6),
        ("euler", 10, 0.5, 5),
        ("heun", 10, 0.5, 9),
        ("euler", 5, 1.0, 5),
        ("euler", 5, 0.1, 0),
        ("heun", 5, 0.0, 0),
    ],
)
def test_how_often_the_unet_is_asked(own: Any, name: str, steps: int, strength: float | None, evaluations: int) -> None:
    schedule = prepare_schedule(new_scheduler(name, own), steps, strength, CPU)
    assert schedule.evaluations == evaluations


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_step_is_made_though_timesteps_are_alike(name: str) -> None:
    """Karras's first noise levels, of a schedule that ends in nothing but noise, are rounded to the same timestep."""
    own = diffusers.DPMSolverMultistepScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    for steps in (5, 30, 100):
        scheduler = new_scheduler(name, own)
        latents = torch.ones((1, 1, 1, 1))
        for timestep in prepare_schedule(scheduler, steps, None, CPU).timesteps:
            scheduler.scale_model_input(latents, timestep)
            latents = scheduler.step(torch.zeros_like(latents), timestep, latents, return_dict=False)[0]
        assert torch.isfinite(latents).all()


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("ddim", [1, 2, 3, 4, 5, 6]),
        ("euler_a", [1, 2, 3, 4, 5, 6]),
        ("dpmpp_2m", [1, 1, 2, 3, 4, 5]),
        ("default", [1, 1, 1, 2, 3, 4]),
        ("lms", [1, 1, 1, 1, 2, 3]),
        ("heun", [1, 1, 3, 3, 5, 5]),
        ("pndm", [1, 1, 1, 1, 1, 1]),
        ("unipc", [1, 1, 1, 1, 1, 1]),
    ],
)
def test_which_evaluations_a_step_needs(own: Any, name: str, needed: list[int]) -> None:
    scheduler = new_scheduler(name, own)
    assert [first_evaluation_needed(scheduler, step) for step in range(1, 7)] == needed


def test_which_may_diverge(own: Any) -> None:
    assert {name for name in SCHEDULERS if may_diverge(new_scheduler(name, own))} == {"lms"}


def test_which_draw_noise_at_each_step(own: Any) -> None:
    assert {name for name in SCHEDULERS if draws_noise(new_scheduler(name, own))} == {"ddpm", "euler_a"}
    stochastic = diffusers.DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++")
    assert draws_noise(new_scheduler("default", stochastic))
