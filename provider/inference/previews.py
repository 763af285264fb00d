"""A small picture of what a step thinks the finished one will be.

Made from the predicted clean latents rather than the noisy ones, so that already the first steps show something. The
known latent space of Stable Diffusion 1.x and 2.x has a linear approximation to RGB, far cheaper than its VAE; other
models' latents are decoded by their VAE, averaged to a few latents first where the picture is large.
"""

from typing import Final

import torch
from torch.nn import functional

from provider.inference.denoising import Guess
from provider.inference.encoding import encode_preview
from provider.inference.loading import LoadedModel

MAX_SIDE_PIXELS: Final = 128

_SD_SCALING_FACTOR: Final = 0.18215
"""By which the VAE of Stable Diffusion 1.x and 2.x scales its latents; others with four channels scale otherwise."""

_SD_RGB_FACTORS: Final = (
    (0.298, 0.207, 0.208),
    (0.187, 0.286, 0.173),
    (-0.158, 0.189, 0.264),
    (-0.184, -0.271, -0.473),
)
"""Red, green and blue (-1 to 1) per latent channel: keturn's fit for Stable Diffusion 1.4, published at
https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204/2 and since used by many programs."""

_MAX_DECODED_LATENTS: Final = 16
"""Latents along the longer side that the VAE decodes for a preview."""


def make_preview(model: LoadedModel, guess: Guess, row_index: int) -> bytes:
    """A JPEG of at most MAX_SIDE_PIXELS; values that are not numbers come out black."""
    latents = _clean_latents(model, guess, row_index)
    is_known = model.latent_channels == 4 and abs(model.pipeline.vae.config.scaling_factor - _SD_SCALING_FACTOR) < 1e-4
    image = _approximate(latents) if is_known else _decode_small(model, latents)
    unit = torch.nan_to_num(image.float() * 0.5 + 0.5).clamp(0, 1)
    pixels = (unit * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
    return encode_preview(pixels, MAX_SIDE_PIXELS)


def _clean_latents(model: LoadedModel, guess: Guess, row_index: int) -> torch.Tensor:
    """The latents without noise that the prediction implies, shape (1, channels, height, width).

    What the UNet is given is always sqrt(a) x + sqrt(1 - a) noise, with a from the model's own noise schedule; it
    predicts the noise, or v = sqrt(a) noise - sqrt(1 - a) x, or x itself (Salimans and Ho, 2022, appendix D).
    """
    scheduler = model.pipeline.scheduler
    index = int(guess.timestep.clamp(0, len(scheduler.alphas_cumprod) - 1).round())
    alpha = float(scheduler.alphas_cumprod[index])
    signal, noise = max(alpha, 1e-4) ** 0.5, (1 - alpha) ** 0.5
    sample = guess.scaled_sample[row_index : row_index + 1].float()
    prediction = guess.prediction[row_index : row_index + 1].float()
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        return signal * sample - noise * prediction
    if kind == "epsilon":
        return (sample - noise * prediction) / signal
    return prediction


def _approximate(latents: torch.Tensor) -> torch.Tensor:
    """Shape (3, height, width), -1 to 1."""
    factors = torch.tensor(_SD_RGB_FACTORS, device=latents.device)
    return torch.einsum("chw,cr->rhw", latents[0], factors)


def _decode_small(model: LoadedModel, latents: torch.Tensor) -> torch.Tensor:
    """Shape (3, height, width), -1 to 1, at most _MAX_DECODED_LATENTS latents on the longer side."""
    longer = max(latents.shape[2:])
    if longer > _MAX_DECODED_LATENTS:
        size = [max(1, side * _MAX_DECODED_LATENTS // longer) for side in latents.shape[2:]]
        latents = functional.adaptive_avg_pool2d(latents, size)
    vae = model.pipeline.vae
    decoded: torch.Tensor = vae.decode(latents.to(model.dtype) / vae.config.scaling_factor, return_dict=False)[0]
    return decoded[0]
