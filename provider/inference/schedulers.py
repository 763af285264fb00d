"""The schedulers that a request may name, made fresh for each batch, and which steps each one's step depends on.

A scheduler of diffusers keeps what it needs of earlier steps in its own fields, so one object serves one batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import diffusers
import torch

from provider.errors import GenerationFailed
from provider.generation import DEFAULT_SCHEDULER


@dataclass(frozen=True)
class _Recipe:
    """A class of diffusers, and what is set whatever the model's own scheduler says."""

    type: Any
    settings: Mapping[str, Any] = field(default_factory=dict)


# Clipping the predicted picture to -1..1 suits pixels, not latents, yet is these classes' default. The plain names mean
# the plain spacing of noise levels, also where the model's own scheduler uses Karras's. Without `skip_prk_steps` PNDM
# begins with twelve Runge-Kutta evaluations; with it, it is the PLMS of Stable Diffusion's own release.
_UNCLIPPED: Final = {"clip_sample": False}
_PLAIN: Final = {"use_karras_sigmas": False}
_SOLVER: Final = {"algorithm_type": "dpmsolver++", "solver_order": 2}

_RECIPES: Final = {
    "ddim": _Recipe(diffusers.DDIMScheduler, _UNCLIPPED),
    "ddpm": _Recipe(diffusers.DDPMScheduler, _UNCLIPPED),
    "dpmpp_2m": _Recipe(diffusers.DPMSolverMultistepScheduler, _SOLVER | _PLAIN),
    "dpmpp_2m_karras": _Recipe(diffusers.DPMSolverMultistepScheduler, _SOLVER | {"use_karras_sigmas": True}),
    "euler": _Recipe(diffusers.EulerDiscreteScheduler, _PLAIN),
    "euler_a": _Recipe(diffusers.EulerAncestralDiscreteScheduler),
    "heun": _Recipe(diffusers.HeunDiscreteScheduler, _UNCLIPPED | _PLAIN),
    "lms": _Recipe(diffusers.LMSDiscreteScheduler, _PLAIN),
    "pndm": _Recipe(diffusers.PNDMScheduler, {"skip_prk_steps": True}),
    "unipc": _Recipe(diffusers.UniPCMultistepScheduler, _PLAIN),
}


def new_scheduler(name: str, own: Any) -> Any:
    """A fresh scheduler of that name; `own` is the model's, whose noise schedule and kind of prediction it keeps.

    Raises GenerationFailed(unknown_scheduler).
    """
    if name == DEFAULT_SCHEDULER:
        return type(own).from_config(own.config)
    if name not in _RECIPES:
        raise GenerationFailed(f"there is no scheduler {name[:40]!r}", reason="unknown_scheduler")
    recipe = _RECIPES[name]
    return recipe.type.from_config(own.config, **recipe.settings)


@dataclass(frozen=True)
class Schedule:
    """The evaluations of the UNet that a run makes: `timesteps` in order, from `begin` of the scheduler's own list."""

    timesteps: torch.Tensor
    begin: int

    @property
    def evaluations(self) -> int:
        """How often the UNet is asked, which is the number of steps of a run."""
        return len(self.timesteps)


def prepare_schedule(scheduler: Any, steps: int, strength: float | None, device: torch.device) -> Schedule:
    """Sets the scheduler up; image-to-image leaves out the first steps, as diffusers' pipeline does."""
    scheduler.set_timesteps(steps, device=device)
    remaining_steps = steps if strength is None else min(int(steps * strength), steps)
    begin = (steps - remaining_steps) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        # Otherwise the first timestep is looked up, and where rounding made two alike, the second of them is taken.
        scheduler.set_begin_index(begin)
    return Schedule(scheduler.timesteps[begin:], begin)


def first_evaluation_needed(scheduler: Any, step: int) -> int:
    """Of the evaluations 1, 2, …, the first that must be made again to compute `step` (from 1) anew.

    One-step methods depend on nothing before; a multistep method on as many predictions as its order; Heun's second
    evaluation on the first of its pair. UniPC corrects each sample by the next prediction, and PNDM's first step is
    made twice, so they, and any class that is not known here, are computed from the beginning.
    """
    if isinstance(scheduler, _ONE_STEP):
        return step
    if isinstance(scheduler, diffusers.DPMSolverMultistepScheduler):
        return max(1, step + 1 - int(scheduler.config.solver_order))
    if isinstance(scheduler, diffusers.LMSDiscreteScheduler):
        return max(1, step + 1 - _LMS_ORDER)
    if isinstance(scheduler, diffusers.HeunDiscreteScheduler):
        return step if step % 2 == 1 else step - 1
    return 1


_ONE_STEP: Final = (
    diffusers.DDIMScheduler,
    diffusers.DDPMScheduler,
    diffusers.EulerAncestralDiscreteScheduler,
    diffusers.EulerDiscreteScheduler,
)
_LMS_ORDER: Final = 4
"""The default of `LMSDiscreteScheduler.step`, which the pipeline does not change."""


def may_diverge(scheduler: Any) -> bool:
    """Whether latents can grow with every step, so that no shorter run says how large they become.

    Linear multistep of order four does so at high guidance; of the others, measured, none.
    """
    return isinstance(scheduler, diffusers.LMSDiscreteScheduler)


def draws_noise(scheduler: Any) -> bool:
    """Whether each step but the last adds noise of the row's own generator, one value per latent."""
    if isinstance(scheduler, diffusers.DPMSolverMultistepScheduler):
        return str(scheduler.config.algorithm_type).startswith("sde")
    return isinstance(scheduler, (diffusers.DDPMScheduler, diffusers.EulerAncestralDiscreteScheduler))
