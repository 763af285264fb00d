"""What a picture job is, what comes back, and on which device: the types between the service and the pipeline.

Nothing here imports torch, so the service, the command line and the tests of bad input start at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EMBEDDED_MODEL = "aitbc/tiny-sd"
"""The name under which receipts and the registry know the pipeline that this package carries."""

EMBEDDED_MODEL_FOLDER = Path(__file__).parent / "models" / "tiny_sd"

SIZE_STEP_PIXELS = 8
"""Stable Diffusion's latents are 8 times smaller than its pictures, so sides are multiples of 8."""

MAX_SEED = 2**63 - 1
MAX_CHOSEN_SEED = 2**53 - 1
"""A seed that we choose must survive a JSON reader that keeps numbers as doubles."""


@dataclass(frozen=True)
class ImageRequest:
    """One picture to make; every field is already checked against the API's bounds."""

    prompt: str
    steps: int
    guidance: float
    width: int
    height: int
    seed: int


@dataclass(frozen=True)
class GeneratedImage:
    """A finished picture as PNG bytes, and the device time that it took, rounded down to a microsecond."""

    png: bytes
    compute_microseconds: int


@dataclass(frozen=True)
class Device:
    """Where the pipeline runs: kind "cuda" or "cpu", the hardware's own name, its memory (0 for a CPU)."""

    kind: str
    name: str
    vram_mib: int


@dataclass(frozen=True)
class PipelineOptions:
    """What to load and how.

    `model` is a folder in diffusers' layout or a model hub's id, `device` "auto", "cpu" or "cuda", `precision` "auto",
    "float32", "float16" or "bfloat16", and `cpu_threads` 0 for the default (one for the embedded model, which a second
    thread hardly speeds up; otherwise torch's own choice).
    """

    model: str = EMBEDDED_MODEL
    device: str = "auto"
    precision: str = "auto"
    cpu_threads: int = 0

    @property
    def is_embedded(self) -> bool:
        """Whether this is the pipeline that the package carries."""
        return self.model == EMBEDDED_MODEL


StopCheck = Callable[[], None]
"""Called between denoising steps; raises GenerationTimedOut or GenerationCancelled to stop the job there."""
