"""How long pictures take."""

from dataclasses import replace

import pytest

from provider.engine.throughput import Throughput, work_of
from provider.generation import BatchKey

KEY = BatchKey("aitbc/tiny-sd", 512, 512, 30, "default", is_guided=True, strength=None)


def test_before_anything_is_measured_there_is_a_guess() -> None:
    assert Throughput().seconds_for(work_of(KEY), 1) == pytest.approx(5.0)


def test_the_first_measurement_replaces_the_guess_and_later_ones_move_it() -> None:
    throughput = Throughput()
    throughput.record(8 * work_of(KEY), 16.0)
    assert throughput.seconds_for(work_of(KEY), 1) == pytest.approx(2.0)
    throughput.record(work_of(KEY), 12.0)
    assert throughput.seconds_for(work_of(KEY), 1) == pytest.approx(5.0)


def test_slots_share_the_work() -> None:
    throughput = Throughput()
    throughput.record(work_of(KEY), 8.0)
    assert throughput.seconds_for(work_of(KEY), 4) == pytest.approx(2.0)
    assert throughput.seconds_for(work_of(KEY), 0) == pytest.approx(8.0)


def test_work_follows_size_steps_guidance_and_strength() -> None:
    whole = work_of(KEY)
    assert work_of(replace(KEY, width=256)) == whole / 2
    assert work_of(replace(KEY, steps=15)) == whole / 2
    assert work_of(replace(KEY, is_guided=False)) == whole / 2
    assert work_of(replace(KEY, strength=0.5)) == whole / 2
    assert work_of(replace(KEY, strength=0.0)) > 0
