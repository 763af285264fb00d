"""Files of a picture: the format and quality asked for, the same bytes each time, and nothing beside the picture."""

import io
from typing import Any

import numpy
import pytest
from PIL import Image

from provider.errors import GenerationFailed
from provider.generation import OUTPUT_FORMATS, Encoding
from provider.inference.encoding import encode_picture, encode_pictures, encode_preview


@pytest.fixture
def pixels() -> Any:
    """A soft gradient, 64 by 48."""
    rows, columns = numpy.mgrid[0:48, 0:64]
    return numpy.stack([rows * 5, columns * 4, rows + columns], axis=2).astype(numpy.uint8)


@pytest.mark.parametrize("name", OUTPUT_FORMATS)
def test_the_format_asked_for(pixels: Any, name: str) -> None:
    raw = encode_picture(pixels, Encoding(name, 90))
    with Image.open(io.BytesIO(raw)) as image:
        assert (image.format, image.size, image.mode) == (name.upper(), (64, 48), "RGB")
        largest_difference = abs(numpy.asarray(image).astype(int) - pixels).max()
    assert largest_difference == 0 if name == "png" else largest_difference < 40
    assert encode_picture(pixels, Encoding(name, 90)) == raw


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_quality_counts(pixels: Any, name: str) -> None:
    sizes = [len(encode_picture(pixels, Encoding(name, quality))) for quality in (10, 60, 100)]
    assert sizes == sorted(set(sizes))


def test_a_png_holds_nothing_but_the_picture(pixels: Any) -> None:
    raw = encode_picture(pixels, Encoding())
    kinds, place = [], 8
    while place < len(raw):
        length = int.from_bytes(raw[place : place + 4], "big")
        kinds.append(raw[place + 4 : place + 8])
        place += 12 + length
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}


def test_unknown_formats_are_refused(pixels: Any) -> None:
    with pytest.raises(GenerationFailed) as caught:
        encode_picture(pixels, Encoding("tiff"))
    assert caught.value.reason == "unknown_format"


def test_a_batch_keeps_its_order_and_each_rows_format(pixels: Any) -> None:
    pictures = [pixels, pixels[::-1].copy(), pixels]
    encodings = [Encoding("png"), Encoding("jpeg", 80), Encoding("webp", 50)]
    expected = [encode_picture(picture, encoding) for picture, encoding in zip(pictures, encodings, strict=True)]
    assert encode_pictures(pictures, encodings) == expected


def test_a_preview_is_a_small_jpeg(pixels: Any) -> None:
    with Image.open(io.BytesIO(encode_preview(pixels, 32))) as image:
        assert (image.format, image.size) == ("JPEG", (32, 24))
