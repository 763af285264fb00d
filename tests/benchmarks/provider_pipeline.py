"""What the provider's own loop costs beside a bare call of diffusers, and what batching gains.

Everything is compared within one run, all ways in turns (`provider_turns`). Both ways encode their pictures as PNG: any
server must. On a GPU the model is Stable Diffusion 1.5's architecture with random weights (speed does not depend on
their values), and the reference is the plan's own server: half precision, attention slicing, one request at a time.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from structlog.testing import capture_logs

from provider.errors import ModelUnavailable
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
from tests.benchmarks.provider_turns import in_turns, median, ratio

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
    ways = [our_way(worker, EMBEDDED_MODEL, job, count) for count in BATCHES]
    ways += [bare_way(pipeline, job, count) for count in BATCHES]
    measured = in_turns(ways, rounds)
    ours, bare = measured[: len(BATCHES)], measured[len(BATCHES) :]
    rows = [
        (
            str(count),
            milliseconds(median(our_seconds) / count),
            milliseconds(median(bare_seconds) / count),
            ratio(our_seconds, bare_seconds),
            ratio(ours[0], our_seconds, factor=count),
        )
        for count, our_seconds, bare_seconds in zip(BATCHES, ours, bare, strict=True)
    ]
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
    """Each row: latency of one picture, pictures per second in a batch of eight, and both against the reference.

    The reference stays in memory, and is measured in turns with every way anew.
    """
    import torch

    pipeline = _bare_pipeline(model_folder, device, torch.float16)
    pipeline.enable_attention_slicing()
    reference = bare_way(pipeline, job, 1)
    (alone,) = in_turns([reference], rounds)
    rows = [
        (
            "the plan's reference, one at a time",
            milliseconds(median(alone)),
            f"{1 / median(alone):.2f}",
            ratio(alone, alone),
            ratio(alone, alone),
        )
    ]
    bare = _bare_pipeline(model_folder, device, torch.float16)
    rows.append(_line("bare diffusers", lambda count: bare_way(bare, job, count), reference, rounds))
    rows += [_our_line(model_folder, job, device, name, ways, reference, rounds) for name, ways in _VARIANTS]
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

Line = tuple[str, str, str, str, str]


def _line(name: str, way: Callable[[int], Callable[[], None]], reference: Callable[[], None], rounds: int) -> Line:
    alone, one, batch = in_turns([reference, way(1), way(GPU_BATCH)], rounds)
    throughput = ratio(alone, batch, factor=GPU_BATCH)
    return name, milliseconds(median(one)), f"{GPU_BATCH / median(batch):.2f}", throughput, ratio(one, alone)


def _our_line(
    model_folder: Path,
    job: Job,
    device: str,
    name: str,
    ways: dict[str, bool],
    reference: Callable[[], None],
    rounds: int,
) -> Line:
    """One of our ways; says so where it could not be prepared, or where what was prepared is not used."""
    try:
        with capture_logs() as events:
            worker = _worker(model_folder, job, device, ways)
    except ModelUnavailable as error:
        return name, f"not measured: {error.message}", "", "", ""
    distrusted = sum(event["event"] == "unet_not_trusted" for event in events)
    if distrusted:
        name += f" (not used for {distrusted} shapes, as it computed something else)"
    line = _line(name, lambda count: our_way(worker, "sd15", job, count), reference, rounds)
    worker.close()
    return line


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
