"""The scenes that the tiny model knows: captions, shapes as coverage masks, and the latents defined from them.

Colours are in -1 to 1; coordinates in half-canvas units with y down; a mask holds each pixel's coverage, 0 to 1.
"""

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 160, 60),
    "blue": (40, 70, 220),
    "yellow": (250, 215, 30),
    "orange": (250, 125, 20),
    "purple": (130, 40, 180),
    "white": (250, 250, 250),
    "black": (15, 15, 15),
}
COLOUR_NAMES = list(COLOURS)
SHAPES = ["circle", "square", "triangle", "star", "diamond", "cross"]
PALETTE = torch.tensor([COLOURS[name] for name in COLOUR_NAMES], dtype=torch.float32) / 127.5 - 1
CAPTION_TEMPLATES = [
    "a {colour} {shape} on a {background} background",
    "a {colour} {shape} on {background}",
    "{colour} {shape} on a {background} background",
    "a picture of a {colour} {shape} on a {background} background",
    "a {colour} {shape} on the {background} background",
    "{colour} {shape}, {background} background",
    "a {colour} {shape} with a {background} background",
    "a {background} background with a {colour} {shape}",
    "{colour} {shape} on {background}",
]
_GRAMMAR = ["a", "an", "the", "in", "on", "at", "of", "to", "and", "with"]
_PICTURES = ["picture", "photo", "image", "drawing", "background"]
_PLACES_AND_SIZES = ["center", "left", "right", "top", "bottom", "small", "big", "large"]
WORDS = sorted({*COLOUR_NAMES, *SHAPES, *_GRAMMAR, *_PICTURES, *_PLACES_AND_SIZES})

HALF_SIZE_RANGE = (0.48, 0.72)
POSITION_JITTER = 0.07
MASK_OFFSET = 0.5
LATENT_CHANNELS = 7


@dataclass(frozen=True)
class Scene:
    """Indices into COLOUR_NAMES and SHAPES."""

    colour: int
    background: int
    shape: int

    def caption(self, template: int = 0) -> str:
        """The scene in words."""
        return CAPTION_TEMPLATES[template].format(
            colour=COLOUR_NAMES[self.colour], background=COLOUR_NAMES[self.background], shape=SHAPES[self.shape]
        )


def random_scenes(count: int, seed: int = 123) -> list[Scene]:
    """The same scenes for the same seed, shape and background never of one colour."""
    source = random.Random(seed)
    scenes = []
    for _ in range(count):
        colour, background = source.sample(range(len(COLOUR_NAMES)), 2)
        scenes.append(Scene(colour, background, source.randrange(len(SHAPES))))
    return scenes


def _distance(shape: int, x: Tensor, y: Tensor) -> Tensor:
    """A distance-like field of a shape of half-size 1: negative inside."""
    across, along = x.abs(), y.abs()
    match SHAPES[shape]:
        case "circle":
            return (x * x + y * y).sqrt() - 0.95
        case "square":
            return torch.maximum(across, along) - 0.82
        case "triangle":
            return torch.maximum(y - 0.75, across * 0.8660254 - (y + 1.0) * 0.46)
        case "star":
            return _star_distance(x, y)
        case "diamond":
            return (across + along - 1.08) * 0.7071
        case _:
            upright = torch.maximum(across - 0.32, along - 0.95)
            return torch.minimum(torch.maximum(across - 0.95, along - 0.32), upright)


def _star_distance(x: Tensor, y: Tensor) -> Tensor:
    """Five points of radius 1.06 with valleys of radius 0.45: the plane is folded onto half a point."""
    sector = 2 * math.pi / 5
    angle = torch.atan2(x, -y)
    folded = (torch.remainder(angle + sector / 2, sector) - sector / 2).abs()
    radius = (x * x + y * y).sqrt()
    out_x, out_y = radius * torch.cos(folded), radius * torch.sin(folded)
    edge_x = 0.45 * math.cos(sector / 2) - 1.06
    edge_y = 0.45 * math.sin(sector / 2)
    return ((out_x - 1.06) * edge_y - out_y * edge_x) / math.hypot(edge_x, edge_y)


@dataclass(frozen=True)
class Placement:
    """Half-sizes and positions of a batch of shapes, each of shape [batch]."""

    half_size: Tensor
    x: Tensor
    y: Tensor


def random_placement(count: int, generator: "torch.Generator | None" = None) -> Placement:
    """Sizes and places as in the training data."""
    uniform = torch.rand(3, count, generator=generator)
    low, high = HALF_SIZE_RANGE
    return Placement(
        low + (high - low) * uniform[0],
        (uniform[1] * 2 - 1) * POSITION_JITTER,
        (uniform[2] * 2 - 1) * POSITION_JITTER,
    )


def draw_masks(
    shape: int, placement: Placement, size: int, *, left: int = 0, top: int = 0, canvas: int | None = None
) -> Tensor:
    """Masks [batch, size, size] of the window at (left, top) of a square canvas of `canvas` pixels."""
    canvas = canvas or size
    grid = torch.arange(size) + 0.5
    rows, columns = torch.meshgrid((grid + top) / canvas * 2 - 1, (grid + left) / canvas * 2 - 1, indexing="ij")
    half_size, x, y = (values.view(-1, 1, 1) for values in (placement.half_size, placement.x, placement.y))
    distance = _distance(shape, (columns - x) / half_size, (rows - y) / half_size)
    return (0.5 - distance * half_size * canvas / 2).clamp(0, 1)


def latents_of(quadrant_masks: Tensor, colour: Tensor, background: Tensor) -> Tensor:
    """Latents [batch, 7, h, w] from masks [batch, 2h, 2w] and colours [batch, 3]."""
    coverage = functional.avg_pool2d(quadrant_masks[:, None], 2)
    blocks = background.view(-1, 3, 1, 1) + (colour - background).view(-1, 3, 1, 1) * coverage
    quadrants = 2 * (functional.pixel_unshuffle(quadrant_masks[:, None], 2) - MASK_OFFSET)
    return torch.cat([blocks, quadrants], 1)


def make_mask_bank(count_per_shape: int = 2048, seed: int = 0) -> Tensor:
    """Quadrant masks [6, count, 32, 32] drawn once, so that training only picks from them."""
    generator = torch.Generator().manual_seed(seed)
    banks = []
    for shape in range(len(SHAPES)):
        chunks = []
        for _ in range(0, count_per_shape, 256):
            masks = draw_masks(shape, random_placement(256, generator), 128)
            chunks.append(functional.avg_pool2d(masks[:, None], 4)[:, 0])
        banks.append(torch.cat(chunks))
    return torch.stack(banks)
