"""Pictures from anybody: three formats, bounded before a pixel is decoded, made RGB of the request's size."""

import asyncio
import base64
import contextlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from provider.http.source_images import MAX_SOURCE_BYTES, CheckedSource, SourceImages
from provider.jobs.errors import OrderRefused

Read = Callable[[bytes], CheckedSource]


@pytest.fixture(scope="module")
def sources() -> Iterator[SourceImages]:
    opened = SourceImages()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def read(sources: SourceImages) -> Read:
    def work(content: bytes) -> CheckedSource:
        return asyncio.run(sources.read_bytes(content, field="init_image", width=64, height=32, strength=0.5))

    return work


def encoded(picture: Image.Image, output_format: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, output_format)
    return stream.getvalue()


def result(checked: CheckedSource) -> Image.Image:
    picture = Image.open(io.BytesIO(checked.source.png))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (64, 32))
    return picture


@pytest.mark.parametrize("output_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_formats_and_modes(read: Read, output_format: str, mode: str) -> None:
    colour = (200, 200, 200) if mode == "RGB" else 200
    pixel = result(read(encoded(Image.new(mode, (300, 100), colour), output_format))).getpixel((5, 5))
    assert isinstance(pixel, tuple)
    assert all(abs(channel - 200) < 6 for channel in pixel)


def test_transparency_shows_white(read: Read) -> None:
    for mode in ("RGBA", "LA"):
        clear = Image.new(mode, (64, 32), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
        assert result(read(encoded(clear, "PNG"))).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (64, 32), 0)
    palette.info["transparency"] = 0
    assert result(read(encoded(palette, "PNG"))).getpixel((0, 0)) == (255, 255, 255)


def test_a_photograph_is_turned_upright(read: Read) -> None:
    sideways = Image.new("RGB", (64, 32), (255, 0, 0))
    sideways.paste((0, 0, 255), (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 3  # Upside down.
    stream = io.BytesIO()
    sideways.save(stream, "PNG", exif=exif)
    assert result(read(stream.getvalue())).getpixel((60, 5)) == (0, 0, 255)


def test_base64_and_data_urls(sources: SourceImages) -> None:
    png = encoded(Image.new("RGB", (64, 32), (1, 2, 3)), "PNG")
    text = base64.b64encode(png).decode()

    async def read_all() -> list[CheckedSource]:
        prefixes = ("", "data:image/png;base64,", "data:image/jpeg;charset=utf-8;base64,")
        options = {"field": "init_image", "width": 64, "height": 32, "strength": 1.0}
        return [await sources.read_base64(prefix + text, **options) for prefix in prefixes]  # type: ignore[arg-type]

    first, *others = asyncio.run(read_all())
    assert result(first).getpixel((0, 0)) == (1, 2, 3)
    assert all(other == first for other in others)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that claims so many pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "malformed"),
        (b"no picture", "malformed"),
        (encoded(Image.new("RGB", (64, 32)), "PNG")[:60], "malformed"),
        (encoded(Image.new("RGB", (64, 32)), "JPEG")[:100], "malformed"),
        (encoded(Image.new("RGB", (64, 32)), "GIF"), "malformed"),
        (encoded(Image.new("RGB", (64, 32)), "BMP"), "malformed"),
        (encoded(Image.new("RGB", (64, 32)), "TIFF"), "malformed"),
        (bomb(65_535, 65_535), "too_large"),
        (bomb(2**31 - 1, 2**31 - 1), "too_large"),
        (bomb(8192, 4096), "too_large"),
        (bomb(4000, 4000), "malformed"),
        (bomb(0, 0), "malformed"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * MAX_SOURCE_BYTES, "too_large"),
    ],
)
def test_what_is_no_picture_or_too_large(read: Read, content: bytes, reason: str) -> None:
    with pytest.raises(OrderRefused) as caught:
        read(content)
    assert (caught.value.reason, caught.value.field) == (reason, "init_image")


@settings(max_examples=150)
@given(
    position=st.integers(0, 400),
    flip=st.integers(1, 255),
    cut=st.integers(0, 200),
    kind=st.sampled_from(["PNG", "JPEG", "WEBP"]),
)
def test_damaged_pictures_are_read_or_refused(read: Read, position: int, flip: int, cut: int, kind: str) -> None:
    gradient = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
    damaged = bytearray(encoded(gradient, kind))
    damaged[position % len(damaged)] ^= flip
    with contextlib.suppress(OrderRefused):  # Anything else that a decoder raises fails the test.
        result(read(bytes(damaged[: len(damaged) - cut])))


@pytest.mark.parametrize("output_format", ["PNG", "JPEG", "WEBP"])
def test_exif_that_cannot_be_written_again_still_turns_the_picture(read: Read, output_format: str) -> None:
    tags = [(258, 4, struct.pack("<I", 70_000)), (274, 3, struct.pack("<HH", 6, 0))]  # BitsPerSample, Orientation
    entries = b"".join(struct.pack("<HHI", tag, kind, 1) + value for tag, kind, value in tags)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    picture = Image.new("RGB", (32, 64), "white")
    picture.paste("black", (0, 0, 32, 32))  # Above; turned upright, at the right.
    stream = io.BytesIO()
    picture.save(stream, output_format, exif=exif)
    upright = result(read(stream.getvalue())).convert("1", dither=Image.Dither.NONE)
    assert [upright.getpixel((column, 16)) for column in (8, 56)] == [255, 0]
