"""Says which scene a picture shows, by its pixels alone: no network is involved."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from provider.tiny_model.scenes import HALF_SIZE_RANGE, PALETTE, POSITION_JITTER, SHAPES, Placement, Scene, draw_masks

_SIDE = 64
UNSURE = -1


@dataclass(frozen=True)
class Verdict:
    """What was seen (UNSURE where nothing fits), how well the best shape overlaps, how even the shape's colour is."""

    scene: Scene
    overlap: float
    purity: float

    def agrees(self, wanted: Scene) -> bool:
        """Whether the picture shows what was asked for, in an even colour."""
        return self.scene == wanted and self.purity > 0.7


@cache
def _templates() -> Tensor:
    """Every shape in 225 sizes and places: [6, 225, 4096]."""
    low, high = HALF_SIZE_RANGE
    sizes = torch.linspace(low - 0.06, high + 0.06, 9)
    places = torch.linspace(-POSITION_JITTER - 0.03, POSITION_JITTER + 0.03, 5)
    half_size, x, y = (grid.flatten() for grid in torch.meshgrid(sizes, places, places, indexing="ij"))
    placement = Placement(half_size, x, y)
    return torch.stack([(draw_masks(shape, placement, _SIDE) > 0.5).float().flatten(1) for shape in range(len(SHAPES))])


def _nearest_colour(colour: Tensor) -> int:
    distances = ((PALETTE + 1) * 127.5 - colour).norm(dim=1)
    return int(distances.argmin()) if distances.min() < 80 else UNSURE


def judge(picture: Tensor) -> Verdict:
    """`picture` holds floats of shape [3, height, width] in 0 to 255, and is square."""
    small = functional.interpolate(picture[None], size=(_SIDE, _SIDE), mode="area")[0]
    edge = _SIDE - 5
    corners = [small[:, row : row + 5, column : column + 5].reshape(3, -1) for row in (0, edge) for column in (0, edge)]
    background_colour = torch.cat(corners, 1).median(1).values
    background = _nearest_colour(background_colour)
    from_background = (small - background_colour.view(3, 1, 1)).norm(dim=0)
    differs = from_background > 70
    if differs.sum() < 40:
        return Verdict(Scene(UNSURE, background, UNSURE), 0.0, 0.0)
    colour = small[:, differs].median(1).values
    nearer_to_shape = (small - colour.view(3, 1, 1)).norm(dim=0) < from_background
    purity = ((small[:, differs] - colour.view(3, 1)).norm(dim=0) < 70).float().mean()
    found = (nearer_to_shape | differs).float().flatten()
    templates = _templates()
    common = templates @ found
    best = (common / (templates.sum(-1) + found.sum() - common)).max(1).values
    shape = int(best.argmax()) if best.max() > 0.7 else UNSURE
    return Verdict(Scene(_nearest_colour(colour), background, shape), float(best.max()), float(purity))


def score(pictures: list[Tensor], scenes: list[Scene]) -> dict[str, float]:
    """Shares of pictures with the right background, colour, shape, and all of them."""
    verdicts = [judge(picture) for picture in pictures]
    pairs = list(zip(verdicts, scenes, strict=True))
    return {
        "background": _share([verdict.scene.background == scene.background for verdict, scene in pairs]),
        "colour": _share([verdict.scene.colour == scene.colour and verdict.purity > 0.7 for verdict, scene in pairs]),
        "shape": _share([verdict.scene.shape == scene.shape for verdict, scene in pairs]),
        "all": _share([verdict.agrees(scene) for verdict, scene in pairs]),
    }


def _share(hits: list[bool]) -> float:
    return round(sum(hits) / len(hits), 3)
