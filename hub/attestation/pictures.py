"""Whether some bytes are one still picture of a size and format that decodes to its last pixel, and shows something.

The size in the header is compared before anything is decompressed, so memory stays within one picture of that size.
"""

import io
from typing import Final

from PIL import Image

from hub.attestation.errors import NotEndorsed

_FORMATS: Final = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
_MAX_BYTES_PER_PIXEL: Final = 8
"""16-bit RGBA; noise does not compress."""
_FRAMING_BYTES: Final = 64 * 1024
_LEAST_CONTRAST: Final = 4
"""Of 255, between darkest and brightest in some channel: less is a blank picture."""


def check_picture(encoded: bytes, *, image_format: str, width: int, height: int, name: str) -> None:
    """Raises NotEndorsed (bad_picture, wrong_size, blank_picture)."""
    if len(encoded) > width * height * _MAX_BYTES_PER_PIXEL + _FRAMING_BYTES:
        raise NotEndorsed("bad_picture", f"{name} has more bytes than a picture of its size can need", name)
    try:
        with Image.open(io.BytesIO(encoded), formats=(_FORMATS[image_format],)) as picture:
            if picture.size != (width, height):
                stated = f"{picture.size[0]}×{picture.size[1]}"
                raise NotEndorsed("wrong_size", f"{name} is {stated}, the request is for {width}×{height}", name)
            if getattr(picture, "n_frames", 1) != 1:
                raise NotEndorsed("bad_picture", f"{name} moves", name)
            picture.load()
            extremes = picture.convert("RGB").getextrema()
    except NotEndorsed:
        raise
    except Exception as error:  # Pillow raises many types on hostile bytes; all mean the same here
        raise NotEndorsed("bad_picture", f"{name} does not decode: {type(error).__name__}", name) from error
    if all(isinstance(pair, tuple) and pair[1] - pair[0] < _LEAST_CONTRAST for pair in extremes):
        raise NotEndorsed("blank_picture", f"{name} shows nothing", name)
