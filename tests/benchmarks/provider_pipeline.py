"""What the provider's own loop costs beside a bare call of diffusers, and what batching gains.

Everything is compared within one run, the two ways in turns, because machines are shared and their speed drifts.
Both ways encode their pictures as PNG: any server must. On a GPU the model is Stable Diffusion 1.5's architecture with
random weights (speed does not depend on their values), and the reference is the plan's own server: half precision,
attention slicing, one request at a time.
"""

import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from provider.generation import (
    EMBEDDED_MODEL,
    EMBEDDED_MODEL_FOLDER,
    Batch,
    BatchKey,
    Encoding,
    PipelineOptions,
    Row,
)
from tests.benchmarks.measuring import Table, milliseconds

PROMPT: Final = "a red circle on a blue background"
BATCHES: Final = (1, 2, 4, 8)
GPU_BATCH: Final = 8

STABLE_DIFFUSION_UNET: Final = {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768}
STABLE_DIFFUSION_VAE: Final = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}
STABLE_DIFFUSION_TEXT: Final = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
"""As in the model's own configuration files."""


@dataclass(frozen=True)
class Job:
    """What is drawn, however often."""

    side_pixels: int
    steps: int
    guidance: float

    def key(self, model: str) -> BatchKey:
        """The kind of batch."""
        return BatchKey(model, self.side_pixels, self.side_pixels, self.steps, "default", is_guided=True, strength=None)


def in_turns(ways: list[Callable[[], None]], rounds: int) -> list[float]:
    """Median seconds of each way; every round runs all of them, after one that warms up and does not count."""
    seconds: list[list[float]] = [[] for _ in ways]
    for round_index in range(rounds + 1):
        for way, measured in zip(ways, seconds, strict=True):
            started = time.perf_counter()
            way()
            if round_index > 0:
                measured.append(time.perf_counter() - started)
    return [statistics.median(measured) for measured in seconds]


def our_way(worker: Any, model: str, job: Job, rows: int) -> Callable[[], None]:
    """A batch of the provider's worker, from rows to encoded pictures."""
    batch = Batch(job.key(model), tuple(Row(PROMPT, "", job.guidance, seed, Encoding()) for seed in range(rows)))

    def run() -> None:
        for _event in worker.run(batch):
            pass

    return run


def bare_way(pipeline: Any, job: Job, rows: int) -> Callable[[], None]:
    """The same by one call of diffusers, and its pictures encoded as ours are."""
    import numpy
    import torch

    from provider.inference.encoding import encode_pictures

    def run() -> None:
        result = pipeline(
            [PROMPT] * rows,
            num_inference_steps=job.steps,
            guidance_scale=job.guidance,
            width=job.side_pixels,
            height=job.side_pixels,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in range(rows)],
        )
        encode_pictures([numpy.asarray(image) for image in result.images], [Encoding()] * rows)

    return run


def pipeline_on_cpu(rounds: int) -> Table:
    """The embedded model on one thread: our loop beside a bare call at the same batch size, and what batching gains."""
    import torch

    from provider.inference.worker import InferenceWorker

    torch.set_num_threads(1)
    job = Job(256, 20, 4.0)
    worker = InferenceWorker(PipelineOptions(device="cpu", cpu_threads=1))
    worker.load()
    pipeline = _bare_pipeline(EMBEDDED_MODEL_FOLDER, "cpu", torch.float32)
    rows, alone_s = [], 0.0
    for count in BATCHES:
        ours_s, bare_s = in_turns([our_way(worker, EMBEDDED_MODEL, job, count), bare_way(pipeline, job, count)], rounds)
        alone_s = alone_s or ours_s
        rows.append(
            (
                str(count),
                milliseconds(ours_s / count),
                milliseconds(bare_s / count),
                f"{ours_s / bare_s:.2f}",
                f"{alone_s * count / ours_s:.2f}",
            )
        )
    title = (
        f"Pictures by the embedded model ({job.side_pixels} by {job.side_pixels}, {job.steps} steps, one CPU thread)"
    )
    return Table(
        title, ("batch", "ours, per picture", "bare diffusers", "ours / bare", "gain over batch 1"), tuple(rows)
    )


def pipeline_on_gpu(rounds: int, folder: Path) -> Table:
    """Stable Diffusion 1.5's architecture at 512 by 512 and 30 steps, against the plan's reference and a bare call."""
    import torch

    if not torch.cuda.is_available():
        return Table("Stable Diffusion 1.5 on a GPU", ("not measured",), (("there is no GPU on this machine",),))
    return compare_with_reference(build_stable_diffusion(folder / "sd15"), Job(512, 30, 7.5), "cuda", rounds)


def compare_with_reference(model_folder: Path, job: Job, device: str, rounds: int) -> Table:
    """Each row: latency of one picture, pictures per second in a batch of eight, and both against the reference."""
    import torch

    reference = _bare_pipeline(model_folder, device, torch.float16)
    reference.enable_attention_slicing()
    (reference_s,) = in_turns([bare_way(reference, job, 1)], rounds)
    rows = [
        ("the plan's reference, one at a time", milliseconds(reference_s), f"{1 / reference_s:.2f}", "1.00", "1.00")
    ]
    del reference
    bare = _bare_pipeline(model_folder, device, torch.float16)
    rows.append(_line("bare diffusers", lambda count: bare_way(bare, job, count), rounds, reference_s))
    for name, ways in _VARIANTS:
        worker = _worker(model_folder, job, device, ways)
        rows.append(_line(name, lambda count, worker=worker: our_way(worker, "sd15", job, count), rounds, reference_s))  # type: ignore[misc]
        worker.close()
    hardware = torch.cuda.get_device_name(0) if device == "cuda" else "CPU"
    title = (
        f"Stable Diffusion 1.5's architecture, {job.side_pixels} by {job.side_pixels}, {job.steps} steps ({hardware})"
    )
    columns = (
        "way",
        "latency of one",
        f"pictures per s, batch {GPU_BATCH}",
        "throughput / reference",
        "latency / reference",
    )
    return Table(title, columns, tuple(rows))


_VARIANTS: Final[tuple[tuple[str, dict[str, bool]], ...]] = (
    ("ours", {}),
    ("ours, CUDA graphs", {"uses_cuda_graphs": True}),
    ("ours, compiled", {"uses_compile": True}),
    ("ours, compiled, CUDA graphs", {"uses_compile": True, "uses_cuda_graphs": True}),
)


def _line(
    name: str, way: Callable[[int], Callable[[], None]], rounds: int, reference_s: float
) -> tuple[str, str, str, str, str]:
    one_s, batch_s = in_turns([way(1), way(GPU_BATCH)], rounds)
    per_s = GPU_BATCH / batch_s
    return name, milliseconds(one_s), f"{per_s:.2f}", f"{per_s * reference_s:.2f}", f"{one_s / reference_s:.2f}"


def _worker(model_folder: Path, job: Job, device: str, ways: dict[str, bool]) -> Any:
    from provider.inference.worker import InferenceWorker

    options = PipelineOptions(
        models={"sd15": str(model_folder)},
        device=device,
        precision="float16",
        max_batch_rows=GPU_BATCH,
        warm_shapes=((job.side_pixels, job.side_pixels),),
        uses_compile=ways.get("uses_compile", False),
        uses_cuda_graphs=ways.get("uses_cuda_graphs", False),
    )
    worker = InferenceWorker(options)
    worker.load()
    return worker


def _bare_pipeline(folder: Path, device: str, dtype: Any) -> Any:
    from diffusers import StableDiffusionPipeline

    from provider.inference.libraries import quieten_libraries

    quieten_libraries()
    pipeline = StableDiffusionPipeline.from_pretrained(
        str(folder), dtype=dtype, local_files_only=True, safety_checker=None, requires_safety_checker=False
    ).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def build_stable_diffusion(
    folder: Path,
    unet: dict[str, Any] = STABLE_DIFFUSION_UNET,
    vae: dict[str, Any] = STABLE_DIFFUSION_VAE,
    text: dict[str, Any] = STABLE_DIFFUSION_TEXT,
) -> Path:
    """The architecture with random weights in half precision, in a folder as diffusers would save it."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from provider.inference.libraries import quieten_libraries

    quieten_libraries()
    torch.manual_seed(15)
    # The embedded model's words are enough for the prompt; what counts for speed is that it becomes 77 tokens.
    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED_MODEL_FOLDER / "tokenizer", model_max_length=77)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * len(vae["block_out_channels"]),
            up_block_types=("UpDecoderBlock2D",) * len(vae["block_out_channels"]),
            latent_channels=4,
            **vae,
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(pad_token_id=tokenizer.pad_token_id, **ids, **text)),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(sample_size=64, attention_head_dim=8, **unet),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    if folder.exists():
        shutil.rmtree(folder)
    pipeline.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)
    return folder
