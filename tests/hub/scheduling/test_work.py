"""Work and size classes."""

import pytest

from hub.scheduling.work import SizeClass, picture_work, size_class


def test_guidance_doubles_the_work() -> None:
    assert picture_work(256, 512, 10, is_guided=False) == 256 * 512 * 10
    assert picture_work(256, 512, 10, is_guided=True) == 2 * 256 * 512 * 10


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (1, SizeClass.SMALL),
        (256 * 256, SizeClass.SMALL),
        (256 * 256 + 1, SizeClass.MEDIUM),
        (512 * 512, SizeClass.MEDIUM),
        (1024 * 256, SizeClass.MEDIUM),
        (768 * 768, SizeClass.LARGE),
        (768 * 768 + 1, SizeClass.HUGE),
        (4096 * 4096, SizeClass.HUGE),
    ],
)
def test_classes_by_pixels_whatever_the_shape(pixels: int, expected: SizeClass) -> None:
    assert size_class(pixels) is expected
