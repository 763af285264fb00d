"""Whether some bytes are one still picture of the asked size and format that shows something, and what it looks like.

The size in the header is compared before anything is decompressed. In a PNG, chunks that may hold compressed text,
colour profiles or further frames are refused; of the other formats, what Pillow calls animated. So memory stays within
one picture of the asked size whatever a provider sends.
"""

import io
import warnings
import zlib
from dataclasses import dataclass
from typing import Final

from PIL import Image

from chain.primitives.hashing import sha256
from chain.primitives.worker_fields import PictureRun
from hub.verification.errors import AnswerRefused, FaultReason
from hub.verification.perceptual_hash import perceptual_hash

MEDIA_TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
"""By the names that requests use."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHUNK_OVERHEAD_BYTES: Final = 12  # Length, type and CRC.
_MAX_CHUNKS: Final = 16_384  # 8 KiB IDAT chunks, as libpng writes them, for the largest picture are about 1,000.
_ALLOWED_CHUNKS: Final = frozenset(
    (
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
        b"tRNS",
        b"gAMA",
        b"cHRM",
        b"sRGB",
        b"sBIT",
        b"bKGD",
        b"pHYs",
        b"tIME",
        b"tEXt",
    )
)
_MAX_BYTES_PER_PIXEL: Final = 8  # 16-bit RGBA; noise does not compress.
_FRAMING_BYTES: Final = 64 * 1024

BLANK_LEVELS: Final = 4
"""Of 255: where no channel spreads further than this between its 1st and its 99th percentile, nothing is shown.

Of 96 pictures of the embedded model the plainest spreads over 114 levels; one plain colour over 0, as a WebP of quality
50 over 6. Filters for unwanted content answer with plain black.
"""
_OUTSIDE_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Look:
    """What is remembered of a picture."""

    sha256: str
    """Of the file."""
    hash64: int
    """`perceptual_hash`."""
    media_type: str
    width: int
    height: int


def max_picture_bytes(width: int, height: int) -> int:
    """The most bytes that a picture of this size can honestly have, in any of the formats."""
    return width * height * _MAX_BYTES_PER_PIXEL + _FRAMING_BYTES


def look(content: bytes, run: PictureRun) -> Look:
    """The picture, decoded to its last pixel; raises AnswerRefused with the first thing that is wrong with it."""
    if len(content) > max_picture_bytes(run.width, run.height):
        detail = f"{len(content)} bytes for a {run.width}×{run.height} picture"
        raise AnswerRefused(FaultReason.ANSWER_TOO_LARGE, detail)
    if run.image_format == "png" or content.startswith(_SIGNATURE):
        _check_chunks(content)
    image = _decode(content, run)
    if _is_blank(image):
        raise AnswerRefused(FaultReason.BLANK_PICTURE, "the picture is of one colour all over")
    return Look(
        sha256=sha256(content).hex(),
        hash64=perceptual_hash(image),
        media_type=MEDIA_TYPES[run.image_format],
        width=run.width,
        height=run.height,
    )


def _decode(content: bytes, run: PictureRun) -> Image.Image:
    """In RGB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # The size is compared before decoding.
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as opened:
                _check_header(opened, run)
                opened.load()
                return opened.convert("RGB")
    except AnswerRefused:
        raise
    except Exception as error:  # Pillow raises many types on hostile bytes; all mean the same here
        raise _bad(f"the picture does not decode: {type(error).__name__}") from error


def _check_header(opened: Image.Image, run: PictureRun) -> None:
    if (opened.format or "").lower() != run.image_format:
        detail = f"asked for {run.image_format}, received {(opened.format or 'nothing').lower()}"
        raise AnswerRefused(FaultReason.WRONG_FORMAT, detail)
    if opened.size != (run.width, run.height):
        detail = f"asked for {run.width}×{run.height} pixels, received {opened.width}×{opened.height}"
        raise AnswerRefused(FaultReason.WRONG_SIZE, detail)
    if getattr(opened, "n_frames", 1) != 1:
        raise _bad("the picture moves")


def _is_blank(image: Image.Image) -> bool:
    return all(_spread(channel.histogram()) <= BLANK_LEVELS for channel in image.split())


def _spread(histogram: list[int]) -> int:
    """Levels between the first and the last percentile."""
    outside = _OUTSIDE_SHARE * sum(histogram)
    return _percentile(histogram[::-1], outside, 255) - _percentile(histogram, outside, 0)


def _percentile(histogram: list[int], outside: float, start: int) -> int:
    """The level, counted from `start`, by which more than so many pixels are passed."""
    passed = 0
    for distance, count in enumerate(histogram):
        passed += count
        if passed > outside:
            return abs(start - distance)
    return start


def _check_chunks(png: bytes) -> None:
    """Walks the chunks with their checksums to the very last byte."""
    if not png.startswith(_SIGNATURE):
        raise _bad("the picture does not start as a PNG")
    view = memoryview(png)
    position, kind = len(_SIGNATURE), b""
    for _ in range(_MAX_CHUNKS):
        if len(png) - position < _CHUNK_OVERHEAD_BYTES:
            raise _bad("the PNG is cut off")
        length = int.from_bytes(view[position : position + 4], "big")
        end = position + _CHUNK_OVERHEAD_BYTES + length
        if end > len(png):
            raise _bad("the PNG is cut off")
        kind = bytes(view[position + 4 : position + 8])
        if kind not in _ALLOWED_CHUNKS:
            raise _bad(f"the PNG has a chunk {kind!r}, which a plain still picture does not need")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise _bad(f"the checksum of the PNG's chunk {kind!r} is wrong")
        if (kind == b"IHDR") != (position == len(_SIGNATURE)) or (kind == b"IHDR" and length != 13):
            raise _bad("the PNG's header is not its first chunk")
        position = end
        if kind == b"IEND":
            break
    if kind != b"IEND" or position != len(png):
        raise _bad("the PNG does not end where its bytes end")


def _bad(message: str) -> AnswerRefused:
    return AnswerRefused(FaultReason.BAD_PICTURE, message)
