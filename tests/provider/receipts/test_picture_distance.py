"""How far pictures are apart, whatever file they are in."""

import io

import pytest
from PIL import Image

from chain.primitives.rejection import Rejected, RejectionReason
from provider.receipts.picture_distance import compare_pictures


def encoded(colour: tuple[int, int, int], size: tuple[int, int] = (16, 8), kind: str = "PNG", **options: bool) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind, **options)
    return buffer.getvalue()


def test_distance_in_levels() -> None:
    assert compare_pictures(encoded((10, 20, 30)), encoded((10, 20, 30))) == (0, 0.0)
    assert compare_pictures(encoded((10, 20, 30)), encoded((10, 26, 30))) == (6, 2.0)
    assert compare_pictures(encoded((0, 0, 0)), encoded((255, 255, 255), kind="WEBP", lossless=True)) == (255, 255.0)


def test_other_size_is_as_far_as_can_be() -> None:
    assert compare_pictures(encoded((0, 0, 0)), encoded((0, 0, 0), size=(8, 16))) == (255, 255.0)


def test_one_pixel_shows_in_the_largest_difference() -> None:
    picture = Image.new("RGB", (16, 8))
    picture.putpixel((3, 3), (0, 200, 0))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    largest, mean = compare_pictures(encoded((0, 0, 0)), buffer.getvalue())
    assert largest == 200
    assert 0 < mean < 1


@pytest.mark.parametrize("wrong", [b"", b"GIF89a", encoded((0, 0, 0))[:45]])
def test_what_is_no_picture(wrong: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        compare_pictures(wrong, encoded((0, 0, 0)))
    assert caught.value.reason is RejectionReason.MALFORMED


def test_bomb() -> None:
    with pytest.raises(Rejected) as caught:
        compare_pictures(encoded((0, 0, 0), size=(5_000, 5_000)), encoded((0, 0, 0)))
    assert caught.value.reason is RejectionReason.TOO_LARGE
