"""How far pictures are apart, whatever file they are in, and how much of that an honest one may be."""

import io
import itertools

import pytest
from PIL import Image

from chain.primitives.picture_distance import EQUAL, PictureDistance, measure_distance
from chain.primitives.rejection import Rejected, RejectionReason

FAR = PictureDistance(255, 255.0, (1.0, 1.0))


def encoded(colour: tuple[int, int, int], size: tuple[int, int] = (16, 8), kind: str = "PNG", **options: bool) -> bytes:
    return written(Image.new("RGB", size, colour), kind, **options)


def written(image: Image.Image, kind: str = "PNG", **options: bool) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def painted(pixels: int, colour: tuple[int, int, int], side: int = 100) -> bytes:
    """A grey square picture, so many of whose pixels are of another colour."""
    image = Image.new("RGB", (side, side), (100, 100, 100))
    for x, y in itertools.islice(itertools.product(range(side), range(side)), pixels):
        image.putpixel((x, y), colour)
    return written(image)


def test_distance_in_levels() -> None:
    assert measure_distance(encoded((10, 20, 30)), encoded((10, 20, 30))) == EQUAL
    assert measure_distance(encoded((10, 20, 30)), encoded((10, 26, 30))) == PictureDistance(6, 2.0, (0.0, 0.0))
    assert measure_distance(encoded((0, 0, 0)), encoded((255, 255, 255), kind="WEBP", lossless=True)) == FAR


def test_other_size_is_as_far_as_can_be() -> None:
    assert measure_distance(encoded((0, 0, 0)), encoded((0, 0, 0), size=(8, 16))) == FAR


def test_pixels_are_counted_by_their_furthest_channel() -> None:
    picture = Image.new("RGB", (16, 8))
    for place, colour in {(3, 3): (0, 200, 0), (4, 3): (32, 32, 32), (5, 3): (8, 8, 8)}.items():
        picture.putpixel(place, colour)
    found = measure_distance(written(picture), encoded((0, 0, 0)))
    assert found.max_levels == 200
    assert 0 < found.mean_levels < 1
    assert found.shares == (2 / 128, 1 / 128)
    assert found.to_object() == {
        "max_levels": 200,
        "mean_levels": found.mean_levels,
        "share_above_8": 2 / 128,
        "share_above_32": 1 / 128,
    }


@pytest.mark.parametrize(
    ("pixels", "colour", "holds"),
    [
        (10_000, (102, 102, 102), True),
        (10_000, (103, 103, 103), False),
        (10, (255, 0, 255), True),
        (11, (255, 0, 255), False),
        (200, (132, 132, 132), True),
        (201, (100, 100, 109), False),
    ],
)
def test_what_rounding_explains(pixels: int, colour: tuple[int, int, int], holds: bool) -> None:
    """All of it by 2 levels, 2% by 32, 0.1% by anything."""
    found = measure_distance(painted(pixels, colour), painted(0, colour))
    assert found.is_explained_by(EQUAL) is holds


def test_what_the_codec_explains() -> None:
    own = PictureDistance(120, 8.5, (0.78, 0.02))
    assert PictureDistance(130, 8.6, (0.79, 0.021)).is_explained_by(own)
    assert not PictureDistance(130, 8.6, (0.79, 0.035)).is_explained_by(own)
    assert not PictureDistance(130, 10.6, (0.79, 0.02)).is_explained_by(own)
    assert not own.is_explained_by(EQUAL)


@pytest.mark.parametrize("wrong", [b"", b"GIF89a", encoded((0, 0, 0))[:45]])
def test_what_is_no_picture(wrong: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        measure_distance(wrong, encoded((0, 0, 0)))
    assert caught.value.reason is RejectionReason.MALFORMED


def test_bomb() -> None:
    with pytest.raises(Rejected) as caught:
        measure_distance(encoded((0, 0, 0), size=(5_000, 5_000)), encoded((0, 0, 0)))
    assert caught.value.reason is RejectionReason.TOO_LARGE
