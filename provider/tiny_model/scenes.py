"""The scenes that the tiny model knows: one shape of one colour on another, at one of nine places, in three sizes.

Coordinates are in units of half the shorter side, from the middle, with y down. A field holds each point's depth
inside the shape: positive inside, zero on the edge.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

COLOURS: Final = {
    "red": (220, 30, 30),
    "green": (30, 160, 60),
    "blue": (40, 70, 220),
    "yellow": (250, 215, 30),
    "orange": (250, 125, 20),
    "purple": (130, 40, 180),
    "white": (250, 250, 250),
    "black": (15, 15, 15),
}
COLOUR_NAMES: Final = list(COLOURS)
PALETTE: Final = torch.tensor([COLOURS[name] for name in COLOUR_NAMES], dtype=torch.float32) / 127.5 - 1
SHAPES: Final = ["circle", "square", "triangle", "star", "diamond", "cross"]
POSITIONS: Final = {
    "centre": (0, 0),
    "left": (-1, 0),
    "right": (1, 0),
    "top": (0, -1),
    "bottom": (0, 1),
    "top left": (-1, -1),
    "top right": (1, -1),
    "bottom left": (-1, 1),
    "bottom right": (1, 1),
}
POSITION_NAMES: Final = list(POSITIONS)
SIZES: Final = {"small": (0.27, 0.32), "medium": (0.42, 0.49), "big": (0.64, 0.73)}
"""Ranges of a shape's half-size."""

SIZE_NAMES: Final = list(SIZES)
OFFSET: Final = 0.5
"""How far from the middle "left" is, as a share of half the canvas's side in that direction."""

OFFSET_JITTER: Final = 0.04
_REACH: Final = 0.96
"""No shape's half-size reaches farther out than this, so a big one goes less far to the left than a small one."""


@dataclass(frozen=True)
class Scene:
    """Indices into COLOUR_NAMES (twice), SHAPES, POSITION_NAMES and SIZE_NAMES."""

    colour: int
    background: int
    shape: int
    position: int = 0
    size: int = 1

    def __str__(self) -> str:
        return (
            f"{SIZE_NAMES[self.size]} {COLOUR_NAMES[self.colour]} {SHAPES[self.shape]} "
            f"on {COLOUR_NAMES[self.background]}, {POSITION_NAMES[self.position]}"
        )


LABEL_COUNTS: Final = (len(COLOURS), len(COLOURS), len(SHAPES), len(POSITIONS), len(SIZES))
"""How many values each of a scene's five labels has."""


@dataclass(frozen=True)
class Labels:
    """A batch of scenes: each of shape [batch], the indices of a Scene."""

    colour: Tensor
    background: Tensor
    shape: Tensor
    position: Tensor
    size: Tensor

    @staticmethod
    def of(scenes: list[Scene]) -> "Labels":
        """The scenes as a batch."""
        rows = [(scene.colour, scene.background, scene.shape, scene.position, scene.size) for scene in scenes]
        return Labels(*torch.tensor(rows).unbind(1))

    @staticmethod
    def random(count: int, generator: torch.Generator) -> "Labels":
        """Every scene equally likely, shape and background never of one colour."""
        colour, step, shape, position, size = (
            torch.randint(low, high, (count,), generator=generator)
            for low, high in zip((0, 1, 0, 0, 0), LABEL_COUNTS, strict=True)
        )
        return Labels(colour, (colour + step) % len(COLOURS), shape, position, size)

    def chosen(self, numbers: Tensor) -> "Labels":
        """The scenes of these numbers."""
        return Labels(*(values[numbers] for values in vars(self).values()))

    def scenes(self) -> list[Scene]:
        """The batch as single scenes."""
        return [Scene(*row) for row in torch.stack(list(vars(self).values()), 1).tolist()]


@dataclass(frozen=True)
class Placement:
    """Half-sizes and middles of a batch of shapes, each of shape [batch]."""

    half_size: Tensor
    x: Tensor
    y: Tensor


def aspect(height: int, width: int) -> tuple[float, float]:
    """Half the height and half the width of a canvas in units of half its shorter side."""
    shorter = min(height, width)
    return height / shorter, width / shorter


def random_placement(
    labels: Labels, generator: torch.Generator, half_extent: tuple[float, float] = (1, 1), *, spread: float = 1.0
) -> Placement:
    """Where the shapes of these scenes may lie on a canvas of this half height and half width.

    `spread` is the share of the ranges of sizes and places, around their middles, that is made use of.
    """
    ranges = torch.tensor(list(SIZES.values()))[labels.size]
    uniform = 0.5 + spread * (torch.rand(3, len(labels.size), generator=generator) - 0.5)
    half_size = ranges[:, 0] + (ranges[:, 1] - ranges[:, 0]) * uniform[0]
    directions = torch.tensor(list(POSITIONS.values()))[labels.position]
    middles = []
    for axis, extent in ((0, half_extent[1]), (1, half_extent[0])):
        middle = extent * (directions[:, axis] * OFFSET + (uniform[1 + axis] * 2 - 1) * OFFSET_JITTER)
        limit = extent - 1 + (_REACH - half_size)
        middles.append(middle.clamp(-limit, limit))
    return Placement(half_size, *middles)


def _depth(shape: str, x: Tensor, y: Tensor) -> Tensor:
    """The depth inside a shape of half-size 1 around the origin."""
    across, along = x.abs(), y.abs()
    match shape:
        case "circle":
            return 0.95 - (x * x + y * y).sqrt()
        case "square":
            return 0.82 - torch.maximum(across, along)
        case "triangle":
            return -torch.maximum(y - 0.75, across * 0.8660254 - (y + 1.0) * 0.46)
        case "star":
            return _star_depth(x, y)
        case "diamond":
            return (1.0 - across - along) * math.sqrt(0.5)
        case _:
            upright = torch.maximum(across - 0.31, along - 0.95)
            return -torch.minimum(torch.maximum(across - 0.95, along - 0.31), upright)


def _star_depth(x: Tensor, y: Tensor) -> Tensor:
    """Five points of radius 1.02 with valleys of radius 0.43: the plane is folded onto half a point."""
    tip, valley, sector = 1.02, 0.43, 2 * math.pi / 5
    angle = torch.atan2(x, -y)
    folded = (torch.remainder(angle + sector / 2, sector) - sector / 2).abs()
    radius = (x * x + y * y).sqrt()
    out_x, out_y = radius * torch.cos(folded), radius * torch.sin(folded)
    edge_x = valley * math.cos(sector / 2) - tip
    edge_y = valley * math.sin(sector / 2)
    return -((out_x - tip) * edge_y - out_y * edge_x) / math.hypot(edge_x, edge_y)


def depth_field(shape: Tensor, placement: Placement, rows: Tensor, columns: Tensor) -> Tensor:
    """Fields [batch, height, width] of shapes [batch] at rows and columns, each [height] or [batch, height]."""
    half_size, x, y = (values.view(-1, 1, 1) for values in (placement.half_size, placement.x, placement.y))
    across = (columns.expand(len(shape), -1)[:, None, :] - x) / half_size
    along = (rows.expand(len(shape), -1)[:, :, None] - y) / half_size
    across, along = torch.broadcast_tensors(across, along)
    field = torch.empty_like(across)
    for number, name in enumerate(SHAPES):
        chosen = shape == number
        if chosen.any():
            field[chosen] = _depth(name, across[chosen], along[chosen])
    return field * half_size


def middles_of_cells(cells: int, half_extent: float) -> Tensor:
    """Coordinates [cells] of the middles of that many equal cells along a side."""
    return ((torch.arange(cells) + 0.5) / cells * 2 - 1) * half_extent


def draw(labels: Labels, placement: Placement, height: int, width: int) -> Tensor:
    """Pictures [batch, 3, height, width] in -1 to 1 with smooth edges, as they should look."""
    high, wide = aspect(height, width)
    field = depth_field(labels.shape, placement, middles_of_cells(height, high), middles_of_cells(width, wide))
    return paint(labels, (0.5 + field * min(height, width) / 2).clamp(0, 1))


def paint(labels: Labels, coverage: Tensor) -> Tensor:
    """Pictures [batch, 3, height, width] in -1 to 1 from each pixel's coverage [batch, height, width]."""
    colour, background = (PALETTE[values].view(-1, 3, 1, 1) for values in (labels.colour, labels.background))
    return background + (colour - background) * coverage[:, None]
