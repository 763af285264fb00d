"""Latents to pixels: as diffusers does it, in parts where memory is short."""

from typing import Any

import numpy
import pytest
import torch

from provider.errors import GenerationFailed
from provider.generation import PipelineOptions
from provider.inference.conditioning import Canvas
from provider.inference.decoding import crop, decode
from provider.inference.devices import find_devices

CPU = find_devices(PipelineOptions(device="cpu"))[0]


def test_the_pixels_are_those_of_diffusers(embedded: Any) -> None:
    latents = torch.randn((2, embedded.latent_channels, 8, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = decode(embedded, latents, CPU).numpy()
        for index in range(2):
            part = latents[index : index + 1]
            image = embedded.pipeline.vae.decode(part / embedded.pipeline.vae.config.scaling_factor).sample
            expected = embedded.pipeline.image_processor.postprocess(image, output_type="pil")[0]
            assert numpy.array_equal(found[index], numpy.asarray(expected))


def test_what_is_no_number_is_no_picture(embedded: Any) -> None:
    latents = torch.zeros((2, embedded.latent_channels, 8, 8))
    latents[1, 0, 0, 0] = float("nan")
    with pytest.raises(GenerationFailed) as caught, torch.no_grad():
        decode(embedded, latents, CPU)
    assert caught.value.reason == "not_a_number"


def test_the_middle_is_cut_out() -> None:
    pixels = torch.arange(2 * 6 * 8 * 3).view(2, 6, 8, 3).to(torch.uint8)
    cropped = crop(pixels, Canvas(8, 6, 1, 2), 5, 3)
    assert [part.shape for part in cropped] == [(3, 5, 3)] * 2
    assert numpy.array_equal(cropped[1], pixels[1, 2:5, 1:6].numpy())
    with pytest.raises(GenerationFailed) as caught:
        crop(pixels, Canvas(8, 6, 1, 2), 8, 6)
    assert caught.value.reason == "wrong_size"
