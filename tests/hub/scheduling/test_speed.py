"""Speeds as measured."""

import random

import pytest

from hub.scheduling.speed import SpeedBook
from hub.scheduling.work import SizeClass

KIND = ("m", SizeClass.MEDIUM)
PIXELS = 512 * 512


def test_first_measurement_counts_fully_and_later_ones_in_part() -> None:
    book = SpeedBook()
    book.record("m", PIXELS, 100.0, 1.0)
    assert book.speeds() == {KIND: pytest.approx(100)}
    book.record("m", PIXELS, 100.0, 2.0)
    assert book.speeds() == {KIND: pytest.approx(100 / (0.7 * 1 + 0.3 * 2))}


def test_models_and_sizes_are_told_apart() -> None:
    book = SpeedBook()
    book.record("m", PIXELS, 100.0, 1.0)
    book.record("m", 64 * 64, 100.0, 2.0)
    book.record("n", PIXELS, 100.0, 4.0)
    assert book.speeds() == {KIND: 100.0, ("m", SizeClass.SMALL): 50.0, ("n", SizeClass.MEDIUM): 25.0}


def test_average_follows_a_machine_that_has_become_slower() -> None:
    rng = random.Random(1)
    book = SpeedBook()
    book.record("m", PIXELS, 100.0, 1.0)
    for _ in range(12):
        book.record("m", PIXELS, 100.0, 3.0 * rng.uniform(0.9, 1.1))
    assert book.speeds()[KIND] == pytest.approx(100 / 3, rel=0.1)


@pytest.mark.parametrize("seconds", [1e-9, 1e9])
def test_one_odd_shard_moves_the_average_by_a_bounded_part(seconds: float) -> None:
    book = SpeedBook()
    book.record("m", PIXELS, 100.0, 1.0)
    book.record("m", PIXELS, 100.0, seconds)
    assert 50 < book.speeds()[KIND] < 135


@pytest.mark.parametrize(("work", "seconds"), [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_what_is_not_positive_is_no_measurement(work: float, seconds: float) -> None:
    book = SpeedBook()
    book.record("m", PIXELS, work, seconds)
    assert book.speeds() == {}


def test_rows_bring_it_back() -> None:
    book = SpeedBook()
    book.record("m", PIXELS, 100.0, 1.0)
    book.record("n", 64 * 64, 100.0, 7.0)
    assert SpeedBook(book.rows()).speeds() == book.speeds()


def test_number_of_kinds_is_bounded() -> None:
    book = SpeedBook()
    for number in range(1_000):
        book.record(f"m{number}", PIXELS, 1.0, 1.0)
    assert len(book.speeds()) == 256
    assert ("m999", SizeClass.MEDIUM) in book.speeds()
