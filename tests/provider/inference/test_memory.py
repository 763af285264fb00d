"""How much fits, and what running out of memory looks like."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from provider.generation import PipelineOptions
from provider.inference import memory
from provider.inference.devices import find_devices

STABLE_DIFFUSION_UNET = {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768}
STABLE_DIFFUSION_VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4}
GIB = 2**30


@pytest.fixture(scope="module")
def stable_diffusion() -> Any:
    """The real architecture's configuration in half precision, its weights counted but never made."""
    from types import SimpleNamespace

    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, attention_head_dim=8, **STABLE_DIFFUSION_UNET)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            **STABLE_DIFFUSION_VAE,
        )
    values = sum(part.numel() for model in (unet, vae) for part in model.parameters())
    pipeline = SimpleNamespace(unet=unet, vae=vae)
    return SimpleNamespace(pipeline=pipeline, scale_factor=8, dtype=torch.float16, values=values)


def test_the_arithmetic_of_the_docstring(stable_diffusion: Any, tools: Any) -> None:
    key = tools.key(width=512, height=512)
    text_encoder_values = 123_060_480
    weights_bytes = 2 * (stable_diffusion.values + text_encoder_values)
    assert weights_bytes / GIB == pytest.approx(2.0, abs=0.05)
    assert memory.step_bytes(stable_diffusion, key) / GIB == pytest.approx(0.19, abs=0.005)
    assert memory.decoding_bytes(stable_diffusion, 64, 64) / GIB == pytest.approx(0.75, abs=0.01)
    assert memory.decoding_bytes(stable_diffusion, 128, 128) / GIB == pytest.approx(3.0, abs=0.01)
    free_on_6_gib = 6 * GIB - GIB - weights_bytes
    assert memory.rows_that_fit(stable_diffusion, key, free_on_6_gib) == 11
    assert memory.decoding_bytes(stable_diffusion, 128, 128) > free_on_6_gib * 0.99


def test_fewer_rows_where_they_are_larger_or_memory_is_less(stable_diffusion: Any, tools: Any) -> None:
    small, large = tools.key(width=512, height=512), tools.key(width=1024, height=1024)
    unguided = tools.key(width=512, height=512, is_guided=False)
    free = 8 * GIB
    rows = [memory.rows_that_fit(stable_diffusion, key, free) for key in (large, small, unguided)]
    assert rows == sorted(set(rows))
    assert memory.rows_that_fit(stable_diffusion, small, free // 2) < rows[1]
    assert memory.rows_that_fit(stable_diffusion, large, 0) == 1


def test_the_bound_on_models() -> None:
    (cpu,) = find_devices(PipelineOptions(device="cpu"))
    assert memory.models_limit_bytes(cpu, 100) == 100 * 2**20
    assert memory.models_limit_bytes(cpu, 0) > 2**28
    assert memory.free_bytes(cpu) > 2**27


def test_what_a_failed_batch_held_is_let_go() -> None:
    held: list[Any] = []

    def fail() -> None:
        latents = torch.zeros(1000)
        held.append(weakref.ref(latents))
        raise RuntimeError("std::bad_alloc")

    with pytest.raises(RuntimeError) as caught:
        fail()
    gc.collect()
    assert held[0]() is not None
    memory.release(find_devices(PipelineOptions(device="cpu"))[0], caught.value)
    assert held[0]() is None


PROGRAM = """
import resource, sys
from provider.errors import OutOfMemory
from provider.generation import Batch, BatchKey, EMBEDDED_MODEL, Encoding, PipelineOptions, Row
from provider.inference.worker import InferenceWorker

worker = InferenceWorker(PipelineOptions(device="cpu", cpu_threads=1))
worker.load()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 256 * 2**20, resource.RLIM_INFINITY))

def run(side, rows):
    key = BatchKey(EMBEDDED_MODEL, side, side, 5, "default", is_guided=True, strength=None)
    return list(worker.run(Batch(key, (Row("a red circle", "", 2.5, 1, Encoding()),) * rows)))

try:
    run(1024, 8)
except OutOfMemory as error:
    print("out of memory:", error.message)
print("rows of the next:", len(run(256, 1)[-1].rows))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's process files")
def test_a_process_that_runs_out_of_memory_works_on() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[3],
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert "out of memory: too little memory on this device for 8 of 1024 by 1024 pixels" in finished.stdout
    assert "rows of the next: 1" in finished.stdout
