"""Device time: CUDA events around the work on a GPU, wall time on a CPU."""

import time
from typing import Any

import torch

from provider.inference.devices import ComputeDevice


class Stopwatch:
    """Adds up the stretches between `resume` and `pause`, so that what others do between two steps is not counted."""

    def __init__(self, device: ComputeDevice) -> None:
        self._is_gpu = device.is_gpu
        self._elapsed_ns = 0
        self._resumed_ns: int | None = None
        self._events: list[tuple[Any, Any]] = []
        """A GPU's start and end of each stretch; read at the end only, so that nothing waits for them."""

    def resume(self) -> None:
        """Begins a stretch."""
        if self._is_gpu:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            self._events.append((start, end))
        else:
            self._resumed_ns = time.perf_counter_ns()

    def pause(self) -> None:
        """Ends the stretch. On a GPU it waits for the stretch before the one that ends.

        So the host is never more than one step ahead of the GPU: progress is honest and a job stops soon, while the
        GPU always has the next step's work in its queue.
        """
        if self._is_gpu:
            self._events[-1][1].record()
            if len(self._events) > 1:
                self._events[-2][1].synchronize()
        elif self._resumed_ns is not None:
            self._elapsed_ns += time.perf_counter_ns() - self._resumed_ns
            self._resumed_ns = None

    def read_microseconds(self) -> int:
        """Whole microseconds of all stretches, rounded down; on a GPU it waits for the last one."""
        if not self._is_gpu:
            return self._elapsed_ns // 1000
        if self._events:
            self._events[-1][1].synchronize()
        return int(sum(start.elapsed_time(end) for start, end in self._events) * 1000)


def share_of_row(total_microseconds: int, row_count: int) -> int:
    """One row's equal part of a batch's time, rounded down: together the rows never state more than was used."""
    return total_microseconds // row_count
