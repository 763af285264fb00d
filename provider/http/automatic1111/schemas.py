"""What clients of Automatic1111's API send and get.

As there, fields that nobody knows are ignored, null is the same as leaving a field out, and "20" is as good as 20. But
a field that is known there and asks for what cannot be done here is refused: the picture would be another one than the
client thinks. (`restore_faces` is ignored: SillyTavern sends it whatever is drawn.) Sizes, steps and guidance have this
provider's bounds, and are never bent to fit.
"""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from provider.generation import MAX_PICTURES, MAX_SEED, ImageRequest, SourceImage
from provider.http.automatic1111.samplers import find_scheduler
from provider.http.job_details import JobDetails
from provider.http.schemas import NegativePrompt, Pixels, Prompt
from provider.jobs.order import chosen_seed

CHECKPOINT: Final = "sd_model_checkpoint"
_MAX_NAME_CHARACTERS: Final = 256


def _must_be_off(wanted: object) -> object:
    if wanted:
        raise ValueError("is not available here")
    return wanted


Name = Annotated[str, Field(max_length=_MAX_NAME_CHARACTERS)]
Unavailable = Annotated[Any, AfterValidator(_must_be_off), Field(json_schema_extra={"description": "Not here."})]


class TextToImageRequest(BaseModel):
    """`POST /sdapi/v1/txt2img`, with that API's own defaults."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt: Prompt
    negative_prompt: NegativePrompt = ""
    seed: int = Field(-1, le=MAX_SEED, description="Any number below 0 has one chosen.")
    sampler_name: Name = ""
    sampler_index: Name = Field("", description="The older name of sampler_name.")
    scheduler: Name = Field("", description="A schedule type: Automatic, Uniform or Karras.")
    steps: int = Field(50, ge=5, le=100)
    cfg_scale: float = Field(7.0, ge=0, le=25, allow_inf_nan=False)
    width: Pixels = 512
    height: Pixels = 512
    batch_size: int = Field(1, ge=1, le=MAX_PICTURES)
    n_iter: int = Field(1, ge=1, le=MAX_PICTURES, description="n_iter × batch_size pictures are made.")
    override_settings: dict[str, Any] = Field({}, description=f"Of these, `{CHECKPOINT}` chooses the model.")
    send_images: bool = True

    tiling: Unavailable = False
    enable_hr: Unavailable = False
    subseed_strength: Unavailable = 0
    script_name: Unavailable = None
    alwayson_scripts: Unavailable = {}
    mask: Unavailable = None
    refiner_checkpoint: Unavailable = None

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: Any) -> Any:
        if isinstance(fields, dict):
            return {name: value for name, value in fields.items() if value is not None}
        return fields

    @property
    def checkpoint(self) -> str | None:
        """The model that this request alone asks for."""
        name = self.override_settings.get(CHECKPOINT)
        return name if isinstance(name, str) and name else None

    @property
    def seed_asked(self) -> int | None:
        """None where the client left it open."""
        return None if self.seed < 0 else self.seed

    def image_request(self, model: str, source: SourceImage | None = None) -> ImageRequest:
        """The job; raises OrderRefused for an unknown sampler or schedule."""
        return ImageRequest(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            steps=self.steps,
            guidance=self.cfg_scale,
            width=self.width,
            height=self.height,
            seed=chosen_seed(self.seed_asked),
            count=self.batch_size * self.n_iter,
            scheduler=find_scheduler(self.sampler_name or self.sampler_index, self.scheduler),
            model=model,
            source=source,
        )

    def parameters(self) -> dict[str, Any]:
        """What goes back to the client of its own request: the known fields, without pictures and foreign settings."""
        known = self.model_dump(exclude={"init_images", "override_settings"})
        return {**known, "override_settings": {} if self.checkpoint is None else {CHECKPOINT: self.checkpoint}}


class ImageToImageRequest(TextToImageRequest):
    """`POST /sdapi/v1/img2img`: the one picture in `init_images` is scaled to width × height."""

    init_images: list[str] = Field(
        min_length=1, max_length=1, description="PNG, JPEG or WebP in base64, or as a data URL; never a link."
    )
    denoising_strength: float = Field(0.75, gt=0, le=1, allow_inf_nan=False)

    def parameters(self) -> dict[str, Any]:
        """As for text to image; that API too leaves the pictures out."""
        return {**super().parameters(), "init_images": None}


class ImagesAnswer(BaseModel):
    """Finished pictures."""

    images: list[str] = Field(description="PNG in base64.")
    parameters: dict[str, Any]
    info: str = Field(description="A JSON object as text: seeds, infotexts and so on.")
    aitbc: JobDetails


class ProgressState(BaseModel):
    """The state of the caller's current job."""

    skipped: bool = False
    interrupted: bool = False
    job: str = ""
    job_count: int = 0
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class ProgressAnswer(BaseModel):
    """How far the caller's current job is; all zeros where there is none."""

    progress: float
    eta_relative: float = Field(description="Seconds, an estimate.")
    state: ProgressState
    current_image: str | None = Field(None, description="A small JPEG in base64.")
    textinfo: str | None = None


class ModelItem(BaseModel):
    """A model under the names that clients show and send back."""

    model_config = ConfigDict(protected_namespaces=())

    title: str
    model_name: str
    hash: str | None = None
    sha256: str | None = None
    filename: str
    config: str | None = None


class SamplerItem(BaseModel):
    """A sampler."""

    name: str
    aliases: list[str]
    options: dict[str, str]


class SchedulerItem(BaseModel):
    """A schedule type."""

    name: str
    label: str
    aliases: list[str] | None = None
    default_rho: float = -1.0
    need_inner_model: bool = False
