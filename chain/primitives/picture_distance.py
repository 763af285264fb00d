"""How far an encoded picture is from the pixels that it should show, and whether an honest one may be so far."""

import io
import warnings
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image, ImageChops, ImageStat

from chain.primitives.rejection import Rejected, RejectionReason

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_MAX_PIXELS: Final = 4096 * 4096
_LEVELS: Final = 255

MAX_MEAN_LEVELS: Final = 2.0
"""How much further from the pixels another machine's file may be on average, in levels of 255."""
MAX_SHARES: Final = {8: 0.02, 32: 0.001}
"""By levels: the share of pixels that may be further off than those, so that nothing small but plain can be painted in.

Measured with the embedded model on a CPU: float16 moves no pixel by more than 1, bfloat16 0.9% of them by more than 8
and none by more than 32, with a mean of 0.9.
"""
_CODEC_RATIO: Final = 1.1
"""What two machines' lossy files lose of the same picture: measured are shares that are 1% apart."""


@dataclass(frozen=True)
class PictureTolerance:
    """How much further from the pixels than the verifier's own file a picture may be."""

    mean_levels: float
    shares: tuple[float, ...]
    """Of pixels, by the levels of MAX_SHARES."""


DECODING: Final = PictureTolerance(MAX_MEAN_LEVELS, tuple(MAX_SHARES.values()))
"""Of a picture that was decoded from the very latents that the verifier decodes."""


@dataclass(frozen=True)
class PictureDistance:
    """Of a file from pixels."""

    max_levels: int
    """Of 255, over all pixels and channels."""
    mean_levels: float
    shares: tuple[float, ...]
    """Of pixels that are off by more than each of MAX_SHARES in a channel."""

    def is_explained_by(self, own: "PictureDistance", tolerance: "PictureTolerance | None" = None) -> bool:
        """Whether rounding explains it and what the codec loses, where the verifier's own file is so far off.

        The tolerance is DECODING, unless another is given.
        """
        bounds = tolerance or DECODING
        return self.mean_levels <= own.mean_levels + bounds.mean_levels and all(
            share <= _CODEC_RATIO * expected + bound
            for share, expected, bound in zip(self.shares, own.shares, bounds.shares, strict=True)
        )

    def to_object(self) -> dict[str, Any]:
        """As `--json` shows it."""
        shares = {f"share_above_{levels}": share for levels, share in zip(MAX_SHARES, self.shares, strict=True)}
        return {"max_levels": self.max_levels, "mean_levels": self.mean_levels, **shares}


EQUAL: Final = PictureDistance(0, 0.0, (0.0,) * len(MAX_SHARES))


def measure_distance(encoded: bytes, pixels_png: bytes) -> PictureDistance:
    """As far as can be where sizes differ. Raises Rejected (malformed, too_large) for what is no picture."""
    picture, pixels = _decode(encoded), _decode(pixels_png)
    if picture.size != pixels.size:
        return PictureDistance(_LEVELS, float(_LEVELS), (1.0,) * len(MAX_SHARES))
    difference = ImageChops.difference(picture, pixels)
    means = ImageStat.Stat(difference).mean
    red, green, blue = difference.split()
    by_levels = ImageChops.lighter(ImageChops.lighter(red, green), blue).histogram()
    return PictureDistance(
        max_levels=max(levels for levels, count in enumerate(by_levels) if count),
        mean_levels=sum(means) / len(means),
        shares=tuple(sum(by_levels[levels + 1 :]) / sum(by_levels) for levels in MAX_SHARES),
    )


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
