"""Whether some bytes are one still PNG of a given size that decodes to its last pixel.

The size in the header is compared before anything is decompressed, and chunks that may hold compressed text, colour
profiles or further frames are refused, so memory stays within one picture of the asked size whatever a provider sends.
"""

import io
import zlib
from typing import Final

from PIL import Image

from hub.errors import FaultReason, ProviderFault

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


def max_png_bytes(width: int, height: int) -> int:
    """The most bytes that a PNG of this size can honestly have."""
    return width * height * _MAX_BYTES_PER_PIXEL + _FRAMING_BYTES


def check_png(png: bytes, *, width: int, height: int) -> None:
    """Raises ProviderFault (bad_picture, wrong_size, answer_too_large) unless `png` is a whole picture of this size."""
    if len(png) > max_png_bytes(width, height):
        raise ProviderFault(FaultReason.ANSWER_TOO_LARGE, f"{len(png)} bytes for a {width}×{height} picture")
    header = _check_chunks(png)
    stated = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    if stated != (width, height):
        raise ProviderFault(
            FaultReason.WRONG_SIZE, f"asked for {width}×{height} pixels, received {stated[0]}×{stated[1]}"
        )
    _decode(png)


def _bad(message: str) -> ProviderFault:
    return ProviderFault(FaultReason.BAD_PICTURE, message)


def _check_chunks(png: bytes) -> bytes:
    """Walks the chunks with their checksums to the very last byte; returns the header's content."""
    if not png.startswith(_SIGNATURE):
        raise _bad("the picture does not start as a PNG")
    view = memoryview(png)
    position, header, kind = len(_SIGNATURE), b"", b""
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
        if kind == b"IHDR":
            header = bytes(view[position + 8 : end - 4])
        position = end
        if kind == b"IEND":
            break
    if kind != b"IEND" or position != len(png):
        raise _bad("the PNG does not end where its bytes end")
    return header


def _decode(png: bytes) -> None:
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
            picture.load()
    except Exception as error:  # Pillow raises many types on hostile bytes; all mean the same here
        raise _bad(f"the PNG does not decode: {type(error).__name__}") from error
