"""What a client asks for, its bounds, and the request that a client with a key signs beforehand (docs/hub.md)."""

import re
from typing import Annotated, Final, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from chain.primitives.client_request import ClientClaim, ClientRequest, check_claim, salted_hash, unsigned_request
from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_amount, to_checksum_address
from chain.primitives.prompts import prompt_text
from chain.primitives.receipt import salted_prompt_hash
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.types import Amount
from hub.scheduling.runs import DEFAULT_PRIORITY

MAX_PICTURES: Final = 256
"""Of one job: 64 shards, of at least four pictures where there are so many."""
MAX_PROMPT_CHARACTERS: Final = 1_000
MAX_SEED: Final = 2**53 - 1  # Survives every JSON reader, and RFC 8785 has no larger integers.
SALT_BYTES: Final = 32
SIZE_STEP_PIXELS: Final = 8  # Stable Diffusion's latents are 8 times smaller than its pictures.
MAX_DEADLINE_S: Final = 7 * 86_400
MAX_WAIT_S: Final = 600
_MAX_EXPIRY: Final = 2**40
_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Lone surrogates among them: UTF-8 has no bytes for one."""
_MODEL: Final = re.compile(r"[\x21-\x7e]{1,128}")  # As providers declare it.
_NOT_THE_JOB: Final = ("wait_s", "dry_run")
"""How the answer is to come, not what is asked for."""

Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
Atoms = Annotated[str | None, Field(max_length=78)]


class SignedPart(BaseModel):
    """What a client with a key sends beside what it asks for: see "The request that a client signs" in docs/hub.md."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    client: Annotated[str, Field(max_length=42, description="The client's address.")]
    salt: Annotated[str, Field(max_length=66, description="32 random bytes in hex, of the prompt's hash.")]
    max_price: Annotated[str, Field(max_length=78, description="Atoms: the most that the receipt may ask for.")]
    nonce: Annotated[str, Field(max_length=66, description="32 random bytes in hex: good for one job.")]
    expiry: Annotated[
        int, Field(ge=0, le=_MAX_EXPIRY, description="Unix seconds, at most a day ahead: the job is taken until then.")
    ]
    signature: Annotated[
        str, Field(max_length=132, description="Of the typed data, or EIP-191 over the 32 bytes of its digest.")
    ]

    def claim(self) -> ClientClaim:
        """The bytes of it; raises Rejected that names the field."""
        return ClientClaim.from_object(self.model_dump())


class WebhookTarget(BaseModel):
    """Where to tell of the job's end."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    url: Annotated[
        str,
        Field(
            min_length=8,
            max_length=2_000,
            pattern=r"^https?://[\x21-\x7e]+$",
            description="Of a server in the open internet.",
        ),
    ]
    secret: Annotated[
        str,
        Field(
            min_length=16,
            max_length=256,
            pattern=r"^[\x21-\x7e]+$",
            description="Key of the HMAC-SHA256 that each call is signed with.",
        ),
    ]


class JobRequest(BaseModel):
    """The body of `POST /v1/jobs`. Types are strict: "30" and true are no numbers. Raises Rejected, too."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    prompt: Annotated[Prompt | None, Field(description="What to draw; or `prompts`.")] = None
    prompts: Annotated[
        list[Prompt] | None,
        Field(min_length=1, max_length=MAX_PICTURES, description="One for each picture, instead of `prompt`."),
    ] = None
    n: Annotated[
        int | None, Field(ge=1, le=MAX_PICTURES, description="Pictures; 1, or as many as there are prompts.")
    ] = None
    negative_prompt: Annotated[
        str, Field(max_length=MAX_PROMPT_CHARACTERS, description="What the pictures shall not show.")
    ] = ""
    steps: Annotated[int, Field(ge=5, le=100, description="Denoising steps.")] = 30
    guidance: Annotated[
        float, Field(ge=0, le=25, allow_inf_nan=False, description="How closely the picture follows the prompt.")
    ] = 7.5
    width: Annotated[int, Field(ge=256, le=1024, multiple_of=SIZE_STEP_PIXELS, description="Pixels.")] = 512
    height: Annotated[int, Field(ge=256, le=1024, multiple_of=SIZE_STEP_PIXELS, description="Pixels.")] = 512
    seed: Annotated[
        int | None,
        Field(ge=0, le=MAX_SEED, description="Of the first picture, each next one's is one more. Chosen when omitted."),
    ] = None
    model: Annotated[str | None, Field(max_length=128, description="Only providers that have registered it.")] = None
    max_price: Annotated[Atoms, Field(description="Atoms: the most that the whole job may cost.")] = None
    max_price_per_unit: Annotated[Atoms, Field(description="Atoms: the most that a unit may cost.")] = None
    min_vram_mib: Annotated[int, Field(ge=0, le=2**24, description="Only providers with so much memory.")] = 0
    priority: Annotated[int, Field(ge=0, le=9, description="A head start in the queue: docs/hub.md.")] = (
        DEFAULT_PRIORITY
    )
    deadline_s: Annotated[
        float | None, Field(gt=0, le=MAX_DEADLINE_S, description="From now: what is not there then is not wanted.")
    ] = None
    webhook: WebhookTarget | None = None
    dry_run: Annotated[bool, Field(description="Only say what it would cost, and when it would be done.")] = False
    wait_s: Annotated[
        float, Field(ge=0, le=MAX_WAIT_S, description="How long the answer may wait for the job's end.")
    ] = 0
    payment: Annotated[
        Literal["mint", "escrow"],
        Field(description="`mint`: new tokens for the providers. `escrow`: the signer's deposit pays them."),
    ] = "mint"
    client_request: Annotated[SignedPart | None, Field(description="Only for a client that signs.")] = None

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _check_prompt(cls, prompt: str | None) -> str | None:
        if prompt is not None and _CONTROL_CHARACTER.search(prompt):
            raise _malformed("prompt", "must have no control characters but newline and tab")
        return prompt

    @field_validator("prompts")
    @classmethod
    def _check_prompts(cls, prompts: list[str] | None) -> list[str] | None:
        for prompt in prompts or ():
            if not prompt.strip() or _CONTROL_CHARACTER.search(prompt):
                raise _malformed("prompts", "must have text in each, and no control characters but newline and tab")
        return prompts

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: str | None) -> str | None:
        if model is not None and not _MODEL.fullmatch(model):
            raise _malformed("model", "must be 1 to 128 printable ASCII characters, no spaces")
        return model

    @field_validator("max_price", "max_price_per_unit")
    @classmethod
    def _check_amount(cls, amount: str | None, info: ValidationInfo) -> str | None:
        if amount is not None:
            parse_amount(amount, info.field_name or "")
        return amount

    @field_validator("client_request")
    @classmethod
    def _normalise_client_request(cls, part: SignedPart | None) -> SignedPart | None:
        return None if part is None else SignedPart(**part.claim().to_object())

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.prompt is None) == (self.prompts is None):
            raise _malformed("prompt", "or prompts must be there, and not both")
        if self.prompt is not None and not self.prompt.strip():
            raise _malformed("prompt", "must have text in it")
        if self.prompts is not None and self.n not in (None, len(self.prompts)):
            raise _malformed("n", "must be the number of prompts, or left out")
        if self.client_request is not None and self.max_price not in (None, self.client_request.max_price):
            raise _malformed("max_price", "differs from the one in client_request")
        if self.payment == "escrow" and self.client_request is None:
            raise _malformed("client_request", "must be there where a deposit shall pay: it allows the hub to take it")
        return self

    @property
    def texts(self) -> list[str]:
        """The prompts: one for all pictures, or one for each."""
        return list(self.prompts) if self.prompts is not None else [self.prompt or ""]

    @property
    def pictures(self) -> int:
        """How many are asked for."""
        return len(self.prompts) if self.prompts is not None else self.n or 1

    @property
    def claim(self) -> ClientClaim | None:
        """What the client signed with, None where it did not."""
        return None if self.client_request is None else self.client_request.claim()

    @property
    def max_price_atoms(self) -> Amount | None:
        """The client's limit for the whole job, None where it set none."""
        text = self.max_price if self.client_request is None else self.client_request.max_price
        return None if text is None else parse_amount(text, "max_price")

    @property
    def max_price_per_unit_atoms(self) -> Amount | None:
        """The client's limit per unit, None where it set none."""
        text = self.max_price_per_unit
        return None if text is None else parse_amount(text, "max_price_per_unit")

    def fingerprint(self) -> str:
        """Hex digits of a SHA-256 over every field that is the job's: bodies of the same meaning have the same one."""
        return sha256(rfc8785.dumps(self.model_dump(exclude=set(_NOT_THE_JOB)))).hex()

    def kept(self) -> dict[str, object]:
        """What of it is kept and shown: neither texts nor the webhook's secret."""
        fields = self.model_dump(
            exclude={"prompt", "prompts", "negative_prompt", "client_request", *_NOT_THE_JOB}, exclude_none=True
        )
        if self.webhook is not None:
            fields["webhook"] = {"url": self.webhook.url}
        return fields

    def parameters(self, salt: bytes) -> RequestParameters:
        """Everything but the prompt, as it is hashed; what a hub's jobs do not have stands at its default."""
        return RequestParameters(
            width=self.width,
            height=self.height,
            steps=self.steps,
            guidance=self.guidance,
            seed=self.seed,
            model=self.model,
            count=self.pictures,
            negative_prompt_hash=salted_prompt_hash(salt, self.negative_prompt) if self.negative_prompt else None,
        )

    def to_sign(self, *, hub_id: str, chain_id: int, salt: bytes) -> ClientRequest:
        """What the request hash is the digest of, and what a client with a key has signed."""
        claim, text = self.claim, prompt_text(self.texts)
        if claim is not None:
            return claim.request(
                chain_id=chain_id, audience=hub_id, prompt=text, parameters=self.parameters(claim.salt)
            )
        return unsigned_request(
            chain_id=chain_id,
            audience=hub_id,
            prompt_hash=salted_hash(salt, text),
            parameters_hash=self.parameters(salt).hash,
            max_price=self.max_price_atoms,
        )

    def check_client_signature(self, request: ClientRequest, *, now_s: int) -> None:
        """Raises Rejected (bad_signature, high_s, request_expired, out_of_range) where it is signed, but wrongly."""
        if self.claim is not None:
            check_claim(self.claim, request, now_s=now_s)

    @property
    def client(self) -> str | None:
        """The address that signed, in EIP-55 form."""
        return None if self.claim is None else to_checksum_address(self.claim.client)


def _malformed(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"{field} {requirement}", field=field)
