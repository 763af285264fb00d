"""64 bits by which pictures that look alike are found: the same picture encoded again, scaled or brightened a little.

48 bits say where the picture grows brighter from left to right, on a grid of 8 rows and 7 columns (a difference hash);
16 bits say in which quarter it is how blue and how red. Where nothing changes by more than a few levels, noise would
choose the bits; a step has to be larger than that to count.
"""

from itertools import pairwise
from typing import Final

from PIL import Image

_ROWS: Final = 8
_COLUMNS: Final = 7
_MARGIN_LEVELS: Final = 3
"""A step that is less is flat: re-encoding a picture as JPEG of quality 75 moves the mean of a cell by less than 1."""
_QUARTERS: Final = 2
_CHROMA_LEVELS: Final = (112, 128, 144)
"""Between which the four codes of a quarter's blueness and redness lie."""
_GRAY_CODES: Final = (0b00, 0b01, 0b11, 0b10)
"""Neighbouring levels differ in one bit."""


def perceptual_hash(image: Image.Image) -> int:
    """Of a picture in RGB; below 2^64."""
    colours = image.convert("YCbCr")
    brightness, blue, red = colours.split()
    code = 0
    for row in _rows_of(brightness, _COLUMNS, _ROWS):
        for left, right in pairwise(row):
            code = code << 1 | (right - left > _MARGIN_LEVELS)
    for channel in (blue, red):
        for row in _rows_of(channel, _QUARTERS, _QUARTERS):
            for level in row:
                code = code << 2 | _GRAY_CODES[sum(level >= bound for bound in _CHROMA_LEVELS)]
    return code


def _rows_of(channel: Image.Image, columns: int, rows: int) -> list[list[int]]:
    """Means of the cells of a grid."""
    levels = channel.resize((columns, rows), Image.Resampling.BOX).tobytes()
    return [list(levels[row * columns : (row + 1) * columns]) for row in range(rows)]
