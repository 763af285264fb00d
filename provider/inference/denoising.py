"""The loop of diffusers' Stable Diffusion pipeline, one step at a time, each row with its own guidance and generator.

For one row on one device its latents are, bit for bit, those of `StableDiffusionPipeline.__call__`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Predict = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""The UNet: scaled latents, timestep and embeddings of the same number of rows -> prediction of the latents' shape."""


@dataclass(frozen=True)
class Guess:
    """What a step thought the finished latents are, by row: what a preview is made of."""

    scaled_sample: torch.Tensor
    prediction: torch.Tensor
    timestep: torch.Tensor


class Denoising:
    """One run of the loop. `latents` of shape (rows, channels, height, width) change with each `step`."""

    def __init__(
        self,
        predict: Predict,
        scheduler: Any,
        *,
        latents: torch.Tensor,
        embeddings: torch.Tensor,
        guidance: torch.Tensor | None,
        generators: list[torch.Generator],
    ) -> None:
        self._predict = predict
        self._scheduler = scheduler
        self._embeddings = embeddings
        self._guidance = guidance
        """By row, shape (rows, 1, 1, 1); None where the unconditional half is not computed at all."""
        self._step_options = _step_options(scheduler, generators)
        self.latents = latents

    def step(self, timestep: torch.Tensor) -> Guess:
        """One evaluation of the UNet and the scheduler's step; replaces `latents`."""
        is_guided = self._guidance is not None
        doubled = torch.cat([self.latents] * 2) if is_guided else self.latents
        scaled = self._scheduler.scale_model_input(doubled, timestep)
        prediction = self._predict(scaled, timestep, self._embeddings)
        if self._guidance is not None:
            prediction = _guide(prediction, self._guidance)
        row_count = len(self.latents)
        self.latents = self._scheduler.step(
            prediction, timestep, self.latents, **self._step_options, return_dict=False
        )[0]
        return Guess(scaled[:row_count], prediction, timestep)


def _guide(prediction: torch.Tensor, guidance: torch.Tensor) -> torch.Tensor:
    """Classifier-free guidance by row. The product is made in single precision and then rounded, as torch does it
    for a plain number times a tensor of half precision."""
    unconditional, conditional = prediction.chunk(2)
    return unconditional + (guidance * (conditional - unconditional)).to(prediction.dtype)


def _step_options(scheduler: Any, generators: list[torch.Generator]) -> dict[str, Any]:
    """Schedulers differ in what their `step` takes."""
    accepted = inspect.signature(scheduler.step).parameters
    options: dict[str, Any] = {"eta": 0.0} if "eta" in accepted else {}
    if "generator" in accepted:
        # A list of one would be as good, but some schedulers only unwrap it on a CPU.
        options["generator"] = generators if len(generators) > 1 else generators[0]
    return options
