"""Pictures: whole PNGs of the asked size pass; everything else is refused in bounded memory."""

import io
import resource
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from hub.errors import FaultReason, ProviderFault
from hub.picture import check_png, max_png_bytes

PngOf = Callable[..., bytes]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


ROWS = zlib.compress((b"\0" + b"\x10\x20\x30" * 256) * 256)
PLAIN = (header(256, 256), chunk(b"IDAT", ROWS), chunk(b"IEND", b""))


def reason_of(content: bytes, width: int = 256, height: int = 256) -> FaultReason:
    with pytest.raises(ProviderFault) as caught:
        check_png(content, width=width, height=height)
    return caught.value.reason


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_plain_pictures_pass(png_of: PngOf, mode: str) -> None:
    check_png(png_of(256, 320, mode, 0), width=256, height=320)


def test_handmade_picture_passes() -> None:
    check_png(png(*PLAIN), width=256, height=256)


def test_noise_of_the_largest_size_fits_the_bound() -> None:
    from random import Random

    noise = Image.frombytes("RGBA", (1024, 1024), Random(1).randbytes(1024 * 1024 * 4))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG", compress_level=0)
    assert len(buffer.getvalue()) < max_png_bytes(1024, 1024)
    check_png(buffer.getvalue(), width=1024, height=1024)


@pytest.mark.parametrize("length", [0, 7, 8, 20, 33, 60, -1, -12])
def test_cut_off_anywhere(length: int) -> None:
    assert reason_of(png(*PLAIN)[:length]) is FaultReason.BAD_PICTURE


@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a" + bytes(100),
        png(*PLAIN) + b"\0",
        png(*PLAIN) + png(*PLAIN),
        png(PLAIN[1], PLAIN[0], PLAIN[2]),
        png(PLAIN[0], PLAIN[0], PLAIN[1], PLAIN[2]),
        png(PLAIN[0], PLAIN[2]),
        png(PLAIN[0], chunk(b"IDAT", ROWS[: len(ROWS) // 2]), PLAIN[2]),
        png(PLAIN[0], chunk(b"IDAT", b"\0" * 100), PLAIN[2]),
        png(PLAIN[0], chunk(b"acTL", b"\0\0\0\2\0\0\0\0"), PLAIN[1], PLAIN[2]),
        png(PLAIN[0], chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**6))), PLAIN[1], PLAIN[2]),
        png(PLAIN[0], chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**6))), PLAIN[1], PLAIN[2]),
        png(PLAIN[0], PLAIN[1][:-4] + b"\0\0\0\0", PLAIN[2]),
        png(header(256, 256, depth=3), PLAIN[1], PLAIN[2]),
        png(header(256, 256, colour=5), PLAIN[1], PLAIN[2]),
        png(chunk(b"IHDR", b""), PLAIN[1], PLAIN[2]),
        png(PLAIN[0], *[chunk(b"tEXt", b"a\0b")] * 20_000, PLAIN[1], PLAIN[2]),
    ],
    ids=[
        "another format",
        "a trailing byte",
        "two pictures",
        "header later",
        "header twice",
        "no pixels",
        "half the pixels",
        "no zlib stream",
        "an animation",
        "compressed text",
        "a colour profile",
        "wrong checksum",
        "impossible depth",
        "impossible colour",
        "empty header",
        "endless chunks",
    ],
)
def test_no_plain_whole_picture(content: bytes) -> None:
    assert reason_of(content) is FaultReason.BAD_PICTURE


@pytest.mark.parametrize("size", [(255, 256), (256, 257), (0, 0), (2**31, 2**31)])
def test_size_in_the_header_counts(size: tuple[int, int]) -> None:
    assert reason_of(png(header(*size), *PLAIN[1:])) is FaultReason.WRONG_SIZE


def test_decompression_bomb_stays_small_in_memory() -> None:
    """100 MB of zeros behind a header that claims the asked size: Pillow stops where the picture is full."""
    squeeze = zlib.compressobj(1)
    bomb = b"".join(squeeze.compress(bytes(10**6)) for _ in range(100)) + squeeze.flush()
    content = png(header(256, 256), chunk(b"IDAT", bomb), chunk(b"IEND", b""))
    peak_before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check_png(content, width=256, height=256)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_before_kib < 20_000


def test_more_bytes_than_the_size_can_need() -> None:
    assert reason_of(png(*PLAIN) + bytes(max_png_bytes(256, 256))) is FaultReason.ANSWER_TOO_LARGE
