"""Time is counted between resume and pause only."""

import time

import pytest
import torch

from provider.generation import PipelineOptions
from provider.inference.devices import find_devices
from provider.inference.stopwatch import Stopwatch, share_of_row


def test_pauses_do_not_count() -> None:
    stopwatch = Stopwatch(find_devices(PipelineOptions(device="cpu"))[0])
    began = time.perf_counter()
    for _ in range(2):
        stopwatch.resume()
        time.sleep(0.02)
        stopwatch.pause()
        time.sleep(0.5)
    everything = time.perf_counter() - began
    assert 40_000 <= stopwatch.read_microseconds() <= (everything - 1.0) * 1e6
    assert stopwatch.read_microseconds() == stopwatch.read_microseconds()


def test_never_started_is_no_time() -> None:
    assert Stopwatch(find_devices(PipelineOptions(device="cpu"))[0]).read_microseconds() == 0


@pytest.mark.parametrize(("total", "rows", "share"), [(10, 3, 3), (9, 3, 3), (2, 3, 0), (0, 1, 0)])
def test_shares_are_equal_and_never_more_than_the_whole(total: int, rows: int, share: int) -> None:
    assert share_of_row(total, rows) == share
    assert rows * share_of_row(total, rows) <= total


@pytest.mark.gpu
def test_on_a_gpu_its_own_events_count() -> None:
    stopwatch = Stopwatch(find_devices(PipelineOptions(device="cuda"))[0])
    matrix = torch.ones((2048, 2048), device="cuda")
    stopwatch.resume()
    for _ in range(20):
        matrix = matrix @ matrix
    stopwatch.pause()
    assert stopwatch.read_microseconds() > 0
