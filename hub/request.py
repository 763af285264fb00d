"""What a client asks for, its bounds, and the request hash that a client with a key signs beforehand (docs/hub.md)."""

import re
from typing import Annotated, Any, Final, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chain.primitives.hashing import keccak256, sha256
from chain.primitives.hexadecimal import parse_address, parse_amount, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import recover_address
from chain.primitives.receipt import salted_prompt_hash
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import eip191_digest
from chain.primitives.types import Amount, Hash32

MAX_PROMPT_CHARACTERS: Final = 1_000
MAX_SEED: Final = 2**53 - 1  # Survives every JSON reader, and RFC 8785 has no larger integers.
SALT_BYTES: Final = 32
SIZE_STEP_PIXELS: Final = 8  # Stable Diffusion's latents are 8 times smaller than its pictures.
_SIGNATURE_BYTES: Final = 65
_REQUEST_VERSION: Final = 1
_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_MODEL: Final = re.compile(r"[\x21-\x7e]{1,256}")  # As in a receipt.


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
    client: Annotated[str | None, Field(description="The client's address, when it signs the request.")] = None
    client_signature: Annotated[
        str | None, Field(description="EIP-191 signature by `client` over the 32 bytes of the request hash.")
    ] = None
    request_salt: Annotated[
        str | None, Field(description="32 random bytes in hex: needed with a signature, otherwise drawn by the hub.")
    ] = None

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

    @field_validator("client")
    @classmethod
    def _normalise_client(cls, client: str | None) -> str | None:
        return None if client is None else to_checksum_address(parse_address(client, "client"))

    @field_validator("client_signature")
    @classmethod
    def _normalise_signature(cls, signature: str | None) -> str | None:
        if signature is None:
            return None
        return to_hex(parse_hex(signature, length=_SIGNATURE_BYTES, field="client_signature"))

    @field_validator("request_salt")
    @classmethod
    def _normalise_salt(cls, salt: str | None) -> str | None:
        return None if salt is None else to_hex(parse_hex(salt, length=SALT_BYTES, field="request_salt"))

    @model_validator(mode="after")
    def _signed_wholly_or_not_at_all(self) -> Self:
        signing = ("client", "client_signature", "request_salt")
        if self.client is not None or self.client_signature is not None:
            for name in signing:
                if getattr(self, name) is None:
                    raise Rejected(
                        RejectionReason.MISSING_FIELD,
                        f"{name} is missing: a signed request needs all three",
                        field=name,
                    )
        return self

    @property
    def max_price_atoms(self) -> Amount | None:
        """The client's limit for the whole job, None where it set none."""
        return None if self.max_price is None else parse_amount(self.max_price, "max_price")

    def fingerprint(self) -> str:
        """Hex digits of a SHA-256 over every field: two bodies with the same meaning have the same one."""
        return sha256(rfc8785.dumps(self.model_dump())).hex()

    def request_object(self, *, hub_id: str, chain_id: int, salt: bytes) -> dict[str, Any]:
        """What the request hash is taken of. The prompt stands in it salted, so that the hash gives nothing away."""
        return {
            "version": _REQUEST_VERSION,
            "chain_id": chain_id,
            "hub_id": hub_id,
            "prompt_hash": salted_prompt_hash(salt, self.prompt),
            "steps": self.steps,
            "guidance": self.guidance,
            "width": self.width,
            "height": self.height,
            "seed": self.seed,
            "model": self.model,
            "max_price": self.max_price,
        }

    def request_hash(self, *, hub_id: str, chain_id: int, salt: bytes) -> Hash32:
        """keccak256 of the RFC 8785 form of `request_object`."""
        return keccak256(rfc8785.dumps(self.request_object(hub_id=hub_id, chain_id=chain_id, salt=salt)))

    def check_client_signature(self, request_hash: Hash32) -> None:
        """Raises Rejected (bad_signature, high_s) where the request is signed, but not by its client."""
        if self.client is None or self.client_signature is None:
            return
        signer = recover_address(eip191_digest(request_hash), parse_hex(self.client_signature))
        if to_checksum_address(signer) != self.client:
            raise Rejected(
                RejectionReason.BAD_SIGNATURE,
                "client_signature is not the client's over the hash of this request for this hub and network",
                field="client_signature",
            )
