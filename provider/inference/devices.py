"""Which devices torch can use here, what they are called, and whether their memory ran out."""

import platform
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from provider.errors import ModelUnavailable
from provider.generation import Device, PipelineOptions


@dataclass(frozen=True)
class ComputeDevice:
    """A device as torch addresses it, as the API describes it, and the class of it that a receipt's profile names."""

    torch_device: torch.device
    description: Device
    device_class: str

    @property
    def is_gpu(self) -> bool:
        """Whether it has a memory of its own and CUDA's streams and events."""
        return bool(self.torch_device.type == "cuda")

    def select(self) -> None:
        """Makes it the calling thread's current GPU; nothing on a CPU."""
        if self.is_gpu:
            torch.cuda.set_device(self.torch_device)

    def synchronize(self) -> None:
        """Waits until what was asked of the GPU is done; nothing on a CPU."""
        if self.is_gpu:
            torch.cuda.synchronize(self.torch_device)


def find_devices(options: PipelineOptions) -> tuple[ComputeDevice, ...]:
    """Every GPU that torch can use, or the CPU where there is none or it was asked for.

    Raises ModelUnavailable(no_such_device) where a GPU was asked for and there is none.
    """
    gpu_count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if options.device == "cuda" and gpu_count == 0:
        raise ModelUnavailable("there is no CUDA GPU that torch can use", reason="no_such_device")
    if options.device == "cpu" or gpu_count == 0:
        return (_cpu(),)
    return tuple(_gpu(index) for index in range(gpu_count))


def _cpu() -> ComputeDevice:
    return ComputeDevice(torch.device("cpu"), Device("cpu", _cpu_name(), 0), "cpu")


def _gpu(index: int) -> ComputeDevice:
    properties = torch.cuda.get_device_properties(index)
    device_class = f"{properties.name} {properties.major}.{properties.minor}"
    description = Device("cuda", properties.name, properties.total_memory // 2**20)
    return ComputeDevice(torch.device("cuda", index), description, device_class)


def _cpu_name() -> str:
    """The processor as Linux names it, or as Python does elsewhere."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", listing.read_text(errors="replace"), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine() or "unknown CPU"


def choose_dtype(options: PipelineOptions, device: ComputeDevice, *, is_embedded: bool) -> torch.dtype:
    """Half precision on a GPU unless told otherwise; the embedded model is too small to gain from it."""
    named = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if options.precision != "auto":
        return named[options.precision]
    return torch.float16 if device.is_gpu and not is_embedded else torch.float32


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device's memory ran out; the allocators of CPUs and of CUDA's libraries say so in words only."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    words = ("can't allocate memory", "not enough memory", "bad_alloc", "ALLOC_FAILED", "out of memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
