"""What several messages between hub and provider have in common: text with a form, pictures asked for, profiles.

Structs are made by decoding, which checks types, lengths and patterns; `checked` does the rest. Bytes are `0x` and
lower-case digits, SHA-256 digests of files 64 digits without it, amounts decimal strings of atoms.
"""

import re
from typing import Annotated, Any, Final, Self

import msgspec
from msgspec import Meta

from chain.primitives.hexadecimal import parse_amount
from chain.primitives.prompts import prompt_text
from chain.primitives.receipt import salted_prompt_hash
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Amount

MAX_PICTURES: Final = 64
"""Pictures of one assignment."""
MAX_SEED: Final = 2**63 - 1
MAX_STEPS: Final = 4_096
MAX_PLACES: Final = 16
"""Steps of pictures that one order asks for."""
MAX_MODELS: Final = 32
MAX_PICTURE_BYTES: Final = 32 * 2**20
"""An encoded picture, and latents."""
MAX_PROMPT_CHARACTERS: Final = 10_000
_MAX_TEXT: Final = 500
_SIDE_STEP_PIXELS: Final = 8
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

Identifier = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}\Z")]
AddressText = Annotated[str, Meta(pattern=r"^0x[0-9a-fA-F]{40}\Z")]
HashText = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{64}\Z")]
SignatureText = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{130}\Z")]
Sha256Digits = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
AmountText = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,77})\Z")]
ModelName = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,128}\Z")]
ClientName = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,256}\Z")]
Reason = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
"""A word that programs compare."""
Printable = Annotated[str, Meta(pattern=r"^[\x20-\x7e]{1,200}\Z")]
Text = Annotated[str, Meta(max_length=_MAX_TEXT)]
"""A sentence for people; `shown` makes it safe for logs."""
Audience = Annotated[str, Meta(pattern=r"^[a-z0-9._\-\[\]:]{1,260}:[0-9]{1,5}\Z")]
"""Host and port."""
UnitType = Annotated[str, Meta(pattern=r"^(gpu_seconds|images)\Z")]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
PictureCount = Annotated[int, Meta(ge=1, le=MAX_PICTURES)]
PictureIndex = Annotated[int, Meta(ge=0, lt=MAX_PICTURES)]
StepIndex = Annotated[int, Meta(ge=0, le=MAX_STEPS)]
Seed = Annotated[int, Meta(ge=0, le=MAX_SEED)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**40)]
Microseconds = Annotated[int, Meta(ge=0, le=2**50)]
Prompt = Annotated[str, Meta(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]


class Attachment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file whose bytes follow the message in binary frames, after those of the attachments named before it."""

    size_bytes: Annotated[int, Meta(ge=1, le=MAX_PICTURE_BYTES)]
    sha256: Sha256Digits


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """An entry of a run's trajectory: 0 is what the first step starts from."""

    picture: PictureIndex
    step: StepIndex


Places = Annotated[tuple[Place, ...], Meta(min_length=1, max_length=MAX_PLACES)]


class PictureRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pictures that are to be made by one provider."""

    model: ModelName
    prompts: Annotated[tuple[Prompt, ...], Meta(min_length=1, max_length=MAX_PICTURES)]
    """One for all pictures, or one for each."""
    steps: Annotated[int, Meta(ge=1, le=1_000)]
    guidance: Annotated[float, Meta(ge=0, le=1_000)]
    width: Annotated[int, Meta(ge=_SIDE_STEP_PIXELS, le=2**14, multiple_of=_SIDE_STEP_PIXELS)]
    height: Annotated[int, Meta(ge=_SIDE_STEP_PIXELS, le=2**14, multiple_of=_SIDE_STEP_PIXELS)]
    seed: Seed
    """Of the first picture; see `seed_of`."""
    count: PictureCount = 1
    negative_prompt: Annotated[str, Meta(max_length=MAX_PROMPT_CHARACTERS)] = ""
    scheduler: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,64}\Z")] = "default"
    image_format: Annotated[str, Meta(pattern=r"^(png|jpeg|webp)\Z")] = "png"
    quality: Annotated[int, Meta(ge=1, le=100)] = 90
    """Of jpeg and webp."""

    def seed_of(self, index: int) -> int:
        """The seed of picture `index`."""
        return (self.seed + index) % (MAX_SEED + 1)

    def prompt_hash(self, salt: bytes) -> str:
        """As it stands in the receipt for these pictures."""
        return salted_prompt_hash(salt, prompt_text(self.prompts))

    def checked(self) -> Self:
        """The run itself; raises Rejected for what no picture can be made from."""
        if len(self.prompts) not in (1, self.count):
            raise malformed("run.prompts", "must be one, or one for each picture")
        for prompt in self.prompts:
            if not prompt.strip():
                raise malformed("run.prompts", "must not be blank")
        for name, text in (
            *(("prompts", prompt) for prompt in self.prompts),
            ("negative_prompt", self.negative_prompt),
        ):
            if _CONTROL_CHARACTERS.search(text):
                raise malformed(f"run.{name}", "must hold no control characters but tab and line breaks")
        return self


Dtype = Annotated[str, Meta(pattern=r"^(float32|float16|bfloat16)\Z")]


class ProfileClaim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reproducibility profile that a provider declares for a picture, with the keys of its JSON."""

    weights_sha256: Sha256Digits
    scheduler: Printable
    dtype: Dtype
    device_class: Printable
    batch_rows: Annotated[int, Meta(ge=1, le=1_024)]
    latent_shape: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=2**16)], ...],
        Meta(min_length=1, max_length=4),
    ]
    versions: Annotated[dict[Printable, Printable], Meta(max_length=32)]

    def to_object(self) -> dict[str, Any]:
        """The JSON object whose hash a trajectory commits to."""
        return dict(msgspec.to_builtins(self)) | {"latent_shape": list(self.latent_shape)}


Profiles = Annotated[tuple[ProfileClaim, ...], Meta(max_length=MAX_PICTURES)]


class ModelOffer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that a provider serves."""

    name: ModelName
    price_per_unit: AmountText
    is_loaded: bool
    """Whether a job for it need not wait for the model."""
    vram_mib: Count


def shown(text: str) -> str:
    """Foreign text, so that it breaks no line of a log."""
    return "".join(character if character.isprintable() else "?" for character in text[:_MAX_TEXT])


def amount_of(text: str, field: str = "amount") -> Amount:
    """Of a field that was decoded as AmountText; raises Rejected (out_of_range) above 2^256 - 1."""
    return parse_amount(text, field)


def octets_of(text: str) -> bytes:
    """Of a field that was decoded as `0x` and digits."""
    return bytes.fromhex(text[2:])


def malformed(field: str, requirement: str) -> Rejected:
    """A refusal that names the field."""
    return Rejected(RejectionReason.MALFORMED, f"{field} {requirement}", field=field)
