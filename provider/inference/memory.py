"""How much fits: rows of a batch, pictures decoded at once, models kept loaded; and letting go after memory ran out.

The estimates are arithmetic over the model's own configuration, checked for Stable Diffusion 1.5 at 512 by 512 in half
precision (2 bytes a value), and meant to be too high rather than too low:

- weights: (860 + 123 + 84) million values = 2.0 GiB;
- a step holds, per latent pixel and per half of the guidance, about 25 times the first block's 320 channels: the
  feed-forward's gated projection (8 + 4 + 4), the skip connections (5), a block's inputs and outputs (4); with half as
  much again for workspaces and fragmentation: 2 halves x 65 x 65 x 25 x 320 x 2 bytes x 1.5 = 0.19 GiB a row;
- decoding holds, per pixel, about 6 copies of the widest layer at full size, which has the second block's 256
  channels: 262,144 x 6 x 256 x 2 bytes = 0.75 GiB a picture. Attention adds nothing that grows with the square (SDPA).

So a card of 6 GiB, of which CUDA and a desktop take 1, has (6 - 1 - 2.0 - 0.75) / 0.19 = 11 rows of room at 512 by 512
when pictures are decoded one by one; at 1024 by 1024 one picture's decoding (3 GiB) just does not fit and is tiled.
"""

import contextlib
import os
from typing import Any, Final

import torch

from provider.generation import BatchKey
from provider.inference.devices import ComputeDevice
from provider.inference.loading import LoadedModel

_STEP_COPIES: Final = 25 * 1.5
_DECODING_COPIES: Final = 6
_KEPT_FOR_MODELS: Final = 0.9
"""Of a GPU's memory, where the operator sets no bound; the rest is the least that one picture needs to be made."""

_RAM_FOR_MODELS: Final = 0.5
_RAM_FOR_BATCHES: Final = 0.25


def step_bytes(model: LoadedModel, key: BatchKey) -> int:
    """What one row takes while the UNet computes a step."""
    latent_pixels = (key.width // model.scale_factor + 1) * (key.height // model.scale_factor + 1)
    halves = 2 if key.is_guided else 1
    channels = model.pipeline.unet.config.block_out_channels[0]
    return int(halves * latent_pixels * channels * _STEP_COPIES * model.dtype.itemsize)


def decoding_bytes(model: LoadedModel, latent_height: int, latent_width: int) -> int:
    """What one picture takes while the VAE decodes it."""
    pixels = latent_height * latent_width * model.scale_factor**2
    channels = model.pipeline.vae.config.block_out_channels
    return int(pixels * _DECODING_COPIES * channels[min(1, len(channels) - 1)] * model.dtype.itemsize)


def rows_that_fit(model: LoadedModel, key: BatchKey, free_bytes: int) -> int:
    """The most rows of this kind in so much free memory, pictures being decoded one by one; at least 1."""
    factor = model.scale_factor
    one_picture = decoding_bytes(model, key.height // factor + 1, key.width // factor + 1)
    return max(1, (free_bytes - one_picture) // step_bytes(model, key))


def free_bytes(device: ComputeDevice) -> int:
    """What a batch may use now: on a GPU what is free and what torch keeps in reserve, else a part of the RAM."""
    if not device.is_gpu:
        return int(_ram_bytes() * _RAM_FOR_BATCHES)
    free, _total = torch.cuda.mem_get_info(device.torch_device)
    in_reserve = torch.cuda.memory_reserved(device.torch_device) - torch.cuda.memory_allocated(device.torch_device)
    return int(free) + int(in_reserve)


def models_limit_bytes(device: ComputeDevice, limit_mib: int) -> int:
    """What all loaded models may take together: the operator's bound, or a share of the device's memory."""
    if limit_mib:
        return limit_mib * 2**20
    if device.is_gpu:
        return int(device.description.vram_mib * 2**20 * _KEPT_FOR_MODELS)
    return int(_ram_bytes() * _RAM_FOR_MODELS)


def _ram_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def release(device: ComputeDevice, error: BaseException) -> None:
    """Lets go of what a failed batch held, so that a smaller one finds room: its tensors hang on the traceback."""
    _clear_frames(error)
    if device.is_gpu:
        torch.cuda.empty_cache()


def _clear_frames(error: BaseException) -> None:
    traceback: Any = error.__traceback__
    while traceback is not None:
        # A frame that still runs, which is ours, cannot be cleared.
        with contextlib.suppress(RuntimeError):
            traceback.tb_frame.clear()
        traceback = traceback.tb_next
