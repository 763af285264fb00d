"""One step computed anew from the latents that a provider opened, so that a verifier can say how far apart they are.

Step k is the k-th evaluation of the UNet; trajectory entry 0 holds the latents before the first, entry k those after
step k. A one-step scheduler needs entry k-1 alone. A multistep one also needs earlier predictions, which are made anew
from the entries that they were made from: `entries_needed` says which.
"""

from collections.abc import Mapping
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
from provider.inference.latents import from_bytes, to_bytes
from provider.inference.loading import LoadedModel
from provider.inference.schedulers import (
    Schedule,
    draws_noise,
    first_evaluation_needed,
    new_scheduler,
    prepare_schedule,
)

MAX_BATCH_ROWS: Final = 64
"""More rows than any provider computes together; a profile may claim what it likes."""


def evaluations(model: LoadedModel, key: BatchKey, device: ComputeDevice) -> int:
    """How many steps a run of this kind has; its trajectory has one entry more."""
    scheduler = new_scheduler(key.scheduler, model.pipeline.scheduler)
    return prepare_schedule(scheduler, key.steps, key.strength, device.torch_device).evaluations


def entries_needed(model: LoadedModel, key: BatchKey, device: ComputeDevice, step: int) -> tuple[int, ...]:
    """Which entries of a trajectory must be opened to compute entry `step`: none for entry 0, which the seed gives.

    Raises GenerationFailed(bad_latents) for a step that such a run does not have.
    """
    _check_step(step, evaluations(model, key, device))
    if step == 0:
        return ()
    scheduler = new_scheduler(key.scheduler, model.pipeline.scheduler)
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
) -> bytes:
    """Entry `step` of the row's trajectory, computed anew from the entries that were opened.

    `batch_rows` as in the profile: the row is repeated so often, so that the libraries choose the kernels that they
    chose then. Raises GenerationFailed(bad_latents) where an entry is missing, of another size, or holds no numbers.
    """
    if not 1 <= batch_rows <= MAX_BATCH_ROWS:
        raise GenerationFailed(f"no batch has {batch_rows} rows", reason="bad_latents")
    scheduler = new_scheduler(key.scheduler, model.pipeline.scheduler)
    schedule = prepare_schedule(scheduler, key.steps, key.strength, device.torch_device)
    _check_step(step, schedule.evaluations)
    with torch.no_grad():
        run = _Rerun(model, device, Batch(key, (row,) * batch_rows), scheduler, schedule)
        latents = run.latents_after(step, opened) if step else run.first_latents()
    return to_bytes(latents[0])


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


def _check_step(step: int, evaluation_count: int) -> None:
    if not 0 <= step <= evaluation_count:
        raise GenerationFailed(f"this run has no step {step}", reason="bad_latents")


class _Rerun:
    """The parts of a run, put together from where the step in question needs them."""

    def __init__(
        self, model: LoadedModel, device: ComputeDevice, batch: Batch, scheduler: Any, schedule: Schedule
    ) -> None:
        self._model, self._device, self._batch = model, device, batch
        self._scheduler, self._schedule = scheduler, schedule
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
        denoising = Denoising(
            self._model.predict,
            self._scheduler,
            latents=entries[first - 1],
            embeddings=self._embeddings,
            guidance=self._guidance(),
            generators=self._generators,
        )
        for evaluation in range(first, step + 1):
            denoising.latents = entries[evaluation - 1]
            denoising.step(self._schedule.timesteps[evaluation - 1])
        return denoising.latents

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
        return latents.to(self._device.torch_device).expand(len(self._batch.rows), *shape).contiguous()
