"""Pixels to files. The files hold nothing but the picture: no prompt, no parameters, no time, no software's name."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy
import numpy.typing
from PIL import Image

from provider.errors import GenerationFailed
from provider.generation import Encoding

Pixels = numpy.typing.NDArray[numpy.uint8]
"""Shape (height, width, 3), RGB."""


def encode_picture(pixels: Pixels, encoding: Encoding) -> bytes:
    """The same pixels give the same bytes. Raises GenerationFailed(unknown_format)."""
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    if encoding.format == "png":
        image.save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    elif encoding.format == "jpeg":
        image.save(buffer, format="JPEG", quality=encoding.quality)
    elif encoding.format == "webp":
        image.save(buffer, format="WEBP", quality=encoding.quality)
    else:
        raise GenerationFailed(f"there is no output format {encoding.format[:40]!r}", reason="unknown_format")
    return buffer.getvalue()


_PNG_LEVEL = 4
"""Half the time of zlib's usual 6, for files that are at most a tenth larger."""


def encode_pictures(pictures: Sequence[Pixels], encodings: Sequence[Encoding]) -> list[bytes]:
    """`encode_picture` for a batch, on several cores: meanwhile a GPU would wait. Pillow lets go of the interpreter."""
    if len(pictures) == 1:
        return [encode_picture(pictures[0], encodings[0])]
    with ThreadPoolExecutor(min(len(pictures), os.cpu_count() or 1), thread_name_prefix="encode") as pool:
        return list(pool.map(encode_picture, pictures, encodings))


def encode_preview(pixels: Pixels, side_pixels: int) -> bytes:
    """A JPEG whose longer side is at most so long."""
    image = Image.fromarray(pixels)
    image.thumbnail((side_pixels, side_pixels), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_PREVIEW_QUALITY)
    return buffer.getvalue()


_PREVIEW_QUALITY = 70
