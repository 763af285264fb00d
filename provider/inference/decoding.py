"""Latents to pixels."""

import torch

from provider.errors import GenerationFailed
from provider.inference import memory
from provider.inference.conditioning import Canvas
from provider.inference.devices import ComputeDevice
from provider.inference.encoding import Pixels
from provider.inference.loading import LoadedModel


def decode(model: LoadedModel, latents: torch.Tensor, device: ComputeDevice) -> torch.Tensor:
    """Bytes of shape (rows, height, width, 3) on the device.

    One by one: together they would take more memory for hardly less time, and so a row's pixels follow from its latents
    alone, whatever its batch was. In tiles where memory is too short for one picture; tiles overlap and are blended,
    which can move a pixel's value a little. Raises GenerationFailed(not_a_number).
    """
    vae = model.pipeline.vae
    if device.is_gpu and memory.decoding_bytes(model, *latents.shape[2:]) > memory.free_bytes(device):
        vae.enable_tiling()
    try:
        return torch.cat([_decode_part(model, part) for part in latents.split(1)])
    finally:
        vae.disable_tiling()


def _decode_part(model: LoadedModel, latents: torch.Tensor) -> torch.Tensor:
    """The arithmetic of diffusers' VaeImageProcessor, on the device: a quarter of the bytes then travel."""
    vae = model.pipeline.vae
    image = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
    if not torch.isfinite(image).all():
        # Half precision can overflow; the picture would be black and nobody should pay for it.
        raise GenerationFailed("the model produced values that are not numbers", reason="not_a_number")
    unit = (image * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float()
    return (unit * 255).round().to(torch.uint8)


def crop(pixels: torch.Tensor, canvas: Canvas, width: int, height: int) -> list[Pixels]:
    """The picture of the size asked for from the middle of each row, on the CPU."""
    window = pixels[:, canvas.top : canvas.top + height, canvas.left : canvas.left + width]
    if tuple(window.shape[1:3]) != (height, width):
        raise GenerationFailed("the model made a picture smaller than asked for", reason="wrong_size")
    return list(window.contiguous().cpu().numpy())
