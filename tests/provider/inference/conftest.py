"""What the tests of inference share: the embedded model, a random Stable Diffusion, and bare calls of diffusers."""

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from provider.generation import (
    EMBEDDED_MODEL,
    EMBEDDED_MODEL_FOLDER,
    Batch,
    BatchDone,
    BatchKey,
    Encoding,
    PipelineOptions,
    Row,
    StepDone,
)
from provider.inference.devices import find_devices
from provider.inference.finding import find_folder
from provider.inference.loading import LoadedModel, load_model
from provider.inference.schedulers import new_scheduler
from provider.inference.worker import InferenceWorker

PROMPT = "a red circle on a blue background"
OPTIONS = PipelineOptions(device="cpu", cpu_threads=1)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def worker() -> InferenceWorker:
    """A CPU's worker with the embedded model."""
    built = InferenceWorker(OPTIONS)
    built.load()
    return built


@pytest.fixture(scope="session")
def embedded() -> LoadedModel:
    """The embedded model, loaded beside the worker's."""
    device = find_devices(OPTIONS)[0]
    return load_model(EMBEDDED_MODEL, find_folder(EMBEDDED_MODEL), OPTIONS, device, torch.float32)


@pytest.fixture(scope="session")
def small_sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 1.x's architecture, made narrow, with random weights: 4 latent channels, factor 8, epsilon."""
    torch.manual_seed(11)
    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED_MODEL_FOLDER / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=32, attention_head_dim=2,
        norm_num_groups=8, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, norm_num_groups=8, latent_channels=4,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    folder = tmp_path_factory.mktemp("models") / "small-sd"
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture
def copied_model(tmp_path: Path) -> Path:
    """The embedded model in a folder of its own, to damage."""
    folder = tmp_path / "copy"
    shutil.copytree(EMBEDDED_MODEL_FOLDER, folder)
    return folder


def make_key(**fields: Any) -> BatchKey:
    """A small guided text-to-image batch of the embedded model, unless `fields` say otherwise."""
    quick = BatchKey(EMBEDDED_MODEL, 256, 256, 5, "default", is_guided=True, strength=None)
    return replace(quick, **fields)


def make_row(**fields: Any) -> Row:
    """A row that suits `make_key`."""
    return replace(Row(PROMPT, "", 2.5, 7, Encoding()), **fields)


@dataclass(frozen=True)
class Run:
    """Everything that a worker said about one batch."""

    steps: list[StepDone]
    done: BatchDone

    def picture(self, index: int = 0) -> "numpy.ndarray[Any, Any]":
        """A row's pixels, shape (height, width, 3), as integers that can be subtracted."""
        return read_pixels(self.done.rows[index].picture)

    def trajectory(self, index: int = 0) -> tuple[bytes, ...]:
        """A row's latents; the row asked for them."""
        trajectory = self.done.rows[index].trajectory
        assert trajectory is not None
        return trajectory


def read_pixels(picture: bytes) -> "numpy.ndarray[Any, Any]":
    with Image.open(io.BytesIO(picture)) as image:
        return numpy.asarray(image.convert("RGB")).astype(int)


def run_batch(worker: InferenceWorker, key: BatchKey, *rows: Row) -> Run:
    """Runs a batch to its end."""
    events = list(worker.run(Batch(key, rows)))
    done = events[-1]
    steps = [event for event in events if isinstance(event, StepDone)]
    assert isinstance(done, BatchDone)
    assert len(steps) == len(events) - 1
    return Run(steps, done)


def run_bare(model: LoadedModel, key: BatchKey, row: Row) -> "tuple[numpy.ndarray[Any, Any], list[bytes]]":
    """The same by one call of diffusers' own pipeline: pixels, and the latents after each step."""
    is_from_picture = key.strength is not None
    pipeline_class = StableDiffusionImg2ImgPipeline if is_from_picture else StableDiffusionPipeline
    parts = dict(model.pipeline.components) | {"scheduler": new_scheduler(key.scheduler, model.pipeline.scheduler)}
    pipeline = pipeline_class(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    latents: list[bytes] = []

    def after_step(_pipeline: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        latents.append(tensors["latents"].contiguous().numpy().tobytes())
        return tensors

    if is_from_picture:
        assert row.source_png is not None
        own: dict[str, Any] = {"image": Image.open(io.BytesIO(row.source_png)), "strength": key.strength}
    else:
        own = {"width": key.width, "height": key.height}
    result = pipeline(
        row.prompt,
        negative_prompt=row.negative_prompt,
        num_inference_steps=key.steps,
        guidance_scale=row.guidance,
        generator=torch.Generator("cpu").manual_seed(row.seed),
        callback_on_step_end=after_step,
        **own,
    )
    return numpy.asarray(result.images[0]).astype(int), latents


def make_source(width: int = 256, height: int = 256) -> bytes:
    """A red square on blue, as PNG."""
    image = Image.new("RGB", (width, height), (40, 70, 220))
    image.paste((220, 30, 30), (width // 4, height // 4, width * 3 // 4, height * 3 // 4))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


class Tools:
    """The functions above, for test files (which cannot import from here)."""

    key = staticmethod(make_key)
    row = staticmethod(make_row)
    run = staticmethod(run_batch)
    run_bare = staticmethod(run_bare)
    source = staticmethod(make_source)
    read_pixels = staticmethod(read_pixels)
    options = OPTIONS


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    """Short ways to keys, rows, runs and bare calls."""
    return Tools


@pytest.fixture(scope="session")
def new_worker() -> Callable[..., InferenceWorker]:
    """Workers of one's own: `new_worker(models={...}, ...)`; nothing is loaded yet."""

    def build(**options: Any) -> InferenceWorker:
        return InferenceWorker(replace(OPTIONS, **options))

    return build
