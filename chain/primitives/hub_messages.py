"""What a hub says to a provider; `worker_messages` says in which order."""

from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta

from chain.primitives.hexadecimal import parse_address
from chain.primitives.transaction import MAX_CHAIN_ID
from chain.primitives.worker_fields import (
    MAX_PLACES,
    AddressText,
    AmountText,
    Attachment,
    ClientName,
    Count,
    Dtype,
    HashText,
    Identifier,
    PictureRun,
    Place,
    Places,
    Reason,
    SignatureText,
    Text,
    UnitType,
    amount_of,
    malformed,
)
from chain.primitives.worker_message import Message, check_as_many, check_size

PROTOCOL_VERSION: Final = 1
MAX_LEASES: Final = 256
"""That a provider has under way at one hub."""
MAX_COMPUTED_PICTURES: Final = 4
"""Of one ComputePictures: its answer names the latents of every step."""

_NULL: Final = msgspec.Raw(b"null")

Leases = Annotated[tuple[Identifier, ...], Meta(max_length=MAX_LEASES)]
Latents = Annotated[tuple[Attachment, ...], Meta(max_length=MAX_PLACES * 8)]
"""Of the entries that an order or its answer lists, in that order."""


class Challenge(Message, frozen=True, kw_only=True, tag="challenge"):
    """The first message."""

    version: Annotated[int, Meta(ge=1, le=1_000)] = PROTOCOL_VERSION
    hub_id: Identifier
    chain_id: Annotated[int, Meta(ge=1, le=MAX_CHAIN_ID)]
    genesis_hash: HashText
    nonce: HashText
    heartbeat_s: Annotated[float, Meta(gt=0, le=600)]
    """How often each side is to be heard; three times as long in silence ends the connection."""


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The provider is in."""

    leases: Leases = ()
    """Of those that its Hello named: whose results are still wanted."""


class Assignment(Message, frozen=True, kw_only=True, tag="assignment"):
    """Some pictures of a job, to be made now."""

    lease_id: Identifier
    """Of this provider's turn at them; the receipt's nonce."""
    job_id: Identifier
    client: ClientName
    """As the receipt is to say it: a name, or the client's address if it signed."""
    request_hash: HashText
    """Of the whole job's request."""
    client_signature: SignatureText | None = None
    prompt_salt: HashText
    run: PictureRun
    unit_type: UnitType
    price_per_unit: AmountText
    """The job's; at least the provider's own."""
    max_amount: AmountText | None = None
    """The most atoms that this part may come to; the provider stops where more device time would cost more."""
    deadline_s: Annotated[float, Meta(gt=0, le=86_400)]
    """From now; after it the pictures may be somebody else's."""
    preview_every: Annotated[int, Meta(ge=0, le=1_000)] = 0

    def checked(self) -> Self:
        """As in Message."""
        self.run.checked()
        amount_of(self.price_per_unit, "price_per_unit")
        if self.max_amount is not None:
            amount_of(self.max_amount, "max_amount")
        if self.client_signature is not None:
            parse_address(self.client, "client")
        return self


class Cancel(Message, frozen=True, kw_only=True, tag="cancel"):
    """Nobody wants this lease's pictures any more."""

    lease_id: Identifier


class Taken(Message, frozen=True, kw_only=True, tag="taken"):
    """The hub has the result of this lease, and keeps it."""

    lease_id: Identifier


class Outstanding(Message, frozen=True, kw_only=True, tag="outstanding"):
    """What the hub may still want of this provider, in answer to AskOutstanding: where all are 0, it may go."""

    order_id: Identifier
    """The question's."""
    leases: Count
    """Without a result."""
    checks: Count
    """Of its results, that have no verdict."""
    jobs: Count
    """Not ended, with results of it, whose receipt is not there yet or about to be attested."""
    attestations: Count
    """That have not been brought to it."""

    @property
    def is_nothing(self) -> bool:
        """Whether all is concluded."""
        return not (self.leases or self.checks or self.jobs or self.attestations)


class OpenSteps(Message, frozen=True, kw_only=True, tag="open_steps"):
    """Show these latents of a run, with the proof that the receipt's trajectory_root holds them."""

    order_id: Identifier
    lease_id: Identifier
    """Whose receipt."""
    places: Places


class PlanCheck(Message, frozen=True, kw_only=True, tag="plan_check"):
    """How many steps does such a run have, and which entries are needed to compute these again?"""

    order_id: Identifier
    run: PictureRun
    places: Places

    def checked(self) -> Self:
        """As in Message."""
        self.run.checked()
        return self


class CheckSteps(Message, frozen=True, kw_only=True, tag="check_steps"):
    """Compute these entries of another provider's run again, from the entries that it has opened."""

    order_id: Identifier
    run: PictureRun
    places: Places
    batch_rows: Annotated[int, Meta(ge=1, le=1_024)] = 1
    """With how many pictures the other says that it computed each."""
    dtype: Dtype | None = None
    """In which precision; the latents may be widened from it."""
    opened: Annotated[tuple[Place, ...], Meta(max_length=MAX_PLACES * 8)]
    latents: Latents
    """Of `opened`, in that order."""

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The latents."""
        return self.latents

    def checked(self) -> Self:
        """As in Message."""
        self.run.checked()
        check_as_many(self.latents, self.opened, "latents")
        return self


class ComputePictures(Message, frozen=True, kw_only=True, tag="compute_pictures"):
    """Make these pictures without a receipt: to check another's, or as a benchmark."""

    order_id: Identifier
    purpose: Annotated[str, Meta(pattern=r"^(check|benchmark)\Z")]
    run: PictureRun

    def checked(self) -> Self:
        """As in Message."""
        self.run.checked()
        if self.run.count > MAX_COMPUTED_PICTURES:
            raise malformed("run.count", f"must be at most {MAX_COMPUTED_PICTURES}")
        return self


class SignReceipt(Message, frozen=True, kw_only=True, tag="sign_receipt"):
    """The receipt of a split job, for its provider to sign after finding its own parts in it."""

    order_id: Identifier
    receipt: msgspec.Raw
    """The receipt's JSON; `chain.primitives.receipt` reads it."""

    def checked(self) -> Self:
        """As in Message."""
        check_size(self.receipt, "receipt")
        return self


class SettlementTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `chain.primitives.settlement` needs beside the receipt and the attesters' signatures."""

    audience: Identifier
    prompt_hash: HashText
    parameters_hash: HashText
    max_price: AmountText
    nonce: HashText
    expiry: Annotated[int, Meta(ge=0, le=2**40)]
    fee_recipient: AddressText
    fee: AmountText


class Attested(Message, frozen=True, kw_only=True, tag="attested"):
    """Attesters vouch for a receipt: what the provider brings to the chain."""

    receipt_hash: HashText
    form: Annotated[str, Meta(pattern=r"^(mint|split|settle)\Z")]
    """Which call: mintWithReceipt, mintSplit, or the escrow's settle."""
    signatures: Annotated[str, Meta(pattern=r"^0x([0-9a-f]{130}){1,64}\Z")]
    """Ascending by the signers' addresses, one after the other."""
    receipt: msgspec.Raw = _NULL
    """The receipt's JSON, where the provider may not have it: of a split job. Else null."""
    receipt_signature: SignatureText | None = None
    """By the receipt's provider, beside it."""
    settlement: SettlementTerms | None = None

    @property
    def has_receipt(self) -> bool:
        """Whether the receipt's JSON is there."""
        return bytes(self.receipt) != bytes(_NULL)

    def checked(self) -> Self:
        """As in Message."""
        check_size(self.receipt, "receipt")
        if self.has_receipt != (self.receipt_signature is not None):
            raise malformed("receipt_signature", "must stand beside the receipt")
        if (self.settlement is None) != (self.form != "settle"):
            raise malformed("settlement", "must stand there exactly where the receipt is settled")
        if self.settlement is not None:
            amount_of(self.settlement.max_price, "settlement.max_price")
            amount_of(self.settlement.fee, "settlement.fee")
            parse_address(self.settlement.fee_recipient, "settlement.fee_recipient")
        return self


class Suspended(Message, frozen=True, kw_only=True, tag="suspended"):
    """The provider gets no work for now, and is told why."""

    reason: Reason
    detail: Text
    until_s: Annotated[float, Meta(ge=0, le=2**40)] | None = None
    """Unix time; None where a person decides."""


class Lifted(Message, frozen=True, kw_only=True, tag="lifted"):
    """The suspension is over."""
