"""How far rounding to a shorter precision moves a step: what a verifier in float32 judges half precision by.

It depends on the model, the prompt, the guidance, the scheduler and the step by a factor of fifty, so no constant is
both safe and sharp. The verifier therefore makes the very step twice, the second time with torch's own casts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import torch

from provider.generation import BatchKey, Row
from provider.inference.devices import ComputeDevice
from provider.inference.latents import compare_latents, from_bytes, to_bytes
from provider.inference.loading import LoadedModel
from provider.inference.rerun import rerun_step
from provider.inference.unets import PlainUnet

_SHORTER: Final = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def is_shorter(dtype: str | None, than: torch.dtype) -> bool:
    """Whether there is anything to measure: only float32 holds the values of the others."""
    return dtype in _SHORTER and than == torch.float32


def rounding_of_step(
    model: LoadedModel,
    device: ComputeDevice,
    key: BatchKey,
    row: Row,
    step: int,
    opened: Mapping[int, bytes],
    *,
    again: bytes,
    dtype: str,
    batch_rows: int = 1,
    expected_rms: Sequence[float],
) -> float:
    """The relative distance between `again`, the step that `rerun_step` gives in float32, and the same in `dtype`.

    Raises as `rerun_step`.
    """
    short = _SHORTER[dtype]
    # As whoever computes in it: latents of that precision go into the scheduler. A captured graph would keep its own.
    plain = replace(model, dtype=short, predict=PlainUnet(model.pipeline.unet))
    entries = {index: _rounded(raw, torch.float32, short) for index, raw in opened.items()}
    with torch.autocast(device.torch_device.type, dtype=short):
        raw = rerun_step(plain, device, key, row, step, entries, batch_rows=batch_rows, expected_rms=expected_rms)
    if len(raw) == len(again):  # Some schedulers go on in the longer one.
        raw = _rounded(raw, torch.float32, short)
    return compare_latents(_rounded(raw, short, torch.float32), again, "float32", expected_rms[step]).relative


def _rounded(raw: bytes, source: torch.dtype, target: torch.dtype) -> bytes:
    return to_bytes(from_bytes(raw, (len(raw) // source.itemsize,), source).to(target))
