"""What the loop starts from: prompts as embeddings, one generator per row, and the first latents."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from provider.errors import GenerationFailed
from provider.generation import Batch, BatchKey, Row
from provider.inference.schedulers import Schedule


@dataclass(frozen=True)
class Canvas:
    """The pixels that are computed: at least as many as asked for, in whole steps of the model's own size."""

    width: int
    height: int
    left: int
    top: int
    """Where the picture that was asked for lies, in the middle."""

    @classmethod
    def around(cls, key: BatchKey, vae_scale_factor: int) -> "Canvas":
        """A model may work in steps larger than the API's 8 pixels."""
        width = math.ceil(key.width / vae_scale_factor) * vae_scale_factor
        height = math.ceil(key.height / vae_scale_factor) * vae_scale_factor
        return cls(width, height, (width - key.width) // 2, (height - key.height) // 2)


def new_generators(rows: Sequence[Row]) -> list[torch.Generator]:
    """One for each row, on the CPU: there a seed draws the same noise whatever the device is."""
    return [torch.Generator(device="cpu").manual_seed(row.seed) for row in rows]


def encode_prompts(pipeline: Any, rows: Sequence[Row], device: torch.device, *, is_guided: bool) -> torch.Tensor:
    """Embeddings of shape (rows, tokens, channels), those of the negative prompts before them where they count."""
    prompts, negatives = pipeline.encode_prompt(
        [row.prompt for row in rows],
        device,
        1,
        is_guided,
        [row.negative_prompt for row in rows],
    )
    embeddings: torch.Tensor = torch.cat([negatives, prompts]) if is_guided else prompts
    return embeddings


def guidance_by_row(rows: Sequence[Row], device: torch.device) -> torch.Tensor:
    """Shape (rows, 1, 1, 1), in single precision: in half it would round a guidance such as 7.3."""
    values = torch.tensor([row.guidance for row in rows], dtype=torch.float32)
    return values.view(-1, 1, 1, 1).to(device)


def first_latents(
    pipeline: Any,
    scheduler: Any,
    schedule: Schedule,
    canvas: Canvas,
    batch: Batch,
    generators: list[torch.Generator],
    like: torch.Tensor,
) -> torch.Tensor:
    """Shape (rows, channels, height, width), in the precision and on the device of `like`.

    Raises GenerationFailed(bad_source_image).
    """
    if batch.key.strength is None:
        return _noise_latents(pipeline, scheduler, canvas, generators, like)
    images = [_read_source(row.source_png or b"", canvas) for row in batch.rows]
    return _source_latents(pipeline, scheduler, schedule, images, generators, like)


def _noise_latents(
    pipeline: Any, scheduler: Any, canvas: Canvas, generators: list[torch.Generator], like: torch.Tensor
) -> torch.Tensor:
    factor = pipeline.vae_scale_factor
    shape = (len(generators), pipeline.unet.config.in_channels, canvas.height // factor, canvas.width // factor)
    noise: torch.Tensor = randn_tensor(shape, generator=generators, device=like.device, dtype=like.dtype)
    return noise * scheduler.init_noise_sigma


def _source_latents(
    pipeline: Any,
    scheduler: Any,
    schedule: Schedule,
    images: list[Image.Image],
    generators: list[torch.Generator],
    like: torch.Tensor,
) -> torch.Tensor:
    """The encoded sources, noised to where the schedule begins.

    Each row draws from its generator first a sample of the encoder's distribution, then the noise, as diffusers does.
    """
    pixels = pipeline.image_processor.preprocess(images).to(device=like.device, dtype=like.dtype)
    encoded = [
        pipeline.vae.encode(pixels[index : index + 1]).latent_dist.sample(generator)
        for index, generator in enumerate(generators)
    ]
    latents = pipeline.vae.config.scaling_factor * torch.cat(encoded)
    if schedule.evaluations == 0:
        return latents
    noise = randn_tensor(latents.shape, generator=generators, device=like.device, dtype=like.dtype)
    noised: torch.Tensor = scheduler.add_noise(latents, noise, schedule.timesteps[:1].repeat(len(generators)))
    return noised


def _read_source(png: bytes, canvas: Canvas) -> Image.Image:
    """The picture in the middle of the canvas; its outermost pixels are repeated up to the canvas's edge."""
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise GenerationFailed("the source image cannot be read", reason="bad_source_image") from error
    right, bottom = canvas.width - image.width - canvas.left, canvas.height - image.height - canvas.top
    if right not in (canvas.left, canvas.left + 1) or bottom not in (canvas.top, canvas.top + 1):
        raise GenerationFailed("the source image has another size than the picture", reason="bad_source_image")
    return _extend(image, canvas)


def _extend(image: Image.Image, canvas: Canvas) -> Image.Image:
    if image.size == (canvas.width, canvas.height):
        return image
    # A transform that reads each pixel of the canvas from the nearest one of the picture.
    columns = [min(max(x - canvas.left, 0), image.width - 1) for x in range(canvas.width)]
    rows = [min(max(y - canvas.top, 0), image.height - 1) for y in range(canvas.height)]
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3)
    return Image.fromarray(pixels[rows][:, columns].numpy())
