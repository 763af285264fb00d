"""Computers of the cheat bench: the embedded model on this CPU, in some precision, whole or impaired."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from PIL import Image

from chain.primitives.profiles import profile_object
from chain.primitives.worker_fields import PictureRun, Place, ProfileClaim
from provider.generation import (
    EMBEDDED_MODEL,
    Batch,
    BatchDone,
    BatchKey,
    Encoding,
    PipelineOptions,
    Row,
    StepCheck,
    StepsChecked,
)
from provider.inference.conditioning import Canvas
from provider.inference.decoding import crop, decode
from provider.inference.devices import choose_dtype, find_devices
from provider.inference.drawing import draw
from provider.inference.encoding import encode_picture
from provider.inference.finding import find_folder
from provider.inference.latents import from_bytes, to_bytes
from provider.inference.loading import LoadedModel, load_model
from provider.inference.worker import InferenceWorker
from tests.hub.verification.answering import Made


def key_of(run: PictureRun) -> BatchKey:
    """Of its rows."""
    return BatchKey(
        run.model, run.width, run.height, run.steps, run.scheduler, is_guided=run.guidance > 1, strength=None
    )


def row_of(run: PictureRun, index: int = 0) -> Row:
    """Picture `index`, with its latents recorded."""
    return Row(
        prompt=run.prompts[index if len(run.prompts) > 1 else 0],
        negative_prompt=run.negative_prompt,
        guidance=run.guidance,
        seed=run.seed_of(index),
        encoding=Encoding(run.image_format, run.quality),
        records_trajectory=True,
    )


class Machine:
    """`alter` changes the UNet after it was loaded."""

    def __init__(self, precision: str = "float32", alter: Callable[[Any], None] | None = None) -> None:
        self.options = PipelineOptions(device="cpu", precision=precision, cpu_threads=1)
        self.precision = precision
        self._device = find_devices(self.options)[0]
        self._alter = alter

    @cached_property
    def model(self) -> LoadedModel:
        """Loaded when it is first used."""
        torch.set_num_threads(1)
        dtype = choose_dtype(self.options, self._device, is_embedded=True)
        model = load_model(EMBEDDED_MODEL, find_folder(EMBEDDED_MODEL), self.options, self._device, dtype)
        if self._alter is not None:
            with torch.no_grad():
                self._alter(model.pipeline.unet)
        return model

    @cached_property
    def worker(self) -> InferenceWorker:
        """The provider's own, for computing steps again."""
        worker = InferenceWorker(self.options)
        worker.load()
        return worker

    def make(self, run: PictureRun, index: int = 0, *, company: int = 0, has_other_kernels: bool = False) -> Made:
        """One picture, in a batch with so many others; or by torch's own kernels, which add in another order than
        oneDNN's."""
        row = row_of(run, index)
        others = tuple(replace(row, seed=row.seed + 1_000 + number) for number in range(company))
        torch.backends.mkldnn.enabled = not has_other_kernels
        try:
            done = list(draw(self.model, Batch(key_of(run), (row, *others)), self._device))[-1]
        finally:
            torch.backends.mkldnn.enabled = True
        assert isinstance(done, BatchDone)
        entries = done.rows[0].trajectory
        assert entries is not None
        return Made(done.rows[0].picture, entries, claim_of(done.profile))

    def check(
        self,
        run: PictureRun,
        places: Sequence[Place],
        opened: Mapping[Place, bytes] | None,
        batch_rows: int,
        dtype: str | None = None,
    ) -> StepsChecked:
        """As a provider answers PlanCheck and CheckSteps."""
        return self.worker.check(
            StepCheck(
                key=key_of(run),
                rows=tuple(row_of(run, index) for index in range(run.count)),
                places=tuple((place.picture, place.step) for place in places),
                opened=None if opened is None else {(each.picture, each.step): raw for each, raw in opened.items()},
                batch_rows=batch_rows,
                dtype=dtype,
            )
        )

    def picture_of(self, run: PictureRun, latents: torch.Tensor) -> bytes:
        """What these last latents decode to."""
        canvas = Canvas.around(key_of(run), self.model.scale_factor)
        with torch.no_grad():
            pixels = decode(self.model, latents[None].to(self.model.dtype), self._device)
        return encode_picture(crop(pixels, canvas, run.width, run.height)[0], row_of(run).encoding)

    def encode(self, picture: bytes) -> torch.Tensor:
        """The latents of a picture: what a forger makes a run's end of."""
        with Image.open(io.BytesIO(picture)) as opened:
            image = opened.convert("RGB")
        vae = self.model.pipeline.vae
        pixels = self.model.pipeline.image_processor.preprocess(image).to(vae.dtype)
        with torch.no_grad():
            return vae.encode(pixels).latent_dist.mean[0] * vae.config.scaling_factor

    def tensor(self, entry: bytes, like: ProfileClaim) -> torch.Tensor:
        """An entry of a run as numbers."""
        return from_bytes(entry, like.latent_shape, self.model.dtype).float()

    def entry(self, values: torch.Tensor) -> bytes:
        """The inverse."""
        return to_bytes(values.to(self.model.dtype))

    def clean_shares(self, run: PictureRun) -> list[float]:
        """Of the clean picture in the variance of each entry."""
        from provider.inference.latent_size import rms_of_entries
        from provider.inference.schedulers import new_scheduler, prepare_schedule

        scheduler = new_scheduler(run.scheduler, self.model.pipeline.scheduler)
        schedule = prepare_schedule(scheduler, run.steps, None, self._device.torch_device)
        without = rms_of_entries(scheduler, schedule, 0.0)
        is_preserved = float(scheduler.init_noise_sigma) == 1
        return [1 - rms**2 if is_preserved else 1 / (1 + rms**2) for rms in without]

    def is_variance_preserved(self, run: PictureRun) -> bool:
        """Whether the run's scheduler scales the sum of picture and noise down."""
        from provider.inference.schedulers import new_scheduler, prepare_schedule

        scheduler = new_scheduler(run.scheduler, self.model.pipeline.scheduler)
        prepare_schedule(scheduler, run.steps, None, self._device.torch_device)
        return float(scheduler.init_noise_sigma) == 1


def claim_of(profile: Any) -> ProfileClaim:
    """A provider's profile as the message has it."""
    fields = profile_object(profile)
    return ProfileClaim(**{**fields, "latent_shape": tuple(fields["latent_shape"])})


def zero_half_of_the_channels(unet: Any) -> None:
    """A model of half the size: of each convolution inside, the filters with the smaller weights do nothing."""
    for name, module in unet.named_modules():
        if isinstance(module, torch.nn.Conv2d) and name not in ("conv_in", "conv_out"):
            strengths = module.weight.abs().mean(dim=(1, 2, 3))
            weak = strengths.argsort()[: len(strengths) // 2]
            module.weight[weak] = 0
            if module.bias is not None:
                module.bias[weak] = 0


def prune_half_of_the_weights(unet: Any) -> None:
    """The smaller half of each layer's weights is dropped, which loses much less."""
    for module in unet.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            bound = module.weight.abs().flatten().float().median()
            module.weight[module.weight.abs() < bound] = 0


def quantise_to_int8(unet: Any) -> None:
    """Each output channel's weights on 255 levels around zero, as usual for int8."""
    for module in unet.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            weights = module.weight.float()
            scale = weights.abs().amax(dim=tuple(range(1, weights.dim())), keepdim=True).clamp_min(1e-12) / 127
            module.weight.copy_((weights / scale).round().clamp(-127, 127) * scale)
