"""The picture that image-to-image starts from: decoded under bounds, and made RGB of the request's own size.

Pillow's decoders see bytes from anybody, so only three formats are let at them, the size is looked at before a pixel
is decoded, and no more than two pictures are decoded at a time.
"""

import asyncio
import base64
import binascii
import hashlib
import io
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from PIL import ExifTags, Image, UnidentifiedImageError

from provider.generation import SourceImage
from provider.jobs.errors import OrderRefused

MAX_SOURCE_PIXELS: Final = 4096 * 4096
"""50 MB decoded; phones make no larger pictures."""
MAX_SOURCE_BYTES: Final = 24 * 2**20
_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_DATA_URL: Final = re.compile(r"data:image/[a-z0-9.+-]{1,32}(?:;[a-z0-9=-]{1,32})*;base64,", re.IGNORECASE)
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What EXIF's orientation asks for."""
_BACKGROUND: Final = (255, 255, 255)
"""What shows through where a source is transparent."""
_AT_ONCE: Final = 2
"""Bounds memory, whoever sends them."""


@dataclass(frozen=True)
class CheckedSource:
    """A source that can be drawn from, and what its client signs: the SHA-256 of the bytes as they were sent."""

    source: SourceImage
    sha256: str


class SourceImages:
    """Decodes sources in threads of its own."""

    def __init__(self) -> None:
        self._decoders = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="source-image")

    async def read_bytes(
        self, content: bytes, *, field: str, width: int, height: int, strength: float
    ) -> CheckedSource:
        """The picture, scaled to width × height pixels; raises OrderRefused that names the field."""
        loop = asyncio.get_running_loop()
        png = await loop.run_in_executor(self._decoders, _convert, content, field, (width, height))
        return CheckedSource(SourceImage(png, strength), hashlib.sha256(content).hexdigest())

    async def read_base64(self, text: str, *, field: str, width: int, height: int, strength: float) -> CheckedSource:
        """As `read_bytes`, of base64 or a data URL."""
        content = decode_base64(text, field)
        return await self.read_bytes(content, field=field, width=width, height=height, strength=strength)

    def close(self) -> None:
        """Ends the threads once they are idle."""
        self._decoders.shutdown(wait=False, cancel_futures=True)


def decode_base64(text: str, field: str) -> bytes:
    """The bytes of base64 or of a data URL; raises OrderRefused."""
    header = _DATA_URL.match(text)
    encoded = text if header is None else text[header.end() :]
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII.
        raise OrderRefused(
            f"{field}: not base64, nor a data URL of a picture", reason="malformed", field=field
        ) from None


def _convert(content: bytes, field: str, size: tuple[int, int]) -> bytes:
    if len(content) > MAX_SOURCE_BYTES:
        raise OrderRefused(f"{field}: at most {MAX_SOURCE_BYTES} bytes", reason="too_large", field=field)
    try:
        return _decode(content, field, size)
    except Image.DecompressionBombError:  # Pillow's own bound, above ours; it looks first.
        raise _too_many_pixels(field) from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, struct.error):
        # What Pillow's decoders raise for bytes that are no whole picture.
        message = f"{field}: not a whole PNG, JPEG or WebP picture"
        raise OrderRefused(message, reason="malformed", field=field) from None


def _decode(content: bytes, field: str, size: tuple[int, int]) -> bytes:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
        if opened.width * opened.height > MAX_SOURCE_PIXELS:
            raise _too_many_pixels(field)
        opened.draft("RGB", size)  # JPEG decodes at a fraction of its size where that suffices.
        # Not ImageOps.exif_transpose: it writes the whole EXIF anew, and cannot write all that cameras write.
        turn = _UPRIGHT.get(opened.getexif().get(ExifTags.Base.Orientation, 1))
        picture = _without_transparency(opened if turn is None else opened.transpose(turn))
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        encoded = io.BytesIO()
        picture.save(encoded, "PNG", compress_level=1)
        return encoded.getvalue()


def _too_many_pixels(field: str) -> OrderRefused:
    return OrderRefused(f"{field}: at most {MAX_SOURCE_PIXELS} pixels", reason="too_large", field=field)


def _without_transparency(picture: Image.Image) -> Image.Image:
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    layers = picture.convert("RGBA")
    flat = Image.new("RGB", layers.size, _BACKGROUND)
    flat.paste(layers, mask=layers.getchannel("A"))
    return flat
