"""Batches are computed in this process: one slot for each GPU, or one on the CPU.

Torch releases the interpreter's lock while it computes, so the rest of the process stays responsive.
"""

import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from provider.engine.turns import Turns
from provider.errors import GenerationFailed, ModelUnavailable
from provider.generation import (
    Batch,
    BatchEvent,
    BatchKey,
    Device,
    ModelReport,
    PipelineOptions,
    StepCheck,
    StepsChecked,
)

if TYPE_CHECKING:
    from provider.inference.worker import InferenceWorker


class LocalBackend:
    """A `provider.generation.Backend`; slot i computes on device i. Imports torch when it loads, not before."""

    def __init__(self, options: PipelineOptions) -> None:
        self._options = options
        self._workers: tuple[InferenceWorker, ...] = ()
        self._turns: tuple[Turns, ...] = ()
        self._checks = itertools.count()

    def load(self) -> None:
        """Loads the models on every device, one after another, as the libraries' loaders are not made for threads.

        Raises ModelUnavailable: libraries_missing, or what an InferenceWorker's `load` raises.
        """
        # Read when the libraries are imported: they would print notices that concern no operator of a provider.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "critical")
        os.environ.setdefault("DIFFUSERS_VERBOSITY", "critical")
        try:
            from provider.inference.worker import create_workers
        except ImportError as error:
            message = f"the extra `provider` is not installed (pip install 'aitbc[provider]'): {error}"
            raise ModelUnavailable(message, reason="libraries_missing") from error
        self._workers = create_workers(self._options)
        self._turns = tuple(Turns() for _ in self._workers)
        for worker in self._workers:
            worker.load()

    def devices(self) -> tuple[Device, ...]:
        """One for each slot."""
        return tuple(worker.device for worker in self._workers)

    def slots(self) -> int:
        """As many as there are devices: a device computes one batch at a time."""
        return len(self._workers)

    def models(self) -> tuple[ModelReport, ...]:
        """Every model, loaded if it is on any device; its memory is that on one device."""
        if not self._workers:
            return tuple(ModelReport(name, is_loaded=False, vram_mib=0) for name in self._options.models)
        reports = zip(*(worker.models() for worker in self._workers), strict=True)
        return tuple(
            ModelReport(
                name=on_devices[0].name,
                is_loaded=any(report.is_loaded for report in on_devices),
                vram_mib=max(report.vram_mib for report in on_devices),
            )
            for on_devices in reports
        )

    def max_rows(self, key: BatchKey) -> int:
        """What fits on every device, as it is not known yet which one will compute the batch."""
        return min((worker.max_rows(key) for worker in self._workers), default=1)

    def run(self, batch: Batch, slot: int) -> Iterator[BatchEvent]:
        """Computes the batch on the slot's device; raises as `Backend.run`."""
        with self._turns[slot]:
            yield from self._workers[slot].run(batch)

    def check(self, check: StepCheck) -> StepsChecked:
        """On one device after another, between its batches; raises as `Backend.check`."""
        if not self._workers:
            raise GenerationFailed("the model is not loaded", reason="not_ready")
        device = next(self._checks) % len(self._workers)
        with self._turns[device]:
            return self._workers[device].check(check)

    def vram_used_mib(self) -> int:
        """On all GPUs together."""
        return sum(worker.vram_used_mib() for worker in self._workers)

    def close(self) -> None:
        """Frees the models."""
        for worker in self._workers:
            worker.close()
