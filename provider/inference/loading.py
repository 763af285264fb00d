"""One model from its folder: loaded, checked, moved to its device."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from provider.errors import ModelUnavailable
from provider.generation import EMBEDDED_MODEL, PipelineOptions
from provider.inference import load_errors, weights
from provider.inference.denoising import Predict
from provider.inference.devices import ComputeDevice, is_out_of_memory
from provider.inference.finding import LEFT_OUT, estimate_bytes
from provider.inference.libraries import quieten_libraries
from provider.inference.unets import make_predict


@dataclass(frozen=True)
class LoadedModel:
    """A pipeline of diffusers on its device, whose parts the loop uses; nothing in it changes while it is used."""

    name: str
    pipeline: Any
    predict: Predict
    """The pipeline's UNet, as it is or compiled."""
    dtype: torch.dtype
    weights_sha256: str
    resident_bytes: int
    """What its weights take on the device."""
    is_embedded: bool

    @property
    def latent_channels(self) -> int:
        """4 for Stable Diffusion."""
        return int(self.pipeline.unet.config.in_channels)

    @property
    def scale_factor(self) -> int:
        """Pixels per latent in each direction: 8 for Stable Diffusion."""
        return int(self.pipeline.vae_scale_factor)


def load_model(
    name: str, folder: Path, options: PipelineOptions, device: ComputeDevice, dtype: torch.dtype
) -> LoadedModel:
    """Loads a folder that `find_folder` gave, on the device and ready.

    Raises ModelUnavailable: model_folder_incomplete, model_not_supported, model_too_large, unet_not_prepared.
    """
    quieten_libraries()
    source = options.models[name]
    pipeline = _from_folder(folder, dtype)
    _check_pipeline(pipeline, source)
    digest = weights.weights_sha256(folder)
    used_before_bytes = _allocated_bytes(device)
    try:
        pipeline.to(device.torch_device)
        if device.is_gpu:
            # Convolutions in half precision are fastest where the channels of a pixel lie together.
            pipeline.unet.to(memory_format=torch.channels_last)
            pipeline.vae.to(memory_format=torch.channels_last)
        predict = make_predict(pipeline, options, device)
    except Exception as error:  # torch names a failed allocation in several ways.
        if is_out_of_memory(error):
            raise load_errors.too_large(source, device.description.name) from error
        raise
    taken_bytes = _allocated_bytes(device) - used_before_bytes if device.is_gpu else estimate_bytes(folder, dtype)
    is_embedded = source == EMBEDDED_MODEL
    return LoadedModel(name, pipeline, predict, dtype, digest, taken_bytes, is_embedded=is_embedded)


def _from_folder(folder: Path, dtype: torch.dtype) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            pipeline = StableDiffusionPipeline.from_pretrained(
                str(folder),
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                requires_safety_checker=False,
                **LEFT_OUT,
            )
    except Exception as error:  # The libraries raise many types here; each means that this folder is unusable.
        raise load_errors.folder_error(folder, error) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _check_pipeline(pipeline: Any, source: str) -> None:
    """Refuses relatives of Stable Diffusion that need other inputs than a prompt, a timestep and the latents."""
    unet, latent_channels = pipeline.unet.config, pipeline.vae.config.latent_channels
    if (unet.in_channels, unet.out_channels) != (latent_channels, latent_channels):
        raise load_errors.not_supported(source, "has a UNet that takes or gives other channels than the latents'")
    if unet.time_cond_proj_dim is not None:
        raise load_errors.not_supported(source, "is distilled to take its guidance as an input")
    if unet.addition_embed_type not in (None, "text") or unet.class_embed_type is not None:
        raise load_errors.not_supported(source, "has a UNet that asks for more than a prompt")
    longest_tokens = pipeline.text_encoder.config.max_position_embeddings
    if pipeline.tokenizer.model_max_length > longest_tokens:
        message = f"{source} has a tokenizer without the text encoder's bound of {longest_tokens} tokens"
        raise ModelUnavailable(f"{message}: is tokenizer_config.json whole?", reason="model_folder_incomplete")
    if not hasattr(pipeline.scheduler, "alphas_cumprod"):
        raise load_errors.not_supported(source, f"is sampled by {type(pipeline.scheduler).__name__}")


def _allocated_bytes(device: ComputeDevice) -> int:
    return int(torch.cuda.memory_allocated(device.torch_device)) if device.is_gpu else 0
