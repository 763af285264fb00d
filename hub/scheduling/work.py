"""How much there is to compute for a picture, and which pictures are alike."""

from enum import IntEnum
from functools import lru_cache
from typing import Final


class SizeClass(IntEnum):
    """Pictures of one class are computed at about the same work per second: small ones keep a GPU less busy."""

    SMALL = 1
    """Up to 256 by 256 pixels."""
    MEDIUM = 2
    """Up to 512 by 512 pixels."""
    LARGE = 3
    """Up to 768 by 768 pixels."""
    HUGE = 4


_LARGEST_PIXELS: Final = {SizeClass.SMALL: 256**2, SizeClass.MEDIUM: 512**2, SizeClass.LARGE: 768**2}


@lru_cache(maxsize=4_096)
def size_class(pixels: int) -> SizeClass:
    """By width times height, whatever the shape."""
    return next((known for known, largest in _LARGEST_PIXELS.items() if pixels <= largest), SizeClass.HUGE)


def picture_work(width: int, height: int, steps: int, *, is_guided: bool) -> float:
    """Pixels times steps; guidance computes every step twice."""
    return float(width * height * steps * (2 if is_guided else 1))
