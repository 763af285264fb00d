"""What a picture job is, what comes back, and where it runs: the types between HTTP, jobs, engine and inference.

An `ImageRequest` asks for one or more pictures. The engine cuts it into rows, one per picture; rows with equal
`BatchKey` may be computed together as a `Batch`. A `Backend` computes batches: in this process, or on Ray's replicas.

Nothing here imports torch, so the service, the command line and the tests of bad input start at once.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

EMBEDDED_MODEL: Final = "aitbc/tiny-sd"
"""The name under which receipts and the registry know the pipeline that this package carries."""

EMBEDDED_MODEL_FOLDER: Final = Path(__file__).parent / "models" / "tiny_sd"

SIZE_STEP_PIXELS: Final = 8
"""Stable Diffusion's latents are 8 times smaller than its pictures, so sides are multiples of 8."""

MAX_SEED: Final = 2**63 - 1
MAX_CHOSEN_SEED: Final = 2**53 - 1
"""A seed that we choose must survive a JSON reader that keeps numbers as doubles."""

MAX_PICTURES: Final = 16
"""Pictures in one request."""

DEFAULT_SCHEDULER: Final = "default"
"""The scheduler that the model's own folder names."""

SCHEDULERS: Final = (
    DEFAULT_SCHEDULER,
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "dpmpp_2m_karras",
    "euler",
    "euler_a",
    "heun",
    "lms",
    "pndm",
    "unipc",
)
"""Names that a request may use; `provider.inference.schedulers` maps each to a class of diffusers."""

OUTPUT_FORMATS: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
"""Format of an encoded picture, and its media type."""


@dataclass(frozen=True)
class SourceImage:
    """The picture that image-to-image starts from: PNG bytes, RGB, exactly the width and height of its request."""

    png: bytes
    strength: float
    """0 to 1: the share of the steps that is run; 1 leaves nothing of the source."""


@dataclass(frozen=True)
class Encoding:
    """How a finished picture is encoded; `quality` (1 to 100) counts for jpeg and webp."""

    format: str = "png"
    quality: int = 90


@dataclass(frozen=True)
class ImageRequest:
    """One job; every field is already checked against the API's bounds."""

    prompt: str
    steps: int
    guidance: float
    width: int
    height: int
    seed: int
    """Of the first picture; picture i is drawn with (seed + i) mod 2^63."""
    negative_prompt: str = ""
    prompts: tuple[str, ...] = ()
    """One for each picture, where they differ; `prompt` is the first then."""
    count: int = 1
    scheduler: str = DEFAULT_SCHEDULER
    model: str = EMBEDDED_MODEL
    """The public name of one of the provider's models."""
    source: SourceImage | None = None
    encoding: Encoding = field(default_factory=Encoding)

    @property
    def every_prompt(self) -> tuple[str, ...]:
        """One for all pictures, or one for each."""
        return self.prompts or (self.prompt,)

    def seed_of(self, index: int) -> int:
        """The seed of picture `index`."""
        return (self.seed + index) % (MAX_SEED + 1)

    @property
    def batch_key(self) -> "BatchKey":
        """With whose rows this request's may be computed."""
        return BatchKey(
            model=self.model,
            width=self.width,
            height=self.height,
            steps=self.steps,
            scheduler=self.scheduler,
            is_guided=self.guidance > 1,
            strength=None if self.source is None else self.source.strength,
        )

    def row(self, index: int, *, records_trajectory: bool = False, preview_every: int = 0) -> "Row":
        """Picture `index` as a row of a batch."""
        return Row(
            prompt=self.prompts[index] if self.prompts else self.prompt,
            negative_prompt=self.negative_prompt,
            guidance=self.guidance,
            seed=self.seed_of(index),
            encoding=self.encoding,
            source_png=None if self.source is None else self.source.png,
            records_trajectory=records_trajectory,
            preview_every=preview_every,
        )


@dataclass(frozen=True)
class BatchKey:
    """What rows must have in common to be computed together."""

    model: str
    width: int
    height: int
    steps: int
    scheduler: str
    is_guided: bool
    """Whether guidance is above 1: only then is the unconditional half computed at all, as in diffusers."""
    strength: float | None
    """Of image-to-image; None for text-to-image."""


@dataclass(frozen=True)
class Row:
    """One picture of a batch, with its own prompt, seed and guidance."""

    prompt: str
    negative_prompt: str
    guidance: float
    seed: int
    encoding: Encoding
    source_png: bytes | None = None
    records_trajectory: bool = False
    """Whether the latents of every step are handed back."""
    preview_every: int = 0
    """A preview after every so many steps; 0 for none."""


@dataclass(frozen=True)
class Batch:
    """Rows that are computed together."""

    key: BatchKey
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class ReproducibilityProfile:
    """What one must know to compute the same latents again, and what makes the last bits differ."""

    weights_sha256: str
    """Over the model's weight files in the order of their names; 64 hex digits."""
    scheduler: str
    """The class of diffusers that was used."""
    dtype: str
    """`float32`, `float16` or `bfloat16`."""
    device_class: str
    """`cpu`, or the GPU's own name and compute capability."""
    batch_rows: int
    latent_shape: tuple[int, ...]
    """Channels, height and width of one row's latents."""
    versions: Mapping[str, str]
    """Of torch, diffusers, transformers."""


@dataclass(frozen=True)
class StepDone:
    """A denoising step of a batch has ended: `step` of `steps`, the first being 1."""

    step: int
    steps: int
    previews: Mapping[int, bytes] = field(default_factory=dict)
    """Small JPEGs by row, for rows that asked for one now."""


@dataclass(frozen=True)
class FinishedRow:
    """A picture, encoded, and its share of the batch's device time, rounded down to a microsecond."""

    picture: bytes
    compute_microseconds: int
    trajectory: tuple[bytes, ...] | None = None
    """Latents before the first step and after each, little-endian in the profile's dtype, where they were asked for."""


@dataclass(frozen=True)
class BatchDone:
    """All rows of a batch, in its order."""

    rows: tuple[FinishedRow, ...]
    profile: ReproducibilityProfile
    device: "Device"


BatchEvent = StepDone | BatchDone


@dataclass(frozen=True)
class StepCheck:
    """Entries of another provider's trajectories that are to be computed again."""

    key: BatchKey
    rows: tuple[Row, ...]
    """Of the run's pictures, in order."""
    places: tuple[tuple[int, int], ...]
    """(row, entry) of each."""
    opened: Mapping[tuple[int, int], bytes] | None = None
    """Latents that the other has opened, by place; None only asks which are needed."""
    batch_rows: int = 1
    """With how many rows the other says that it computed each."""
    dtype: str | None = None
    """In which precision the other says that it computed them; None: in this one's."""


@dataclass(frozen=True)
class StepsChecked:
    """What came of it; profile, sizes and latents are there where latents were opened, the latter two per place."""

    evaluations: int
    """Steps of such a run; a trajectory has one entry more."""
    needed: tuple[tuple[int, ...], ...]
    """For each place, the entries from which it is computed."""
    profile: "ReproducibilityProfile | None" = None
    expected_rms: tuple[float, ...] = ()
    latents: tuple[bytes, ...] = ()
    rounding: tuple[float, ...] = ()
    """Per place, where the other's precision is shorter: the relative distance of the same step in that precision."""


@dataclass(frozen=True)
class Device:
    """Where a pipeline runs: kind "cuda" or "cpu", the hardware's own name, its memory (0 for a CPU)."""

    kind: str
    name: str
    vram_mib: int


@dataclass(frozen=True)
class ModelReport:
    """One of the models that a provider serves."""

    name: str
    is_loaded: bool
    vram_mib: int
    """What it takes on the device while it is loaded; 0 on a CPU or where it was never loaded."""


class Backend(Protocol):
    """Something that computes batches. All methods may block; `run` is called from one thread per slot."""

    def load(self) -> None:
        """Loads the preloaded models, once, before anything else; raises ModelUnavailable."""

    def devices(self) -> tuple[Device, ...]:
        """Where the slots run; at least one, after `load`."""

    def slots(self) -> int:
        """How many batches may run at once, after `load`."""

    def models(self) -> tuple[ModelReport, ...]:
        """Every model that may be asked for, the default first. May be called at any time."""

    def max_rows(self, key: BatchKey) -> int:
        """The most rows that a batch of this kind may have; at least 1. Must not block."""

    def run(self, batch: Batch, slot: int) -> Iterator[BatchEvent]:
        """StepDone for every step, then one BatchDone. Closing the generator stops the work between two steps.

        Raises OutOfMemory, BackendLost, ModelUnavailable (the model could not be switched to) or GenerationFailed.
        """

    def check(self, check: StepCheck) -> StepsChecked:
        """Computes steps again, in turn with the batches of a device; from any thread.

        Raises OutOfMemory, BackendLost, ModelUnavailable or GenerationFailed (also bad_latents).
        """

    def vram_used_mib(self) -> int:
        """Memory held on all GPUs; 0 without any."""

    def close(self) -> None:
        """Ends it; nothing else is called afterwards."""


@dataclass(frozen=True)
class PipelineOptions:
    """What to load and how.

    `models` maps public names to a folder in diffusers' layout, a model hub's id, or EMBEDDED_MODEL, the default first;
    `device` is "auto", "cpu" or "cuda", `precision` "auto", "float32", "float16" or "bfloat16", and `cpu_threads` 0 for
    the default (one for the embedded model, which a second thread hardly speeds up; otherwise torch's own choice).
    """

    models: Mapping[str, str] = field(default_factory=lambda: {EMBEDDED_MODEL: EMBEDDED_MODEL})
    preload: tuple[str, ...] = ()
    """Public names of the models that are loaded at start; the first of `models` always is."""
    device: str = "auto"
    precision: str = "auto"
    cpu_threads: int = 0
    max_batch_rows: int = 8
    vram_limit_mib: int = 0
    """Bound on what loaded models may take together on one GPU; 0 for nine tenths of its memory."""
    uses_compile: bool = False
    """`torch.compile` on a GPU. Off by default: that path has not run on a GPU yet."""
    uses_cuda_graphs: bool = False
    """CUDA graphs over the warmed shapes. Off by default: that path has not run on a GPU yet."""
    warm_shapes: tuple[tuple[int, int], ...] = ((512, 512),)
    """Widths and heights that a GPU is warmed up for."""


StopCheck = Callable[[], bool]
"""Whether the work should go no further; asked between two steps."""
