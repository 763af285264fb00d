"""Which device is taken, and in which precision."""

import pytest
import torch

from provider.generation import PipelineOptions
from provider.inference.devices import choose_dtype, find_devices, is_out_of_memory


def test_a_cpu_is_described_by_its_own_name() -> None:
    (cpu,) = find_devices(PipelineOptions(device="cpu"))
    assert not cpu.is_gpu
    assert cpu.description.kind == cpu.device_class == "cpu"
    assert cpu.description.name.strip() == cpu.description.name != ""
    cpu.select()
    cpu.synchronize()


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_precision_as_asked_and_single_on_a_cpu(precision: str) -> None:
    (cpu,) = find_devices(PipelineOptions(device="cpu"))
    asked = PipelineOptions(device="cpu", precision=precision)
    assert choose_dtype(asked, cpu, is_embedded=True) == getattr(torch, precision)
    assert choose_dtype(PipelineOptions(device="cpu"), cpu, is_embedded=False) == torch.float32


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 5 bytes"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_recognised_by_type_or_words(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) == is_it


@pytest.mark.gpu
def test_every_gpu_is_found() -> None:
    devices = find_devices(PipelineOptions(device="cuda"))
    assert [device.torch_device.index for device in devices] == list(range(torch.cuda.device_count()))
    assert all(device.description.vram_mib > 0 for device in devices)
