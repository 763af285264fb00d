"""What a client wants, and the same with everything fixed that must not change when it is sent twice."""

import base64
import secrets
import uuid
from dataclasses import dataclass
from typing import Any, Final

from chain.primitives.client_request import (
    SALT_BYTES,
    ClientClaim,
    ClientRequest,
    salted_hash,
    sign_client_request,
)
from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import Signer
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.types import Address, Amount, Hash32
from provider.generation import DEFAULT_SCHEDULER, SIZE_STEP_PIXELS

DEFAULT_STRENGTH: Final = 0.8
DEFAULT_VALIDITY_S: Final = 600
_NONCE_BYTES: Final = 32
_BYTES_PER_PIXEL: Final = 4
_OVERHEAD_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class PictureOrder:
    """Pictures that are wanted. The provider checks the bounds: steps 5 to 100, guidance 0 to 25, sides 256 to 1024."""

    prompt: str
    negative_prompt: str = ""
    steps: int = 30
    guidance: float = 7.5
    width: int = 512
    height: int = 512
    seed: int | None = None
    """Of the first picture; None lets the provider choose."""
    count: int = 1
    scheduler: str = DEFAULT_SCHEDULER
    model: str | None = None
    """None for the provider's first."""
    source: bytes | None = None
    """A PNG, JPEG or WebP file that image-to-image starts from."""
    strength: float = DEFAULT_STRENGTH
    """Of image-to-image: 1 leaves nothing of the source."""
    output_format: str = "png"
    quality: int = 90
    """Of jpeg and webp."""

    def fields(self) -> dict[str, Any]:
        """The body of a request, without key and signature."""
        fields: dict[str, Any] = {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "steps": self.steps,
            "guidance": self.guidance,
            "width": self.width,
            "height": self.height,
            "count": self.count,
            "scheduler": self.scheduler,
            "output_format": self.output_format,
            "quality": self.quality,
        }
        if self.seed is not None:
            fields["seed"] = self.seed
        if self.model is not None:
            fields["model"] = self.model
        if self.source is not None:
            fields |= {"init_image": base64.b64encode(self.source).decode("ascii"), "strength": self.strength}
        return fields

    def parameters(self, salt: bytes) -> RequestParameters:
        """What the request's hash is taken of beside the prompt; raises Rejected for what no request could mean."""
        negative = self.negative_prompt
        return RequestParameters(
            width=self.width,
            height=self.height,
            steps=self.steps,
            guidance=float(self.guidance),
            seed=self.seed,
            model=self.model,
            scheduler=self.scheduler,
            count=self.count,
            negative_prompt_hash="sha256:" + salted_hash(salt, negative).hex() if negative else None,
            source_sha256=None if self.source is None else sha256(self.source).hex(),
            strength=None if self.source is None else float(self.strength),
            image_format=self.output_format,
            quality=None if self.output_format == "png" else self.quality,
        ).checked()

    def max_answer_bytes(self) -> int:
        """What no honest answer exceeds: base64 of pictures that compress not at all, and the receipt."""
        sides = [-(-side // SIZE_STEP_PIXELS) * SIZE_STEP_PIXELS for side in (self.width, self.height)]
        picture_bytes = sides[0] * sides[1] * _BYTES_PER_PIXEL + _OVERHEAD_BYTES
        # The plan's field repeats the first picture.
        return (self.count + 1) * picture_bytes * 4 // 3 + _OVERHEAD_BYTES


@dataclass(frozen=True)
class Signing:
    """The key that signs an order, and the most that it may cost."""

    key: Signer
    max_price_atoms: int
    validity_s: int = DEFAULT_VALIDITY_S
    """How long the provider may take to accept it."""


@dataclass(frozen=True)
class PreparedOrder:
    """An order as it is sent, as often as need be: nothing in it changes between two attempts."""

    order: PictureOrder
    idempotency_key: str
    claim: ClientClaim | None = None
    request: ClientRequest | None = None
    """What `claim` signs."""

    def fields(self) -> dict[str, Any]:
        """The body of a request, without the API key."""
        fields = self.order.fields()
        if self.claim is not None:
            fields["client_request"] = self.claim.to_object()
        return fields


def prepare(order: PictureOrder) -> PreparedOrder:
    """An order for an API key alone."""
    return PreparedOrder(order, str(uuid.uuid4()))


def prepare_signed(
    order: PictureOrder, signing: Signing, *, provider: Address, chain_id: int, now_s: int
) -> PreparedOrder:
    """An order that this provider alone may serve on this network; raises Rejected and SignerUnavailable."""
    salt = secrets.token_bytes(SALT_BYTES)
    request = ClientRequest(
        chain_id=chain_id,
        audience=to_checksum_address(provider),
        prompt_hash=salted_hash(salt, order.prompt),
        parameters_hash=order.parameters(salt).hash,
        max_price=Amount(signing.max_price_atoms),
        nonce=Hash32(secrets.token_bytes(_NONCE_BYTES)),
        expiry=now_s + signing.validity_s,
    ).checked()
    claim = ClientClaim(
        client=signing.key.address,
        salt=salt,
        max_price=request.max_price,
        nonce=request.nonce,
        expiry=request.expiry,
        signature=sign_client_request(signing.key, request),
    )
    return PreparedOrder(order, str(uuid.uuid4()), claim, request)
