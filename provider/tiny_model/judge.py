"""Says which scene a picture shows, by its pixels alone: no network is involved."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from provider.tiny_model.scenes import (
    OFFSET,
    PALETTE,
    POSITIONS,
    SHAPES,
    SIZE_NAMES,
    Placement,
    Scene,
    depth_field,
    middles_of_cells,
)

UNSURE: Final = -1
_SIDE: Final = 128
"""Pictures are judged at this many pixels; only square ones are."""

_WINDOW: Final = 48
_MARGIN: Final = 1.25
"""The window around a shape is so much wider than its bounding box."""

_SIZE_LIMITS: Final = (0.37, 0.565)
"""Half-sizes between which a shape is medium."""

_LEAST_OVERLAP: Final = 0.75
_LEAST_PURITY: Final = 0.8


@dataclass(frozen=True)
class Verdict:
    """What was seen (UNSURE where nothing fits), how well the best shape overlaps, how even the shape's colour is."""

    scene: Scene
    overlap: float
    purity: float

    def agrees(self, wanted: Scene) -> bool:
        """Whether background, colour and shape are those asked for, and the colour is even."""
        seen = self.scene
        return (seen.colour, seen.background, seen.shape) == (
            wanted.colour,
            wanted.background,
            wanted.shape,
        ) and self.purity > _LEAST_PURITY


_NOTHING: Final = Verdict(Scene(UNSURE, UNSURE, UNSURE, UNSURE, UNSURE), 0.0, 0.0)


def judge(picture: Tensor) -> Verdict:
    """`picture` holds floats of shape [3, side, side] in 0 to 255."""
    small = functional.interpolate(picture[None], size=(_SIDE, _SIDE), mode="area")[0]
    edge = _SIDE - 8
    corners = [small[:, row : row + 8, column : column + 8].reshape(3, -1) for row in (0, edge) for column in (0, edge)]
    background_colour = torch.cat(corners, 1).median(1).values
    background = _nearest_colour(background_colour)
    from_background = (small - background_colour.view(3, 1, 1)).norm(dim=0)
    differs = from_background > 70
    if differs.sum() < 60:
        return Verdict(Scene(UNSURE, background, UNSURE, UNSURE, UNSURE), 0.0, 0.0)
    colour = small[:, differs].median(1).values
    from_colour = (small - colour.view(3, 1, 1)).norm(dim=0)
    # Antialiased edges belong to neither colour, so they are counted only on the shape's inner side.
    purity = float((from_colour[differs] < 70).float().mean())
    found = ((from_colour < from_background) & differs).float()
    fit = _best_fit(found)
    shape = fit.shape if fit.overlap > _LEAST_OVERLAP else UNSURE
    size = sum(fit.half_size > limit for limit in _SIZE_LIMITS)
    scene = Scene(_nearest_colour(colour), background, shape, _nearest_position(fit, size), size)
    return Verdict(scene, fit.overlap, purity)


def _nearest_colour(colour: Tensor) -> int:
    distances = ((PALETTE + 1) * 127.5 - colour).norm(dim=1)
    return int(distances.argmin()) if distances.min() < 80 else UNSURE


@dataclass(frozen=True)
class _Fit:
    """The shape that overlaps best, its overlap (intersection over union), half-size and middle."""

    shape: int
    overlap: float
    half_size: float
    x: float
    y: float


def _best_fit(found: Tensor) -> _Fit:
    """Compares what is in the bounding box of `found` [side, side] with every shape, stretched to the same box."""
    top, bottom = _extent(found.sum(1))
    left, right = _extent(found.sum(0))
    middle_y, middle_x = (top + bottom) / 2, (left + right) / 2
    reach = max(bottom - top, right - left) / 2 * _MARGIN
    steps = middles_of_cells(_WINDOW, 1.0) * reach
    rows, columns = torch.meshgrid(middle_y + steps, middle_x + steps, indexing="ij")
    grid = torch.stack([columns, rows], -1)[None]
    seen = (functional.grid_sample(found[None, None], grid, align_corners=False) > 0.5).float().flatten()
    templates, placement = _templates()
    common = templates @ seen
    overlaps = common / (templates.sum(-1) + seen.sum() - common)
    # What lies outside the window is stray: the shape does not explain it.
    cell_area = (2 * reach / _WINDOW) ** 2
    explained = float(seen.sum()) * cell_area / (float(found.sum()) * (2 / _SIDE) ** 2)
    best = int(overlaps.argmax())
    return _Fit(
        best // (len(placement.x) // len(SHAPES)),
        float(overlaps.max()) * min(1.0, explained),
        float(placement.half_size[best]) * reach,
        middle_x + float(placement.x[best]) * reach,
        middle_y + float(placement.y[best]) * reach,
    )


def _extent(counts: Tensor) -> tuple[float, float]:
    """Where the marginal sum begins and ends, in -1 to 1, without the outermost half percent."""
    share = counts.cumsum(0) / counts.sum()
    first = int((share > 0.005).float().argmax())
    last = int((share >= 0.995).float().argmax()) + 1
    return first / len(counts) * 2 - 1, last / len(counts) * 2 - 1


@cache
def _templates() -> tuple[Tensor, Placement]:
    """Every shape [templates, window * window] as large as its bounding box allows, a little larger, smaller, aside."""
    masks, placements = [], []
    fine = middles_of_cells(201, 1.2)
    for shape in range(len(SHAPES)):
        whole = Placement(torch.ones(1), torch.zeros(1), torch.zeros(1))
        inside = depth_field(torch.tensor([shape]), whole, fine, fine)[0] > 0
        rows, columns = fine[inside.any(1)], fine[inside.any(0)]
        reach = max(float(rows[-1] - rows[0]), float(columns[-1] - columns[0])) / 2 * _MARGIN
        middle = torch.stack([columns[0] + columns[-1], rows[0] + rows[-1]]) / 2
        factors = torch.tensor([0.92, 0.96, 1.0, 1.04])
        shifts = torch.tensor([-0.06, -0.03, 0.0, 0.03, 0.06])
        factor, x, y = (grid.flatten() for grid in torch.meshgrid(factors, shifts, shifts, indexing="ij"))
        placement = Placement(factor / reach, x - middle[0] * factor / reach, y - middle[1] * factor / reach)
        coordinates = middles_of_cells(_WINDOW, 1.0)
        masks.append(depth_field(torch.full((len(x),), shape), placement, coordinates, coordinates) > 0)
        placements.append(torch.stack([placement.half_size, placement.x, placement.y]))
    return torch.cat(masks).float().flatten(1), Placement(*torch.cat(placements, 1))


def _nearest_position(fit: _Fit, size: int) -> int:
    """The position whose usual middle, for a shape of that size, is nearest."""
    reach = {"big": 0.27}.get(SIZE_NAMES[size], OFFSET)
    middles = torch.tensor(list(POSITIONS.values())) * reach
    return int((middles - torch.tensor([fit.x, fit.y])).norm(dim=1).argmin())
