"""Latents as bytes: what a trajectory keeps, what a receipt commits to, and how far two of them are apart."""

import math
import sys
from collections.abc import Sequence
from typing import Final

import torch

from chain.primitives import latents as pure_latents
from chain.primitives.latents import LatentDistance
from chain.primitives.rejection import Rejected
from provider.errors import GenerationFailed

BATCH_TOLERANCE: Final = {"float32": 1e-4, "float16": 5e-2, "bfloat16": 2e-1}
"""The relative distance that one seed's latents may have between a run alone and one in a batch, or between a step and
the same step computed anew: other kernels add in another order.

Measured on a CPU in single precision with the embedded model: after whole runs at most 2e-5 (LMS; the others 7e-6),
which moves no pixel by more than 1 of 255; after one step computed anew 1e-6. In half precision a CPU gives the same
bits; for a GPU the bounds are the rounding of 11 and 8 significant bits over some tens of steps, not measured yet.
"""


def dtype_name(dtype: torch.dtype) -> str:
    """`float32` for torch.float32, and so on."""
    return str(dtype).removeprefix("torch.")


def to_bytes(latents: torch.Tensor) -> bytes:
    """The values in order, little-endian, in the latents' own precision."""
    values = latents.detach().contiguous().cpu().view(torch.uint8).numpy()
    if sys.byteorder == "big":
        values = values.reshape(-1, latents.dtype.itemsize)[:, ::-1]
    return bytes(values.tobytes())


def trajectory_of_row(kept: Sequence[torch.Tensor], row_index: int) -> tuple[bytes, ...]:
    """One row of the latents that were kept of a batch; they leave the device in one piece."""
    together = torch.stack([latents[row_index] for latents in kept]).cpu()
    return tuple(to_bytes(latents) for latents in together)


def from_bytes(raw: bytes, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """The inverse, on the CPU. Raises GenerationFailed(bad_latents) for another size or values that are not finite."""
    if len(raw) != math.prod(shape) * dtype.itemsize:
        message = f"{len(raw)} bytes are no latents of shape {shape} in {dtype_name(dtype)}"
        raise GenerationFailed(message, reason="bad_latents")
    latents = _read(raw, dtype).view(shape)
    if not torch.isfinite(latents).all():
        raise GenerationFailed("the latents hold values that are not numbers", reason="bad_latents")
    return latents


def compare_latents(left: bytes, right: bytes, dtype: str, expected_rms: float = math.inf) -> LatentDistance:
    """`dtype` as a profile names it; `expected_rms` as `rerun.expected_rms` gives it for this entry.

    Without the latter, whoever made the first could make it huge, and so any difference small. Raises
    GenerationFailed(bad_latents) where the two cannot be compared.
    """
    try:
        return pure_latents.compare_latents(left, right, dtype, expected_rms)
    except Rejected as rejected:
        raise GenerationFailed(rejected.message, reason="bad_latents") from None


def root_mean_square(latents: torch.Tensor) -> float:
    """Over all values, in double precision: half precision's own squares overflow."""
    return math.sqrt(float(latents.double().square().mean()))


def _read(raw: bytes, dtype: torch.dtype) -> torch.Tensor:
    values = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
    if sys.byteorder == "big":
        values = values.view(-1, dtype.itemsize).flip(1).reshape(-1)
    return values.view(dtype)
