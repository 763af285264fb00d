"""One batch from its rows to encoded pictures, as a generator that can be left between any two steps."""

from collections.abc import Iterator

import torch

from provider.errors import GenerationFailed
from provider.generation import Batch, BatchDone, BatchEvent, FinishedRow, StepDone
from provider.inference import conditioning, decoding
from provider.inference.conditioning import Canvas
from provider.inference.denoising import Denoising, Guess
from provider.inference.devices import ComputeDevice
from provider.inference.encoding import encode_pictures
from provider.inference.latents import trajectory_of_row
from provider.inference.loading import LoadedModel
from provider.inference.previews import make_preview
from provider.inference.profile import reproducibility_profile
from provider.inference.schedulers import new_scheduler, prepare_schedule
from provider.inference.stopwatch import Stopwatch, share_of_row


def draw(model: LoadedModel, batch: Batch, device: ComputeDevice) -> Iterator[BatchEvent]:
    """StepDone for every evaluation of the UNet, then BatchDone. Raises GenerationFailed and whatever torch raises.

    The time counted is the device's: prompts, steps, previews and decoding, but not the files' encoding, nor what
    the caller does between two steps.
    """
    stopwatch = Stopwatch(device)
    stopwatch.resume()
    drawing = Drawing(model, batch, device)
    for step, timestep in enumerate(drawing.schedule.timesteps, start=1):
        previews = drawing.advance(step, timestep)
        stopwatch.pause()
        yield StepDone(step, drawing.schedule.evaluations, previews)
        stopwatch.resume()
    pixels = drawing.decode()
    stopwatch.pause()
    yield drawing.finish(pixels, stopwatch.read_microseconds())


class Drawing:
    """A batch at work."""

    def __init__(self, model: LoadedModel, batch: Batch, device: ComputeDevice) -> None:
        if not batch.rows:
            raise GenerationFailed("a batch without rows", reason="empty_batch")
        self._model, self._batch, self._device = model, batch, device
        key = batch.key
        self._canvas = Canvas.around(key, model.scale_factor)
        self._scheduler = new_scheduler(key.scheduler, model.pipeline.scheduler)
        self.schedule = prepare_schedule(self._scheduler, key.steps, key.strength, device.torch_device)
        with torch.no_grad():
            self._denoising = self._begin()
        self._keeps_latents = any(row.records_trajectory for row in batch.rows)
        self._kept = [self._denoising.latents] if self._keeps_latents else []

    def _begin(self) -> Denoising:
        """The loop before its first step: prompts encoded, generators seeded, first latents drawn."""
        pipeline, rows = self._model.pipeline, self._batch.rows
        is_guided, target = self._batch.key.is_guided, self._device.torch_device
        embeddings = conditioning.encode_prompts(pipeline, rows, target, is_guided=is_guided)
        generators = conditioning.new_generators(rows)
        latents = conditioning.first_latents(
            pipeline, self._scheduler, self.schedule, self._canvas, self._batch, generators, embeddings
        )
        guidance = conditioning.guidance_by_row(rows, target) if is_guided else None
        return Denoising(
            self._model.predict,
            self._scheduler,
            latents=latents,
            embeddings=embeddings,
            guidance=guidance,
            generators=generators,
        )

    def advance(self, step: int, timestep: torch.Tensor) -> dict[int, bytes]:
        """One step; the previews that are due after it, by row."""
        with torch.no_grad():
            guess = self._denoising.step(timestep)
            if self._keeps_latents:
                self._kept.append(self._denoising.latents)
            return self._previews(step, guess)

    def _previews(self, step: int, guess: Guess) -> dict[int, bytes]:
        return {
            index: make_preview(self._model, guess, index)
            for index, row in enumerate(self._batch.rows)
            if row.preview_every > 0 and step % row.preview_every == 0
        }

    def decode(self) -> torch.Tensor:
        """The pictures as bytes of shape (rows, height, width, 3) on the device, uncropped."""
        with torch.no_grad():
            return decoding.decode(self._model, self._denoising.latents, self._device)

    def finish(self, pixels: torch.Tensor, compute_microseconds: int) -> BatchDone:
        """Crops and encodes."""
        key, rows = self._batch.key, self._batch.rows
        cropped = decoding.crop(pixels, self._canvas, key.width, key.height)
        pictures = encode_pictures(cropped, [row.encoding for row in rows])
        share = share_of_row(compute_microseconds, len(rows))
        finished = tuple(
            FinishedRow(
                picture=picture,
                compute_microseconds=share,
                trajectory=trajectory_of_row(self._kept, index) if row.records_trajectory else None,
            )
            for index, (row, picture) in enumerate(zip(rows, pictures, strict=True))
        )
        profile = reproducibility_profile(
            self._model,
            self._device,
            scheduler=self._scheduler,
            batch_rows=len(rows),
            latent_shape=tuple(self._denoising.latents.shape[1:]),
        )
        return BatchDone(finished, profile, self._device.description)
