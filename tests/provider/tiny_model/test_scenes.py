"""Scenes look as they should: the judge recognises each drawn one, and its latents lie where the scheduler clips to."""

import torch

from provider.tiny_model.judge import UNSURE, judge
from provider.tiny_model.latents import COLOUR_CODES, LATENT_CHANNELS, SHAPE_CODES, latents_of
from provider.tiny_model.scenes import (
    COLOUR_NAMES,
    LABEL_COUNTS,
    SHAPES,
    Labels,
    Placement,
    aspect,
    draw,
    random_placement,
)


def some_labels(count: int) -> tuple[Labels, Placement]:
    source = torch.Generator().manual_seed(5)
    labels = Labels.random(count, source)
    return labels, random_placement(labels, source)


def test_the_judge_recognises_every_drawn_scene_with_its_position_and_size() -> None:
    labels, placement = some_labels(120)
    pictures = (draw(labels, placement, 256, 256) + 1) * 127.5
    for picture, scene in zip(pictures, labels.scenes(), strict=True):
        verdict = judge(picture)
        assert verdict.scene == scene, f"{verdict.scene} instead of {scene}"
        assert verdict.agrees(scene)


def test_the_judge_is_unsure_of_an_empty_picture() -> None:
    verdict = judge(torch.full((3, 64, 64), 250.0))
    assert verdict.scene.background == COLOUR_NAMES.index("white")
    assert verdict.scene.shape == verdict.scene.colour == UNSURE


def test_the_judge_is_unsure_of_speckles() -> None:
    labels, placement = some_labels(1)
    picture = ((draw(labels, placement, 128, 128) + 1) * 127.5)[0]
    colours = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(1)) * 255
    speckled = torch.where(torch.rand(128, 128, generator=torch.Generator().manual_seed(2)) < 0.4, colours, picture)
    assert not judge(speckled).agrees(labels.scenes()[0])


def test_a_scene_never_has_its_shape_in_the_background_s_colour() -> None:
    scenes = some_labels(2000)[0].scenes()
    assert all(scene.colour != scene.background for scene in scenes)
    seen = [
        {getattr(scene, name) for scene in scenes} for name in ("colour", "background", "shape", "position", "size")
    ]
    assert tuple(len(values) for values in seen) == LABEL_COUNTS


def test_latents_lie_in_the_range_that_the_scheduler_clips_to() -> None:
    labels, placement = some_labels(32)
    latents = latents_of(labels, placement, 16, 16)
    assert latents.shape == (32, LATENT_CHANNELS, 16, 16)
    assert float(latents.abs().max()) <= 1.0
    assert torch.equal(latents[:, :3, 0, 0], COLOUR_CODES[labels.colour])
    assert torch.equal(latents[:, 3:6, 0, 0], COLOUR_CODES[labels.background])


def test_the_sketch_names_the_shape_and_where_each_block_lies_in_it() -> None:
    labels, placement = some_labels(6)
    sketch = latents_of(labels, placement, 16, 16)[:, 10:]
    assert torch.equal(sketch[:, :3, 5, 5], SHAPE_CODES[labels.shape])
    nearest = sketch[:, 3].abs().amin((1, 2)), sketch[:, 4].abs().amin((1, 2))
    assert all(float(distance.max()) < 0.2 for distance in nearest)
    assert bool((sketch[:, 3, 0].diff() >= 0).all())
    assert bool((sketch[:, 4, :, 0].diff() >= 0).all())
    assert len({tuple(code) for code in SHAPE_CODES.tolist()}) == len(SHAPES)


def test_the_colours_are_the_corners_of_a_cube() -> None:
    assert {tuple(code) for code in COLOUR_CODES.tolist()} == {
        (red, green, blue) for red in (-1.0, 1.0) for green in (-1.0, 1.0) for blue in (-1.0, 1.0)
    }


def test_the_depth_is_positive_where_the_picture_shows_the_shape() -> None:
    labels, placement = some_labels(16)
    depth = torch.nn.functional.pixel_shuffle(latents_of(labels, placement, 16, 16)[:, 6:10], 2)[:, 0]
    picture = draw(labels, placement, 32, 32)
    background = draw(labels, Placement(placement.half_size, placement.x + 9, placement.y), 32, 32)
    shown = (picture - background).abs().sum(1) / (picture - background).abs().sum(1).amax((1, 2), keepdim=True)
    assert torch.equal(shown[depth.abs() > 0.6] > 0.5, depth[depth.abs() > 0.6] > 0)


def test_a_wide_canvas_is_not_stretched() -> None:
    labels, _ = some_labels(8)
    placement = random_placement(labels, torch.Generator().manual_seed(1), aspect(128, 256))
    assert draw(labels, placement, 128, 256).shape == (8, 3, 128, 256)
    assert latents_of(labels, placement, 8, 16).shape == (8, LATENT_CHANNELS, 8, 16)
