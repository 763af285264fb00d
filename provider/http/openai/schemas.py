"""What OpenAI's SDKs send and get, checked before anything else sees it.

Of OpenAI's parameters, `style`, `moderation`, `complexity`, `input_fidelity`, `user` and `safety_identifier` are
accepted and change nothing; what cannot be done here (transparency, SVG, GIF, masks) is refused, as is a parameter that
neither OpenAI nor this provider defines. Our own (`seed`, `steps`, `guidance`, `negative_prompt`, `scheduler`, and
`strength` for edits) go into the SDK's `extra_body`.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from provider.generation import DEFAULT_SCHEDULER, SIZE_STEP_PIXELS, Encoding, ImageRequest, SourceImage
from provider.http.job_details import JobDetails
from provider.http.schemas import (
    DEFAULT_STRENGTH,
    MAX_SIDE_PIXELS,
    MIN_SIDE_PIXELS,
    ModelName,
    NegativePrompt,
    Prompt,
    SchedulerName,
    Seed,
    Strict,
)
from provider.jobs.order import chosen_seed

MAX_N: Final = 10
MAX_PARTIAL_IMAGES: Final = 3
DEFAULT_SIDE_PIXELS: Final = 512
DEFAULT_GUIDANCE: Final = 7.5
_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_MAX_LABEL_CHARACTERS: Final = 512

_STEPS_OF_QUALITY: Final = {"low": 15, "medium": 30, "high": 50, "xhigh": 75, "max": 100, "standard": 30, "hd": 50}
"""What quality means where `steps` is not given: more steps, and so more device time; medium is the plan's default."""

_REPORTED_QUALITIES: Final = ("low", "medium", "high", "xhigh", "max")


def _known_size(size: str) -> str:
    if size != "auto":
        parse_size(size)
    return size


def parse_size(size: str) -> tuple[int, int]:
    """Width and height in pixels of `WIDTHxHEIGHT`, or of `auto`; raises ValueError."""
    if size == "auto":
        return DEFAULT_SIDE_PIXELS, DEFAULT_SIDE_PIXELS
    match = _SIZE.fullmatch(size)
    sides = (0, 0) if match is None else (int(match[1]), int(match[2]))
    if not all(MIN_SIDE_PIXELS <= side <= MAX_SIDE_PIXELS and side % SIZE_STEP_PIXELS == 0 for side in sides):
        raise ValueError(
            f"must be auto or WIDTHxHEIGHT, such as 512x512, each side from {MIN_SIDE_PIXELS} to {MAX_SIDE_PIXELS} "
            "and a multiple of 8"
        )
    return sides


Size = Annotated[str, AfterValidator(_known_size)]
Label = Annotated[str, Field(max_length=_MAX_LABEL_CHARACTERS)]


class GenerationRequest(Strict):
    """`POST /v1/images/generations`; null is the same as leaving a parameter out."""

    prompt: Prompt
    model: ModelName | None = Field(None, description="One of `GET /v1/models`; the first by default.")
    n: int | None = Field(None, ge=1, le=MAX_N, description="Pictures; picture i is drawn with seed + i.")
    size: Size | None = Field(None, description="`512x512` and the like, or `auto`.")
    response_format: Literal["b64_json", "url"] | None = Field(None, description="b64_json by default.")
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: int | None = Field(None, ge=0, le=100, description="Quality of jpeg and webp, in percent.")
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = Field(
        None, description="Sets the steps where `steps` is absent: 15, 30, 50, 75, 100 from low to max; 30 for auto."
    )
    background: Literal["auto", "opaque"] | None = None
    stream: bool | None = None
    partial_images: int | None = Field(None, ge=0, le=MAX_PARTIAL_IMAGES)

    style: Literal["vivid", "natural"] | None = None
    moderation: Literal["auto", "low"] | None = None
    complexity: Literal["low", "medium", "high"] | None = None
    user: Label | None = None
    safety_identifier: Label | None = None

    seed: Seed | None = Field(None, description="Ours. Chosen and returned if omitted.")
    steps: int | None = Field(None, ge=5, le=100, description="Ours. Denoising steps.")
    guidance: float | None = Field(None, ge=0, le=25, allow_inf_nan=False, description="Ours.")
    negative_prompt: NegativePrompt | None = Field(None, description="Ours. What should not be in the picture.")
    scheduler: SchedulerName | None = Field(None, description="Ours. The model's own by default.")

    @field_validator("output_compression")
    @classmethod
    def _compresses_what_can_be(cls, percent: int | None, info: ValidationInfo) -> int | None:
        if percent not in (None, 100) and info.data.get("output_format") in (None, "png"):
            raise ValueError("is for output_format jpeg and webp")
        return percent

    @property
    def width_and_height(self) -> tuple[int, int]:
        """In pixels."""
        return parse_size(self.size or "auto")

    @property
    def step_count(self) -> int:
        """`steps`, or what the quality stands for."""
        return self.steps or _STEPS_OF_QUALITY.get(self.quality or "auto", _STEPS_OF_QUALITY["medium"])

    @property
    def reported_quality(self) -> str | None:
        """The quality in the words that answers may use; None where none was asked for."""
        quality = {"standard": "medium", "hd": "high"}.get(self.quality or "", self.quality)
        return quality if quality in _REPORTED_QUALITIES else None

    def image_request(self, model: str, source: SourceImage | None = None) -> ImageRequest:
        """The job, for the public name of a model that is served."""
        width, height = self.width_and_height
        quality = Encoding().quality if self.output_compression is None else max(1, self.output_compression)
        return ImageRequest(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt or "",
            steps=self.step_count,
            guidance=DEFAULT_GUIDANCE if self.guidance is None else self.guidance,
            width=width,
            height=height,
            seed=chosen_seed(self.seed),
            count=self.n or 1,
            scheduler=self.scheduler or DEFAULT_SCHEDULER,
            model=model,
            source=source,
            encoding=Encoding(self.output_format or "png", quality),
        )


class EditRequest(GenerationRequest):
    """The text fields of `POST /v1/images/edits`, which a form carries as strings."""

    model_config = ConfigDict(strict=False, extra="forbid", frozen=True)

    input_fidelity: Literal["low", "high"] | None = None
    strength: float = Field(
        DEFAULT_STRENGTH, gt=0, le=1, allow_inf_nan=False, description="Ours. How much of the picture is drawn anew."
    )


class ImageData(BaseModel):
    """One finished picture, as base64 text or as a link."""

    b64_json: str | None = None
    url: str | None = None


class ImagesAnswer(BaseModel):
    """The answer to a request without `stream`."""

    created: int = Field(description="Unix time in seconds.")
    data: list[ImageData]
    background: str = "opaque"
    output_format: str
    size: str
    quality: str | None = None
    aitbc: JobDetails


class ServedModel(BaseModel):
    """A model of this provider."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Unix time in seconds at which this provider began to serve it.")
    owned_by: str = Field(description="The provider's address.")


class ServedModels(BaseModel):
    """All of them, the default first."""

    object: Literal["list"] = "list"
    data: list[ServedModel]
