"""What a provider says to a hub; `worker_messages` says in which order."""

from typing import Annotated, Any, Final, Self

import msgspec
from msgspec import Meta

from chain.primitives.hexadecimal import parse_address
from chain.primitives.hub_messages import MAX_COMPUTED_PICTURES, PROTOCOL_VERSION, Latents, Leases
from chain.primitives.trajectory import MAX_STEPS
from chain.primitives.worker_fields import (
    MAX_MODELS,
    MAX_PICTURES,
    MAX_PLACES,
    AddressText,
    Attachment,
    Audience,
    Count,
    HashText,
    Identifier,
    Microseconds,
    Milliseconds,
    ModelOffer,
    PictureCount,
    PictureIndex,
    Printable,
    ProfileClaim,
    Profiles,
    Reason,
    Seed,
    Sha256Digits,
    SignatureText,
    StepIndex,
    UnitType,
    amount_of,
    malformed,
)
from chain.primitives.worker_message import Message, check_as_many, check_size

_MAX_PREVIEW_CHARACTERS: Final = 64 * 1024
_MAX_SIBLINGS: Final = 22

Pictures = Annotated[tuple[Attachment, ...], Meta(min_length=1, max_length=MAX_PICTURES)]


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """The answer to the challenge."""

    version: Annotated[int, Meta(ge=1, le=1_000)] = PROTOCOL_VERSION
    address: AddressText
    signature: SignatureText
    """`chain.primitives.worker_hello`."""
    audience: Audience
    """Host and port that this provider has dialled."""
    models: Annotated[tuple[ModelOffer, ...], Meta(min_length=1, max_length=MAX_MODELS)]
    unit_type: UnitType
    device: Printable
    device_class: Annotated[str, Meta(pattern=r"^(cpu|cuda)\Z")]
    vram_mib: Count
    slots: Annotated[int, Meta(ge=1, le=4_096)]
    """Batches at one time."""
    concurrency: Annotated[int, Meta(ge=1, le=4_096)]
    """Pictures at one time."""
    max_pictures: PictureCount
    """Of one assignment."""
    records_trajectories: bool
    software: Printable
    leases: Leases = ()
    """Of this hub: under way, or done and not taken yet."""

    def checked(self) -> Self:
        """As in Message."""
        parse_address(self.address, "address")
        for model in self.models:
            amount_of(model.price_per_unit, "models.price_per_unit")
        if len({model.name for model in self.models}) != len(self.models):
            raise malformed("models", "must have different names")
        return self


class Accepted(Message, frozen=True, kw_only=True, tag="accepted"):
    """The assignment is in the provider's queue."""

    lease_id: Identifier


class Progress(Message, frozen=True, kw_only=True, tag="progress"):
    """How far an assignment is."""

    lease_id: Identifier
    step: StepIndex
    steps: StepIndex
    fraction: Annotated[float, Meta(ge=0, le=1)]
    """Of all its pictures."""
    picture: PictureIndex = 0
    """Which one the preview shows."""
    preview: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{4,}={0,2}\Z", max_length=_MAX_PREVIEW_CHARACTERS)] | None = (
        None
    )
    """A small JPEG in base64."""


class Result(Message, frozen=True, kw_only=True, tag="result"):
    """The pictures of an assignment, and the receipt for them."""

    lease_id: Identifier
    receipt: msgspec.Raw
    provider_signature: SignatureText
    seeds: Annotated[tuple[Seed, ...], Meta(min_length=1, max_length=MAX_PICTURES)]
    profiles: Profiles
    """Of each picture; none where the receipt commits to no trajectory."""
    duration_ms: Milliseconds
    compute_microseconds: Microseconds
    gpu: Printable
    pictures: Pictures

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The pictures in order."""
        return self.pictures

    def checked(self) -> Self:
        """As in Message."""
        check_size(self.receipt, "receipt")
        check_as_many(self.seeds, self.pictures, "seeds")
        if self.profiles:
            check_as_many(self.profiles, self.pictures, "profiles")
        return self


class OpenedStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `chain.primitives.trajectory.Opening`."""

    picture: PictureIndex
    pictures: PictureCount
    step: StepIndex
    steps: Annotated[int, Meta(ge=0, lt=MAX_STEPS)]
    latents_sha256: Sha256Digits
    siblings: Annotated[tuple[HashText, ...], Meta(max_length=_MAX_SIBLINGS)]

    def to_object(self) -> dict[str, Any]:
        """The JSON object."""
        return dict(msgspec.to_builtins(self)) | {"siblings": list(self.siblings)}


class Opened(Message, frozen=True, kw_only=True, tag="opened"):
    """Latents of a run with their proofs; what they are bound to stands in the receipt and the declared profiles."""

    order_id: Identifier
    profiles: Profiles
    openings: Annotated[tuple[OpenedStep, ...], Meta(min_length=1, max_length=MAX_PLACES)]
    latents: Latents

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Of the openings, in order."""
        return self.latents

    def checked(self) -> Self:
        """As in Message."""
        check_as_many(self.latents, self.openings, "latents")
        for opening, latents in zip(self.openings, self.latents, strict=True):
            if opening.latents_sha256 != latents.sha256:
                raise malformed("latents", "must have the digests that the openings name")
        return self


class Plan(Message, frozen=True, kw_only=True, tag="plan"):
    """What a check of such a run needs."""

    order_id: Identifier
    evaluations: StepIndex
    """Steps of the run; each picture has one entry more."""
    needed: Annotated[
        tuple[Annotated[tuple[StepIndex, ...], Meta(max_length=MAX_STEPS)], ...], Meta(max_length=MAX_PLACES)
    ]
    """For each place, the entries of its picture to compute it from."""


class Checked(Message, frozen=True, kw_only=True, tag="checked"):
    """The entries that were computed again."""

    order_id: Identifier
    profile: ProfileClaim
    """What the checker would have declared."""
    expected_rms: Annotated[tuple[Annotated[float, Meta(ge=0, le=1e12)], ...], Meta(max_length=MAX_PLACES)]
    """How large each entry should be, by the checker's own model."""
    rounding: Annotated[tuple[Annotated[float, Meta(ge=0, le=1e12)], ...], Meta(max_length=MAX_PLACES)] = ()
    """Where the other computes in a shorter precision: how far the same step lies from the checker's in that one."""
    latents: Latents

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Of the places that were asked for, in order."""
        return self.latents

    def checked(self) -> Self:
        """As in Message."""
        check_as_many(self.expected_rms, self.latents, "expected_rms")
        if self.rounding:
            check_as_many(self.rounding, self.latents, "rounding")
        return self


class Computed(Message, frozen=True, kw_only=True, tag="computed"):
    """Pictures that were made without a receipt."""

    order_id: Identifier
    profiles: Profiles
    compute_microseconds: Microseconds
    duration_ms: Milliseconds
    digests: Annotated[
        tuple[Annotated[tuple[Sha256Digits, ...], Meta(max_length=256)], ...], Meta(max_length=MAX_COMPUTED_PICTURES)
    ]
    """Per picture, of the latents of every entry."""
    pictures: Pictures
    latents: Latents
    """The last entry of each picture; none, as `digests`, where the provider's devices do not hand latents out."""

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The pictures, then the latents."""
        return (*self.pictures, *self.latents)

    def checked(self) -> Self:
        """As in Message."""
        check_as_many(self.profiles, self.pictures, "profiles")
        for name, items in (("digests", self.digests), ("latents", self.latents)):
            if items:
                check_as_many(items, self.pictures, name)
        return self


class ReceiptSigned(Message, frozen=True, kw_only=True, tag="receipt_signed"):
    """The provider's signature over the receipt of a split job."""

    order_id: Identifier
    signature: SignatureText


class AttestationTaken(Message, frozen=True, kw_only=True, tag="attestation_taken"):
    """The provider has written the attestation down, and does the rest."""

    receipt_hash: HashText
    state: Reason
    """Of the receipt in its outbox."""


class AskOutstanding(Message, frozen=True, kw_only=True, tag="ask_outstanding"):
    """What is open of what this provider has brought? Asked by one that drains, before it goes."""

    order_id: Identifier
    """The provider's own name for the question; the answer has it, too."""
