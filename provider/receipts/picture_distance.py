"""How far two encoded pictures are apart, pixel by pixel."""

import io
import warnings
from typing import Final

from PIL import Image, ImageChops, ImageStat

from chain.primitives.rejection import Rejected, RejectionReason

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_MAX_PIXELS: Final = 4096 * 4096
_LEVELS: Final = 255


def compare_pictures(left: bytes, right: bytes) -> tuple[int, float]:
    """The largest and the mean difference of a channel, in levels of 255; the most there is where sizes differ.

    Raises Rejected (malformed, too_large) for what is no picture.
    """
    first, second = _decode(left), _decode(right)
    if first.size != second.size:
        return _LEVELS, float(_LEVELS)
    difference = ImageStat.Stat(ImageChops.difference(first, second))
    return max(high for _, high in difference.extrema), sum(difference.mean) / len(difference.mean)


def _decode(encoded: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # The bound below is tighter.
            with Image.open(io.BytesIO(encoded), formats=_FORMATS) as opened:
                if opened.width * opened.height > _MAX_PIXELS:
                    raise Rejected(RejectionReason.TOO_LARGE, f"a picture of more than {_MAX_PIXELS} pixels")
                return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        # What Pillow raises for bytes that are no whole picture.
        raise Rejected(RejectionReason.MALFORMED, "not a whole PNG, JPEG or WebP picture", field="picture") from None
