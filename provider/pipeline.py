"""The diffusers pipeline: loads a real `StableDiffusionPipeline` and turns a request into PNG bytes.

The only module of the project (beside the tiny model's trainer) that imports torch and diffusers. Importing it takes
seconds, so only the engine's worker does, when it starts.
"""

import io
import math
import os
import platform
import re
import time
import warnings
from pathlib import Path
from typing import Any

import diffusers
import numpy
import torch
import transformers
from diffusers import StableDiffusionPipeline
from PIL import Image

from provider.errors import GenerationFailed, ModelUnavailable, OutOfMemory
from provider.generation import (
    EMBEDDED_MODEL_FOLDER,
    Device,
    GeneratedImage,
    ImageRequest,
    PipelineOptions,
    StopCheck,
)

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?")
_PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_SELF_TEST = ImageRequest(prompt="", steps=5, guidance=2.5, width=256, height=256, seed=0)


class ImagePipeline:
    """A loaded model on one device. Not thread-safe: the engine calls it from its worker only."""

    def __init__(self, pipeline: Any, device: Device) -> None:
        self._pipeline = pipeline
        self.device = device

    def generate(self, request: ImageRequest, check_stop: StopCheck) -> GeneratedImage:
        """Makes the picture; the same request on the same device gives the same bytes.

        Raises GenerationFailed: OutOfMemory, what `check_stop` raises between two steps, or whatever else went wrong.
        """
        try:
            stopwatch = _Stopwatch(self.device.kind)
            pixels = self._pixels(request, check_stop)
            compute_microseconds = stopwatch.stop()
            return GeneratedImage(_encode_png(pixels, request.width, request.height), compute_microseconds)
        except GenerationFailed:
            raise
        except Exception as error:  # The worker must outlive any job, so what a library raises is that job's failure.
            if not _is_out_of_memory(error):
                raise GenerationFailed(f"the pipeline failed: {type(error).__name__}") from error
            if self.device.kind == "cuda":
                torch.cuda.empty_cache()
            message = f"too little memory on this device for {request.width} by {request.height} pixels"
            raise OutOfMemory(message) from error

    def vram_used_mib(self) -> int:
        """Memory that torch holds on the GPU; 0 on a CPU."""
        return int(torch.cuda.memory_reserved()) // 2**20 if self.device.kind == "cuda" else 0

    def _pixels(self, request: ImageRequest, check_stop: StopCheck) -> "numpy.ndarray[Any, Any]":
        """Floats in 0 to 1 of shape (height, width, 3), at least as large as asked for."""

        def after_step(_pipeline: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            check_stop()
            return tensors

        # A generator on the CPU draws the same noise whatever the device is.
        generator = torch.Generator(device="cpu").manual_seed(request.seed)
        factor = int(self._pipeline.vae_scale_factor)
        result = self._pipeline(
            request.prompt,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            width=math.ceil(request.width / factor) * factor,
            height=math.ceil(request.height / factor) * factor,
            generator=generator,
            output_type="np",
            callback_on_step_end=after_step,
        )
        pixels: numpy.ndarray[Any, Any] = result.images[0]
        if not numpy.isfinite(pixels).all():
            # Half precision can overflow; the picture would be black and nobody should pay for it.
            raise GenerationFailed("the model produced values that are not numbers", reason="not_a_number")
        return pixels


def load_pipeline(options: PipelineOptions) -> ImagePipeline:
    """Loads the model, moves it to the device and makes one small picture as a self-test and warm-up.

    Raises ModelUnavailable with a reason: no_such_device, model_folder_missing, model_folder_incomplete,
    model_not_found, model_hub_unreachable, model_too_large or self_test_failed.
    """
    _quieten()
    device = _choose_device(options.device)
    # Same seed, same picture: the fastest algorithm for the first size seen may not be the same everywhere.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    if device.kind == "cpu":
        threads = options.cpu_threads or (1 if options.is_embedded else 0)
        if threads:
            torch.set_num_threads(threads)
    loaded = _from_pretrained(options, device)
    try:
        pipeline = ImagePipeline(loaded.to(device.kind), device)
        pipeline.generate(_SELF_TEST, lambda: None)
    except (torch.OutOfMemoryError, MemoryError, OutOfMemory) as error:
        message = f"{options.model} does not fit into the memory of {device.name}"
        raise ModelUnavailable(message, reason="model_too_large") from error
    except GenerationFailed as error:
        message = f"{options.model} cannot make a picture on {device.name}: {error.message}"
        raise ModelUnavailable(message, reason="self_test_failed") from error
    return pipeline


def _from_pretrained(options: PipelineOptions, device: Device) -> Any:
    """The pipeline on the CPU, from the package, a folder or the model hub's cache or network."""
    folder = _model_folder(options)
    source = str(folder) if folder else options.model
    extra: dict[str, Any] = {"local_files_only": True} if folder else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            pipeline = StableDiffusionPipeline.from_pretrained(
                source,
                dtype=_precision(options, device),
                safety_checker=None,
                requires_safety_checker=False,
                **extra,
            )
    except MemoryError as error:
        raise ModelUnavailable(f"{options.model} does not fit into memory", reason="model_too_large") from error
    except Exception as error:  # The libraries raise many types here; each means that this model is not to be had.
        raise _load_error(options, folder, error) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _model_folder(options: PipelineOptions) -> Path | None:
    """The folder to load from, or None where the model is a hub's id."""
    if options.is_embedded:
        return EMBEDDED_MODEL_FOLDER
    folder = Path(options.model).expanduser()
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            message = f"the model folder {folder} has no model_index.json, so it is not a diffusers pipeline"
            raise ModelUnavailable(message, reason="model_folder_incomplete")
        return folder
    if folder.is_absolute() or options.model.startswith((".", "~")) or not _HUB_ID.fullmatch(options.model):
        message = f"there is no model folder {options.model}"
        raise ModelUnavailable(message, reason="model_folder_missing")
    return None


def _load_error(options: PipelineOptions, folder: Path | None, error: Exception) -> ModelUnavailable:
    """Says whose fault it is: the folder's, the id's, or the way to the model hub."""
    if folder:
        message = f"the model folder {folder} cannot be loaded: {_first_line(error)}"
        return ModelUnavailable(message, reason="model_folder_incomplete")
    causes = _chain(error)
    names = {type(cause).__name__ for cause in causes}
    if names & {"RepositoryNotFoundError", "GatedRepoError", "RevisionNotFoundError", "HFValidationError"}:
        message = f"the model hub has no public model {options.model} (nor is there a folder of that name)"
        return ModelUnavailable(message, reason="model_not_found")
    if names & {"EntryNotFoundError", "ValueError", "KeyError"} and not names & {"LocalEntryNotFoundError"}:
        message = f"{options.model} is not a Stable Diffusion pipeline: {_first_line(error)}"
        return ModelUnavailable(message, reason="model_not_found")
    message = (
        f"{options.model} is not in the local cache and the model hub cannot be reached; "
        f"pass --model with a folder, or leave it out for the embedded model ({_first_line(error)})"
    )
    return ModelUnavailable(message, reason="model_hub_unreachable")


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and what caused it, at most ten deep."""
    causes: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and len(causes) < 10:
        causes.append(current)
        current = current.__cause__ or current.__context__
    return causes


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def _choose_device(wanted: str) -> Device:
    """Describes the device asked for; "auto" takes a GPU where there is one."""
    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise ModelUnavailable("there is no CUDA GPU that torch can use", reason="no_such_device")
    if wanted == "cpu" or not has_gpu:
        return Device("cpu", _cpu_name(), 0)
    memory_bytes = torch.cuda.get_device_properties(0).total_memory
    return Device("cuda", torch.cuda.get_device_name(0), memory_bytes // 2**20)


def _cpu_name() -> str:
    """The processor as Linux names it, or as Python does elsewhere."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", listing.read_text(errors="replace"), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine() or "unknown CPU"


def _precision(options: PipelineOptions, device: Device) -> torch.dtype:
    """Half precision on a GPU unless told otherwise; the embedded model is too small to gain from it."""
    if options.precision != "auto":
        return _PRECISIONS[options.precision]
    return torch.float16 if device.kind == "cuda" and not options.is_embedded else torch.float32


class _Stopwatch:
    """Measures device time: CUDA events around the work on a GPU, wall time on a CPU."""

    def __init__(self, device_kind: str) -> None:
        self._events: tuple[Any, Any] | None = None
        if device_kind == "cuda":
            self._events = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            self._events[0].record()
        self._started_ns = time.perf_counter_ns()

    def stop(self) -> int:
        """Whole microseconds since the start."""
        if self._events is None:
            return (time.perf_counter_ns() - self._started_ns) // 1000
        self._events[1].record()
        torch.cuda.synchronize()
        return int(self._events[0].elapsed_time(self._events[1]) * 1000)


def _encode_png(pixels: "numpy.ndarray[Any, Any]", width: int, height: int) -> bytes:
    """Crops the middle of the size asked for (a model may work in steps larger than 8 pixels) and encodes it."""
    top = (pixels.shape[0] - height) // 2
    left = (pixels.shape[1] - width) // 2
    if top < 0 or left < 0:
        raise GenerationFailed("the model made a picture smaller than asked for", reason="wrong_size")
    window = pixels[top : top + height, left : left + width]
    buffer = io.BytesIO()
    Image.fromarray((window * 255).round().astype("uint8")).save(buffer, format="PNG")
    return buffer.getvalue()


def _is_out_of_memory(error: Exception) -> bool:
    """Whether a device's memory ran out; the CPU allocator says so in words only."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def _quieten() -> None:
    """The libraries would log the end of a long prompt ("was truncated"): prompts belong in no log."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    diffusers.utils.logging.set_verbosity(diffusers.utils.logging.CRITICAL)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity(transformers.utils.logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
