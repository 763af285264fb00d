"""Previews look like the picture that they announce."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from provider.inference.denoising import Guess
from provider.inference.previews import MAX_SIDE_PIXELS, make_preview


def shrink(pixels: Any, size: tuple[int, int]) -> Any:
    image = Image.fromarray(pixels.astype(numpy.uint8)).resize(size, Image.Resampling.BILINEAR)
    return numpy.asarray(image).astype(int)


def open_preview(raw: bytes) -> Any:
    with Image.open(io.BytesIO(raw)) as image:
        assert image.format == "JPEG"
        assert max(image.size) <= MAX_SIDE_PIXELS
        return numpy.asarray(image).astype(int)


@pytest.mark.parametrize(("width", "height"), [(256, 256), (384, 256), (1024, 512)])
def test_the_last_preview_is_the_picture_made_small(worker: Any, tools: Any, width: int, height: int) -> None:
    key = tools.key(width=width, height=height, steps=8)
    run = tools.run(worker, key, tools.row(preview_every=4))
    first, last = (open_preview(run.steps[step - 1].previews[0]) for step in (4, 8))
    picture = shrink(run.picture(), (last.shape[1], last.shape[0]))
    assert abs(last - picture).mean() < 25
    # Not just any picture: one of another prompt is farther away.
    other = tools.run(worker, key, tools.row(prompt="a green triangle on a white background"))
    assert abs(last - shrink(other.picture(), (last.shape[1], last.shape[0]))).mean() > 60
    assert abs(first - picture).mean() < abs(first - (255 - picture)).mean()


@pytest.mark.parametrize("scheduler", ["euler", "heun", "unipc", "pndm", "dpmpp_2m_karras"])
def test_every_kind_of_scheduler_has_previews(worker: Any, tools: Any, scheduler: str) -> None:
    run = tools.run(worker, tools.key(scheduler=scheduler, steps=8), tools.row(preview_every=1))
    last = open_preview(run.steps[-1].previews[0])
    assert abs(last - shrink(run.picture(), (last.shape[1], last.shape[0]))).mean() < 30


def test_stable_diffusions_latents_need_no_vae(
    new_worker: Callable[..., Any], small_sd_folder: Path, tools: Any
) -> None:
    worker = new_worker(models={"small": str(small_sd_folder)})
    worker.load()
    model = worker._switch_to("small")
    decoded: list[int] = []
    model.pipeline.vae.decoder.register_forward_hook(lambda *_ignored: decoded.append(1))
    # The clean latents of a bright and of a dark picture, at a timestep almost without noise.
    latents = torch.stack([torch.tensor([2.0, 2.0, 0.0, -1.0]), torch.tensor([-2.0, -2.0, 0.0, 1.0])])
    sample = latents.view(2, 4, 1, 1).expand(2, 4, 32, 48)
    guess = Guess(sample, torch.zeros_like(sample), torch.tensor(0))
    bright, dark = (open_preview(make_preview(model, guess, index)) for index in (0, 1))
    assert bright.shape == dark.shape == (32, 48, 3)
    assert bright.mean() > 200
    assert dark.mean() < 50
    assert not decoded


def test_values_that_are_no_numbers_do_not_stop_a_job(embedded: Any) -> None:
    sample = torch.full((1, embedded.latent_channels, 8, 8), float("nan"))
    open_preview(make_preview(embedded, Guess(sample, sample, torch.tensor(999)), 0))
