"""What a client asks for, its bounds, and the request that a client with a key signs beforehand (docs/hub.md)."""

import re
from typing import Annotated, Final, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chain.primitives.client_request import ClientClaim, ClientRequest, check_claim, salted_hash, unsigned_request
from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_amount, to_checksum_address
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.types import Amount

MAX_PROMPT_CHARACTERS: Final = 1_000
MAX_SEED: Final = 2**53 - 1  # Survives every JSON reader, and RFC 8785 has no larger integers.
SALT_BYTES: Final = 32
SIZE_STEP_PIXELS: Final = 8  # Stable Diffusion's latents are 8 times smaller than its pictures.
_MAX_EXPIRY: Final = 2**40
_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_MODEL: Final = re.compile(r"[\x21-\x7e]{1,256}")  # As in a receipt.


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


class JobRequest(BaseModel):
    """The body of `POST /v1/jobs`. Types are strict: "30" and true are no numbers. Raises Rejected, too."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS, description="What to draw.")]
    steps: Annotated[int, Field(ge=5, le=100, description="Denoising steps.")] = 30
    guidance: Annotated[
        float, Field(ge=0, le=25, allow_inf_nan=False, description="How closely the picture follows the prompt.")
    ] = 7.5
    width: Annotated[int, Field(ge=256, le=1024, multiple_of=SIZE_STEP_PIXELS, description="Pixels.")] = 512
    height: Annotated[int, Field(ge=256, le=1024, multiple_of=SIZE_STEP_PIXELS, description="Pixels.")] = 512
    seed: Annotated[int | None, Field(ge=0, le=MAX_SEED, description="Chosen by the hub when omitted.")] = None
    model: Annotated[str | None, Field(description="Only providers that have registered this model.")] = None
    max_price: Annotated[str | None, Field(description="Atoms: the most that the whole job may cost.")] = None
    client_request: Annotated[SignedPart | None, Field(description="Only for a client that signs.")] = None

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, prompt: str) -> str:
        if not prompt.strip() or _CONTROL_CHARACTER.search(prompt):
            raise Rejected(
                RejectionReason.MALFORMED,
                "prompt must have text in it, and no control characters but newline and tab",
                field="prompt",
            )
        return prompt

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: str | None) -> str | None:
        if model is not None and not _MODEL.fullmatch(model):
            raise Rejected(
                RejectionReason.MALFORMED, "model must be 1 to 256 printable ASCII characters, no spaces", field="model"
            )
        return model

    @field_validator("max_price")
    @classmethod
    def _check_max_price(cls, max_price: str | None) -> str | None:
        if max_price is not None:
            parse_amount(max_price, "max_price")
        return max_price

    @field_validator("client_request")
    @classmethod
    def _normalise_client_request(cls, part: SignedPart | None) -> SignedPart | None:
        return None if part is None else SignedPart(**part.claim().to_object())

    @model_validator(mode="after")
    def _one_maximum(self) -> Self:
        if self.client_request is not None and self.max_price not in (None, self.client_request.max_price):
            raise Rejected(
                RejectionReason.MALFORMED, "max_price differs from the one in client_request", field="max_price"
            )
        return self

    @property
    def claim(self) -> ClientClaim | None:
        """What the client signed with, None where it did not."""
        return None if self.client_request is None else self.client_request.claim()

    @property
    def max_price_atoms(self) -> Amount | None:
        """The client's limit for the whole job, None where it set none."""
        text = self.max_price if self.client_request is None else self.client_request.max_price
        return None if text is None else parse_amount(text, "max_price")

    def fingerprint(self) -> str:
        """Hex digits of a SHA-256 over every field: two bodies with the same meaning have the same one."""
        return sha256(rfc8785.dumps(self.model_dump())).hex()

    def parameters(self) -> RequestParameters:
        """Everything but the prompt, as it is hashed; what a hub's jobs do not have stands at its default."""
        return RequestParameters(
            width=self.width,
            height=self.height,
            steps=self.steps,
            guidance=self.guidance,
            seed=self.seed,
            model=self.model,
        )

    def to_sign(self, *, hub_id: str, chain_id: int, salt: bytes) -> ClientRequest:
        """What the request hash is the digest of, and what a client with a key has signed."""
        claim = self.claim
        if claim is not None:
            return claim.request(chain_id=chain_id, audience=hub_id, prompt=self.prompt, parameters=self.parameters())
        return unsigned_request(
            chain_id=chain_id,
            audience=hub_id,
            prompt_hash=salted_hash(salt, self.prompt),
            parameters_hash=self.parameters().hash,
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
