"""Where the loop starts: the canvas, noise by seed, and the source picture of image-to-image."""

import io
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from provider.errors import GenerationFailed
from provider.inference.conditioning import Canvas, guidance_by_row, new_generators
from provider.inference.latents import compare_latents


@pytest.mark.parametrize(
    ("size", "factor", "canvas"),
    [
        ((512, 512), 8, Canvas(512, 512, 0, 0)),
        ((264, 312), 32, Canvas(288, 320, 12, 4)),
        ((256, 1000), 32, Canvas(256, 1024, 0, 12)),
    ],
)
def test_the_picture_lies_in_the_middle_of_the_canvas(
    tools: Any, size: tuple[int, int], factor: int, canvas: Canvas
) -> None:
    assert Canvas.around(tools.key(width=size[0], height=size[1]), factor) == canvas


def test_a_seed_draws_the_same_noise_whatever_its_neighbours(tools: Any) -> None:
    rows = [tools.row(seed=seed) for seed in (0, 2**63 - 1, 0)]
    first, second, third = (torch.randn(64, generator=generator) for generator in new_generators(rows))
    assert torch.equal(first, third)
    assert not torch.equal(first, second)


def test_guidance_is_not_rounded(tools: Any) -> None:
    guidance = guidance_by_row([tools.row(guidance=7.3), tools.row(guidance=1.1)], torch.device("cpu"))
    assert guidance.shape == (2, 1, 1, 1)
    assert guidance.dtype == torch.float32


def test_the_stronger_the_less_of_the_source_is_left_at_the_start(worker: Any, tools: Any) -> None:
    def first_latents(strength: float) -> bytes:
        row = tools.row(source_png=tools.source(), records_trajectory=True)
        return bytes(tools.run(worker, tools.key(strength=strength, steps=10), row).trajectory()[0])

    encoded = first_latents(0.0)
    distances = [compare_latents(encoded, first_latents(strength), "float32").relative for strength in (0.1, 0.5, 1.0)]
    assert distances == sorted(distances)
    # The embedded model's noise begins high: even its first time steps hide most of a picture.
    assert distances[0] < 0.8 * distances[2]


@pytest.mark.parametrize("strength", [0.0, 0.1])
def test_without_a_step_left_the_source_is_only_encoded_and_decoded(worker: Any, tools: Any, strength: float) -> None:
    source = tools.source()
    run = tools.run(worker, tools.key(strength=strength), tools.row(source_png=source, records_trajectory=True))
    assert run.steps == []
    assert len(run.trajectory()) == 1
    assert abs(run.picture() - tools.read_pixels(source)).mean() < 20


def test_a_source_between_the_models_own_steps_keeps_its_place(worker: Any, tools: Any) -> None:
    width, height = 264, 312
    source = tools.source(width, height)
    key = tools.key(width=width, height=height, strength=0.0)
    picture = tools.run(worker, key, tools.row(source_png=source)).picture()
    assert picture.shape == (height, width, 3)
    assert abs(picture - tools.read_pixels(source)).mean() < 20


def test_other_kinds_of_pictures_become_rgb(worker: Any, tools: Any) -> None:
    buffer = io.BytesIO()
    # White: the embedded model knows no grey.
    Image.new("LA", (256, 256), (250, 10)).save(buffer, format="PNG")
    run = tools.run(worker, tools.key(strength=0.0), tools.row(source_png=buffer.getvalue()))
    assert numpy.ptp(run.picture().mean(axis=(0, 1))) < 20


@pytest.mark.parametrize("kind", ["none", "text", "cut off", "too small", "too wide", "jpeg"])
def test_sources_that_are_none_are_refused(worker: Any, tools: Any, kind: str) -> None:
    jpeg = io.BytesIO()
    Image.new("RGB", (256, 256)).save(jpeg, format="JPEG")
    sources = {
        "none": None,
        "text": b"swordfish",
        "cut off": tools.source()[:200],
        "too small": tools.source(248, 256),
        "too wide": tools.source(288, 256),
        "jpeg": jpeg.getvalue(),
    }
    with pytest.raises(GenerationFailed) as caught:
        tools.run(worker, tools.key(strength=0.5), tools.row(source_png=sources[kind]))
    assert caught.value.reason == "bad_source_image"
