"""One step computed anew from the latents that a provider opened, so that a verifier can say how far apart they are.

Step k is the k-th evaluation of the UNet; trajectory entry 0 holds the latents before the first, entry k those after
step k. A one-step scheduler needs entry k-1 alone. A multistep one also needs earlier predictions, which are made anew
from the entries that they were made from: `entries_needed` says which.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from diffusers.utils.torch_utils import randn_tensor

from provider.errors import GenerationFailed
from provider.generation import Batch, BatchKey, Row
from provider.inference import conditioning
from provider.inference.conditioning import Canvas
from provider.inference.decoding import crop, decode
from provider.inference.denoising import Denoising
from provider.inference.devices import ComputeDevice
from provider.inference.encoding import encode_picture
from provider.inference.latent_size import check_size, rms_of_entries
from provider.inference.latents import from_bytes, root_mean_square, to_bytes
from provider.inference.loading import LoadedModel
from provider.inference.schedulers import (
    Schedule,
    draws_noise,
    first_evaluation_needed,
    may_diverge,
    new_scheduler,
    prepare_schedule,
)

MAX_BATCH_ROWS: Final = 64
"""More rows than any provider computes together; a profile may claim what it likes."""

DRAFT_STEPS: Final = 10
"""Measured with two models, at guidance from 2.5 to 25: long runs are then at most twice as large as expected."""


def evaluations(model: LoadedModel, key: BatchKey, device: ComputeDevice) -> int:
    """How many steps a run of this kind has; its trajectory has one entry more."""
    return _prepare(model, device, key)[1].evaluations


def entries_needed(model: LoadedModel, key: BatchKey, device: ComputeDevice, step: int) -> tuple[int, ...]:
    """Which entries of a trajectory must be opened to compute entry `step`: none for entry 0, which the seed gives.

    Raises GenerationFailed(bad_latents) for a step that such a run does not have.
    """
    scheduler, schedule = _prepare(model, device, key)
    _check_step(step, schedule.evaluations)
    if step == 0:
        return ()
    return tuple(range(first_evaluation_needed(scheduler, step) - 1, step))


def rerun_step(
    model: LoadedModel,
    device: ComputeDevice,
    key: BatchKey,
    row: Row,
    step: int,
    opened: Mapping[int, bytes],
    *,
    batch_rows: int = 1,
    expected_rms: Sequence[float] | None = None,
) -> bytes:
    """Entry `step` of the row's trajectory, computed anew from the entries that were opened.

    `batch_rows` as in the profile: the row is repeated so often, so that the libraries choose the kernels that they
    chose then. With `expected_rms`, of every entry, opened ones of a size that no run has are refused. Raises
    GenerationFailed(bad_latents) for those, and where an entry is missing, of another shape, or holds no numbers.
    """
    if not 1 <= batch_rows <= MAX_BATCH_ROWS:
        raise GenerationFailed(f"no batch has {batch_rows} rows", reason="bad_latents")
    scheduler, schedule = _prepare(model, device, key)
    _check_step(step, schedule.evaluations)
    with torch.no_grad():
        run = _Rerun(model, device, Batch(key, (row,) * batch_rows), scheduler, schedule, expected_rms)
        latents = run.latents_after(step, opened) if step else run.first_latents()
    return to_bytes(latents[0])


def expected_rms(model: LoadedModel, device: ComputeDevice, key: BatchKey, row: Row) -> tuple[float, ...]:
    """The root mean square that each entry of such a run's trajectory has, the first to the last.

    How large finished latents are depends on the model, the prompt, the guidance and the source, and some schedulers
    overshoot on the way there; so a draft of the same request is made here, in few steps where that is enough. Raises
    GenerationFailed (not_a_number, and as a run).
    """
    scheduler, schedule = _prepare(model, device, key)
    draft_steps = key.steps if may_diverge(scheduler) else math.ceil(DRAFT_STEPS / (key.strength or 1))
    draft_key = replace(key, steps=min(key.steps, draft_steps))
    draft_scheduler, draft_schedule = _prepare(model, device, draft_key)
    with torch.no_grad():
        draft = _Rerun(model, device, Batch(draft_key, (row,)), draft_scheduler, draft_schedule)
        found = [root_mean_square(latents) for latents in draft.all_latents()]
    if not all(math.isfinite(rms) and rms > 0 for rms in found):
        raise GenerationFailed("the model's own draft holds values that are not numbers", reason="not_a_number")
    by_noise_alone = rms_of_entries(draft_scheduler, draft_schedule, found[-1])
    overshoot = max(entry / expected for entry, expected in zip(found, by_noise_alone, strict=True))
    return tuple(max(1.0, overshoot) * rms for rms in rms_of_entries(scheduler, schedule, found[-1]))


def picture_of(model: LoadedModel, device: ComputeDevice, key: BatchKey, row: Row, latents: bytes) -> bytes:
    """The encoded picture of a run's last latents; text-to-image's is the artifact itself on the same hardware.

    Raises GenerationFailed: bad_latents, not_a_number.
    """
    canvas = Canvas.around(key, model.scale_factor)
    values = from_bytes(latents, latent_shape(model, canvas), model.dtype).to(device.torch_device)
    with torch.no_grad():
        pixels = decode(model, values[None], device)
    return encode_picture(crop(pixels, canvas, key.width, key.height)[0], row.encoding)


def latent_shape(model: LoadedModel, canvas: Canvas) -> tuple[int, int, int]:
    """Channels, height and width of one row's latents."""
    return model.latent_channels, canvas.height // model.scale_factor, canvas.width // model.scale_factor


def _prepare(model: LoadedModel, device: ComputeDevice, key: BatchKey) -> tuple[Any, Schedule]:
    """A fresh scheduler, set up for a run of this kind."""
    scheduler = new_scheduler(key.scheduler, model.pipeline.scheduler)
    return scheduler, prepare_schedule(scheduler, key.steps, key.strength, device.torch_device)


def _check_step(step: int, evaluation_count: int) -> None:
    if not 0 <= step <= evaluation_count:
        raise GenerationFailed(f"this run has no step {step}", reason="bad_latents")


class _Rerun:
    """The parts of a run, put together from where the step in question needs them."""

    def __init__(
        self,
        model: LoadedModel,
        device: ComputeDevice,
        batch: Batch,
        scheduler: Any,
        schedule: Schedule,
        expected_rms: Sequence[float] | None = None,
    ) -> None:
        self._model, self._device, self._batch = model, device, batch
        self._scheduler, self._schedule = scheduler, schedule
        self._expected_rms = expected_rms
        self._canvas = Canvas.around(batch.key, model.scale_factor)
        self._generators = conditioning.new_generators(batch.rows)
        self._embeddings = conditioning.encode_prompts(
            model.pipeline, batch.rows, device.torch_device, is_guided=batch.key.is_guided
        )

    def first_latents(self) -> torch.Tensor:
        """Entry 0; the generators then stand where they stood before the first step."""
        return conditioning.first_latents(
            self._model.pipeline,
            self._scheduler,
            self._schedule,
            self._canvas,
            self._batch,
            self._generators,
            self._embeddings,
        )

    def latents_after(self, step: int, opened: Mapping[int, bytes]) -> torch.Tensor:
        first = first_evaluation_needed(self._scheduler, step)
        entries = {index: self._read(opened, index) for index in range(first - 1, step)}
        if draws_noise(self._scheduler):
            self.first_latents()
            for _ in range(first - 1):
                self._draw_like(entries[first - 1])
        if first > 1 and hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(self._schedule.begin + first - 1)
        denoising = self._denoising(entries[first - 1])
        for evaluation in range(first, step + 1):
            denoising.latents = entries[evaluation - 1]
            denoising.step(self._schedule.timesteps[evaluation - 1])
        return denoising.latents

    def all_latents(self) -> Iterator[torch.Tensor]:
        """Every entry of the whole run, without anything that was opened."""
        denoising = self._denoising(self.first_latents())
        yield denoising.latents
        for timestep in self._schedule.timesteps:
            denoising.step(timestep)
            yield denoising.latents

    def _denoising(self, latents: torch.Tensor) -> Denoising:
        return Denoising(
            self._model.predict,
            self._scheduler,
            latents=latents,
            embeddings=self._embeddings,
            guidance=self._guidance(),
            generators=self._generators,
        )

    def _guidance(self) -> torch.Tensor | None:
        if not self._batch.key.is_guided:
            return None
        return conditioning.guidance_by_row(self._batch.rows, self._device.torch_device)

    def _draw_like(self, latents: torch.Tensor) -> None:
        """Draws what a step drew, so that the generators move on."""
        randn_tensor(latents.shape, generator=self._generators, device=latents.device, dtype=latents.dtype)

    def _read(self, opened: Mapping[int, bytes], index: int) -> torch.Tensor:
        if index not in opened:
            raise GenerationFailed(f"the latents of step {index} were not opened", reason="bad_latents")
        shape = latent_shape(self._model, self._canvas)
        latents = from_bytes(opened[index], shape, self._model.dtype)
        if self._expected_rms is not None:
            check_size(latents, self._expected_rms[index], index)
        return latents.to(self._device.torch_device).expand(len(self._batch.rows), *shape).contiguous()
