"""One device at work: its models, its batches, and what went wrong said in the project's own errors."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from provider.errors import BackendLost, GenerationFailed, ModelUnavailable, OutOfMemory, ProviderError
from provider.generation import (
    Batch,
    BatchEvent,
    BatchKey,
    Device,
    Encoding,
    ModelReport,
    PipelineOptions,
    ReproducibilityProfile,
    Row,
    StepCheck,
    StepsChecked,
)
from provider.inference import load_errors, memory, rerun
from provider.inference.conditioning import Canvas
from provider.inference.devices import ComputeDevice, find_devices, is_out_of_memory
from provider.inference.drawing import draw
from provider.inference.libraries import choose_kernels
from provider.inference.loading import LoadedModel
from provider.inference.models import ModelShelf
from provider.inference.profile import reproducibility_profile
from provider.inference.rounding import is_shorter, rounding_of_step
from provider.inference.schedulers import new_scheduler

_SELF_TEST_STEPS = 2
_SELF_TEST_SIDE_PIXELS = 256


def create_workers(options: PipelineOptions) -> "tuple[InferenceWorker, ...]":
    """One for each GPU, or one for the CPU; loads nothing yet. Raises ModelUnavailable(no_such_device)."""
    return tuple(InferenceWorker(options, device) for device in find_devices(options))


class InferenceWorker:
    """Owns one device. `load`, `run` and the reruns are for one thread at a time; the rest is for any thread.

    A model that is not loaded is switched to when a batch asks for it; the batch waits, as does whatever comes after
    it, because a device computes one batch at a time.
    """

    def __init__(self, options: PipelineOptions, device: ComputeDevice | None = None) -> None:
        self._options = options
        self._device = device or find_devices(options)[0]
        self._shelf = ModelShelf(options, self._device)
        self._tested: set[str] = set()
        self._default_threads = torch.get_num_threads()
        self._idle_free_bytes = memory.free_bytes(self._device)
        """Measured while nothing is computed."""

    @property
    def device(self) -> Device:
        """Where it computes."""
        return self._device.description

    def load(self) -> None:
        """Loads the default model and those to be preloaded; each makes one small picture as a test and a warm-up.

        Raises ModelUnavailable with a reason: no_such_device, model_folder_missing, model_folder_incomplete,
        model_not_found, model_not_supported, model_hub_unreachable, model_too_large, unet_not_prepared or
        self_test_failed.
        """
        default = next(iter(self._options.models))
        # The default last: should they not fit together, it is the one that stays.
        for name in (*reversed([name for name in self._options.preload if name != default]), default):
            self._switch_to(name)

    def run(self, batch: Batch) -> Iterator[BatchEvent]:
        """StepDone for every step, then BatchDone; closing the generator ends the work between two steps.

        Raises OutOfMemory, BackendLost, ModelUnavailable or GenerationFailed (also not_a_number, bad_source_image,
        unknown_scheduler).
        """
        model = self._switch_to(batch.key.model)
        yield from self._compute(model, batch)

    def max_rows(self, key: BatchKey) -> int:
        """The most rows of this kind that fit beside the loaded models; before its model is, the operator's bound."""
        model = self._shelf.find_loaded(key.model)
        if model is None:
            return max(1, self._options.max_batch_rows)
        return max(1, min(self._options.max_batch_rows, memory.rows_that_fit(model, key, self._idle_free_bytes)))

    def models(self) -> tuple[ModelReport, ...]:
        """Every model that may be asked for, the default first."""
        return self._shelf.reports()

    def vram_used_mib(self) -> int:
        """Memory that torch holds on this GPU; 0 on a CPU."""
        return torch.cuda.memory_reserved(self._device.torch_device) // 2**20 if self._device.is_gpu else 0

    def close(self) -> None:
        """Frees the models."""
        self._shelf.drop_all()

    def profile(self, key: BatchKey, batch_rows: int = 1) -> ReproducibilityProfile:
        """What a batch of this kind would state. Raises ModelUnavailable or GenerationFailed(unknown_scheduler)."""
        model = self._switch_to(key.model)
        return reproducibility_profile(
            model,
            self._device,
            scheduler=new_scheduler(key.scheduler, model.pipeline.scheduler),
            batch_rows=batch_rows,
            latent_shape=rerun.latent_shape(model, Canvas.around(key, model.scale_factor)),
        )

    def evaluations(self, key: BatchKey) -> int:
        """Steps of a run of this kind; its trajectory has one entry more. Raises as `profile`."""
        return rerun.evaluations(self._switch_to(key.model), key, self._device)

    def latents_needed(self, key: BatchKey, step: int) -> tuple[int, ...]:
        """Entries of a trajectory that must be opened to compute entry `step` anew. Raises as `profile`."""
        return rerun.entries_needed(self._switch_to(key.model), key, self._device, step)

    def expected_rms(self, key: BatchKey, row: Row) -> tuple[float, ...]:
        """How large each entry of such a run's trajectory is; see `rerun.expected_rms`. Raises as `run`."""
        model = self._switch_to(key.model)
        with self._failures_named(key, 1):
            return rerun.expected_rms(model, self._device, key, row)

    def rerun_step(
        self,
        key: BatchKey,
        row: Row,
        step: int,
        opened: Mapping[int, bytes],
        *,
        batch_rows: int = 1,
        expected_rms: Sequence[float] | None = None,
    ) -> bytes:
        """Entry `step` of a trajectory computed anew; see `rerun.rerun_step`. Raises as `run`."""
        model = self._switch_to(key.model)
        with self._failures_named(key, batch_rows):
            return rerun.rerun_step(
                model, self._device, key, row, step, opened, batch_rows=batch_rows, expected_rms=expected_rms
            )

    def picture_of(self, key: BatchKey, row: Row, latents: bytes) -> bytes:
        """The encoded picture of a trajectory's last entry; see `rerun.picture_of`. Raises as `run`."""
        model = self._switch_to(key.model)
        with self._failures_named(key, 1):
            return rerun.picture_of(model, self._device, key, row, latents)

    def check(self, check: StepCheck) -> StepsChecked:
        """Entries computed again, as `provider.generation.StepCheck` says. Raises as `run`."""
        key, evaluations = check.key, self.evaluations(check.key)
        needed = tuple(self.latents_needed(key, step) for _, step in check.places)
        if check.opened is None:
            return StepsChecked(evaluations, needed)
        sizes: dict[int, tuple[float, ...]] = {}
        latents, rounding = [], []
        for (index, step), entries in zip(check.places, needed, strict=True):
            row = check.rows[index]
            if index not in sizes:
                sizes[index] = self.expected_rms(key, row)
            opened = {entry: check.opened[index, entry] for entry in entries if (index, entry) in check.opened}
            again = self.rerun_step(key, row, step, opened, batch_rows=check.batch_rows, expected_rms=sizes[index])
            latents.append(again)
            rounding += self._rounding(check, row, step, opened, again, sizes[index])
        expected = tuple(sizes[index][step] for index, step in check.places)
        profile = self.profile(key, check.batch_rows)
        return StepsChecked(evaluations, needed, profile, expected, tuple(latents), tuple(rounding))

    def _rounding(
        self,
        check: StepCheck,
        row: Row,
        step: int,
        opened: Mapping[int, bytes],
        again: bytes,
        expected_rms: Sequence[float],
    ) -> list[float]:
        """Of one step, in a list; an empty one where both compute in the same precision."""
        key, model = check.key, self._switch_to(check.key.model)
        if check.dtype is None or not is_shorter(check.dtype, model.dtype):
            return []
        with self._failures_named(key, check.batch_rows):
            return [
                rounding_of_step(
                    model,
                    self._device,
                    key,
                    row,
                    step,
                    opened,
                    again=again,
                    dtype=check.dtype,
                    batch_rows=check.batch_rows,
                    expected_rms=expected_rms,
                )
            ]

    def _compute(self, model: LoadedModel, batch: Batch) -> Iterator[BatchEvent]:
        with self._failures_named(batch.key, len(batch.rows)):
            yield from draw(model, batch, self._device)
        self._idle_free_bytes = memory.free_bytes(self._device)

    @contextmanager
    def _failures_named(self, key: BatchKey, rows: int) -> Iterator[None]:
        """The worker must outlive any job, so whatever a library raises within is that job's failure."""
        try:
            yield
        except ProviderError:
            raise
        except Exception as error:
            raise self._failure(error, key, rows) from error

    def _failure(self, error: Exception, key: BatchKey, rows: int) -> GenerationFailed:
        """What happened, in the project's words; frees what the failed work held."""
        has_run_out = is_out_of_memory(error)
        if isinstance(error, torch.AcceleratorError) and not has_run_out:
            return BackendLost(f"the GPU failed, and the provider must be restarted: {type(error).__name__}")
        memory.release(self._device, error)
        if has_run_out:
            size = f"{key.width} by {key.height} pixels"
            return OutOfMemory(f"too little memory on this device for {rows} of {size}")
        return GenerationFailed(f"the pipeline failed: {type(error).__name__}")

    def _switch_to(self, name: str) -> LoadedModel:
        """The model, loaded and tested."""
        self._device.select()
        choose_kernels(self._options, self._device)
        model = self._shelf.get(name)
        self._set_threads(model)
        if name not in self._tested:
            self._self_test(model)
            self._tested.add(name)
            self._idle_free_bytes = memory.free_bytes(self._device)
        return model

    def _set_threads(self, model: LoadedModel) -> None:
        """A second thread hardly speeds the embedded model up, and others have use for it."""
        if not self._device.is_gpu:
            chosen = self._options.cpu_threads or (1 if model.is_embedded else self._default_threads)
            torch.set_num_threads(chosen)

    def _self_test(self, model: LoadedModel) -> None:
        side = _SELF_TEST_SIDE_PIXELS
        key = BatchKey(model.name, side, side, _SELF_TEST_STEPS, "default", is_guided=True, strength=None)
        batch = Batch(key, (Row("", "", 2.5, 0, Encoding()),))
        hardware = self._device.description.name
        try:
            for _event in self._compute(model, batch):
                pass
        except GenerationFailed as error:
            self._shelf.drop(model.name)
            if isinstance(error, OutOfMemory):
                raise load_errors.too_large(model.name, hardware) from error
            message = f"{model.name} cannot make a picture on {hardware}: {error.message}"
            raise ModelUnavailable(message, reason="self_test_failed") from error
