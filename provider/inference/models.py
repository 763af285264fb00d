"""The loaded models of one device: least recently used ones give way where memory for another is needed."""

import gc
import threading
from collections import OrderedDict
from pathlib import Path

import torch

from provider.errors import ModelUnavailable
from provider.generation import EMBEDDED_MODEL, ModelReport, PipelineOptions
from provider.inference import finding, load_errors, loading, memory
from provider.inference.devices import ComputeDevice, choose_dtype
from provider.inference.loading import LoadedModel


class ModelShelf:
    """`get` and `drop` are called by the device's one thread; `reports` and `find_loaded` by any."""

    def __init__(self, options: PipelineOptions, device: ComputeDevice) -> None:
        self._options = options
        self._device = device
        self._limit_bytes = memory.models_limit_bytes(device, options.vram_limit_mib)
        self._lock = threading.Lock()
        """Held for a moment only, never while a model loads."""
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        """The most recently used last."""
        self._known_bytes: dict[str, int] = {}
        self._folders: dict[str, Path] = {}

    def get(self, name: str) -> LoadedModel:
        """The model, loaded if it must be, after others have given way.

        Raises ModelUnavailable: unknown_model, or what `loading` says.
        """
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
                return self._loaded[name]
        source = self._options.models.get(name)
        if source is None:
            raise ModelUnavailable(f"this provider has no model {name[:100]!r}", reason="unknown_model")
        folder = self._find_folder(name, source)
        dtype = choose_dtype(self._options, self._device, is_embedded=source == EMBEDDED_MODEL)
        self._make_room(name, finding.estimate_bytes(folder, dtype))
        model = loading.load_model(name, folder, self._options, self._device, dtype)
        with self._lock:
            self._loaded[name] = model
            self._known_bytes[name] = model.resident_bytes
        return model

    def find_loaded(self, name: str) -> LoadedModel | None:
        """The model if it is loaded now; does not count as a use."""
        with self._lock:
            return self._loaded.get(name)

    def drop(self, name: str) -> None:
        """Frees a model; nothing where it is not loaded."""
        with self._lock:
            self._loaded.pop(name, None)
        self._free()

    def drop_all(self) -> None:
        """Frees every model."""
        with self._lock:
            self._loaded.clear()
        self._free()

    def reports(self) -> tuple[ModelReport, ...]:
        """Every model that may be asked for, in the operator's order."""
        with self._lock:
            loaded, known_bytes = set(self._loaded), dict(self._known_bytes)
        if not self._device.is_gpu:
            known_bytes = {}
        return tuple(
            ModelReport(name, name in loaded, known_bytes.get(name, 0) // 2**20) for name in self._options.models
        )

    def _find_folder(self, name: str, source: str) -> Path:
        """Found once, so that a model that gave way comes back without asking the hub."""
        if name not in self._folders:
            self._folders[name] = finding.find_folder(source)
        return self._folders[name]

    def _make_room(self, name: str, needed_bytes: int) -> None:
        if needed_bytes > self._limit_bytes:
            raise load_errors.too_large(name, f"{self._limit_bytes // 2**20} MiB that models may take")
        while self._loaded and not self._has_room(needed_bytes):
            with self._lock:
                self._loaded.popitem(last=False)
            self._free()

    def _has_room(self, needed_bytes: int) -> bool:
        """Within the bound, and on a GPU also beside what other programs have taken of it."""
        resident_bytes = sum(model.resident_bytes for model in self._loaded.values())
        if resident_bytes + needed_bytes > self._limit_bytes:
            return False
        return not self._device.is_gpu or memory.free_bytes(self._device) >= needed_bytes

    def _free(self) -> None:
        # A pipeline's parts refer to one another, so that only the collector frees them.
        gc.collect()
        if self._device.is_gpu:
            torch.cuda.empty_cache()
