"""The latents of a scene, which are defined rather than learned, so that UNet and VAE can be trained side by side.

A latent stands for 16 by 16 pixels and has fifteen channels. Three hold the shape's colour and three the background's,
as a corner of the cube from -1 to 1: eight colours, eight corners. Four hold the depth inside the shape at the middles
of the block's quadrants, in blocks, clipped to -1 to 1. These ten are what the decoder draws. Five more are a sketch
that the UNet leaves to itself: which shape it is, as a corner of a cube, and where in the shape's own coordinates the
block lies. With them in view the depth is a function of each block alone; without them the UNet drew blobs.

Why corners: guidance extrapolates. A colour somewhere within the cube is pushed out and comes back as another one (so
the first model speckled at guidance 7.5); beyond a corner lies nothing else.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from provider.tiny_model.scenes import COLOUR_NAMES, SHAPES, Labels, Placement, aspect, depth_field, middles_of_cells

PIXELS_PER_LATENT: Final = 16
LATENT_CHANNELS: Final = 15
DRAWN_CHANNELS: Final = 10
"""The first channels: what the decoder draws."""

SCALE: Final = 5.0
"""The sampler works on latents this many times as large: the VAE's `scaling_factor`."""

RAMP_BLOCKS: Final = 1.0
"""The depth in blocks at which the field is clipped: wide enough that interpolating it gives straight edges."""

_CORNERS: Final = {
    "red": (1, -1, -1),
    "green": (-1, 1, -1),
    "blue": (-1, -1, 1),
    "yellow": (1, 1, -1),
    "orange": (-1, 1, 1),  # Where cyan would be: the one colour that is far from its corner's.
    "purple": (1, -1, 1),
    "white": (1, 1, 1),
    "black": (-1, -1, -1),
}
_SHAPE_CORNERS: Final = {
    "circle": (1, 1, 1),
    "square": (1, 1, -1),
    "triangle": (1, -1, 1),
    "star": (-1, 1, 1),
    "diamond": (-1, -1, 1),
    "cross": (-1, 1, -1),
}
_FRAME: Final = 1.25
"""The shape's own coordinates are clipped this far out, in half-sizes."""

SHAPE_CODES: Final = torch.tensor([_SHAPE_CORNERS[name] for name in SHAPES], dtype=torch.float32)
COLOUR_CODES: Final = torch.tensor([_CORNERS[name] for name in COLOUR_NAMES], dtype=torch.float32)


def latents_of(
    labels: Labels, placement: Placement, rows: int, columns: int, *, window: "tuple[Tensor, Tensor] | None" = None
) -> Tensor:
    """Latents [batch, 15, rows, columns] of scenes on a canvas of so many blocks.

    `window` gives the coordinates of the quadrants' middles where only a part of a canvas is wanted: rows
    [batch, 2 rows] and columns [batch, 2 columns], with the block's side in them taken from their spacing.
    """
    if window is None:
        high, wide = aspect(rows, columns)
        window = middles_of_cells(2 * rows, high), middles_of_cells(2 * columns, wide)
    block = 2 * (window[0][..., 1] - window[0][..., 0]).flatten()[0]
    field = depth_field(labels.shape, placement, *window)
    depth = functional.pixel_unshuffle((field / (block * RAMP_BLOCKS)).clamp(-1, 1)[:, None], 2)
    return torch.cat(
        [
            _everywhere(COLOUR_CODES[labels.colour], rows, columns),
            _everywhere(COLOUR_CODES[labels.background], rows, columns),
            depth,
            _everywhere(SHAPE_CODES[labels.shape], rows, columns),
            _own_coordinates(placement, *window),
        ],
        1,
    )


def _everywhere(codes: Tensor, rows: int, columns: int) -> Tensor:
    """The codes [batch, channels] in every block."""
    return codes[:, :, None, None].expand(-1, -1, rows, columns)


def _own_coordinates(placement: Placement, row_quadrants: Tensor, column_quadrants: Tensor) -> Tensor:
    """Where each block lies in the shape's coordinates: [batch, 2, rows, columns], across and along, clipped."""
    half_size, x, y = (values.view(-1, 1) * 1.0 for values in (placement.half_size, placement.x, placement.y))
    across, along = (
        ((functional.avg_pool1d(quadrants.expand(len(x), -1)[:, None], 2)[:, 0] - middle) / (_FRAME * half_size))
        for quadrants, middle in ((column_quadrants, x), (row_quadrants, y))
    )
    rows, columns = along.shape[1], across.shape[1]
    own = [across[:, None, :].expand(-1, rows, -1), along[:, :, None].expand(-1, -1, columns)]
    return torch.stack(own, 1).clamp(-1, 1)
