"""What one must know to compute the same latents again."""

from collections.abc import Mapping
from functools import cache

import diffusers
import torch
import transformers

from provider.generation import ReproducibilityProfile
from provider.inference.devices import ComputeDevice
from provider.inference.latents import dtype_name
from provider.inference.loading import LoadedModel


def reproducibility_profile(
    model: LoadedModel,
    device: ComputeDevice,
    *,
    scheduler: object,
    batch_rows: int,
    latent_shape: tuple[int, ...],
) -> ReproducibilityProfile:
    """`latent_shape` is one row's: channels, height, width."""
    return ReproducibilityProfile(
        weights_sha256=model.weights_sha256,
        scheduler=type(scheduler).__name__,
        dtype=dtype_name(model.dtype),
        device_class=device.device_class,
        batch_rows=batch_rows,
        latent_shape=latent_shape,
        versions=_versions(),
    )


@cache
def _versions() -> Mapping[str, str]:
    return {
        "torch": str(torch.__version__),
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }
