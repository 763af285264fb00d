"""What a hub and a provider that has dialled it say to one another, over one WebSocket.

    hub       Challenge                                    who it is, which network, a nonce
    provider  Hello                                        who it is, signed; what it sells; what it has under way
    hub       Welcome, or Refused and the end
    hub       Assignment → Accepted → Progress… → Result → Taken     a lease: some pictures, with a receipt
    hub       OpenSteps, PlanCheck, CheckSteps, ComputePictures, SignReceipt → an answer with the same order_id
    hub       Attested → AttestationTaken                  what the chain takes for a receipt
    provider  AskOutstanding → Outstanding                 what a provider that drains has to wait for
    both      Heartbeat, Drain, Refused (instead of an answer: `about` is the lease, the order or the receipt's hash)

Each message is one text frame of JSON. Some announce attachments: their bytes follow in binary frames, in the order in
which they were announced. Meanwhile other messages may come, but none with attachments. Everything is bounded, unknown
fields are refused, and nothing but Rejected comes out of `decode_…`.

A repeated assignment (the same lease_id, which is the receipt's nonce too) gets the same receipt and pictures.
"""

from typing import Final, TypeVar

import msgspec

from chain.primitives.hashing import sha256
from chain.primitives.hub_messages import (
    Assignment,
    Attested,
    Cancel,
    Challenge,
    CheckSteps,
    ComputePictures,
    Lifted,
    OpenSteps,
    Outstanding,
    PlanCheck,
    SignReceipt,
    Suspended,
    Taken,
    Welcome,
)
from chain.primitives.provider_messages import (
    Accepted,
    AskOutstanding,
    AttestationTaken,
    Checked,
    Computed,
    Hello,
    Opened,
    Plan,
    Progress,
    ReceiptSigned,
    Result,
)
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.worker_fields import Attachment
from chain.primitives.worker_message import Drain, Heartbeat, Message, Refused

MAX_TEXT_BYTES: Final = 256 * 1024
"""A hub's message: as many prompts as an assignment may have, in most scripts."""
MAX_PROVIDER_TEXT_BYTES: Final = 96 * 1024
CHUNK_BYTES: Final = 64 * 1024
"""The largest binary frame."""

M = TypeVar("M", bound=Message)

HubMessage = (
    Heartbeat
    | Drain
    | Refused
    | Challenge
    | Welcome
    | Assignment
    | Cancel
    | Taken
    | OpenSteps
    | PlanCheck
    | CheckSteps
    | ComputePictures
    | SignReceipt
    | Attested
    | Outstanding
    | Suspended
    | Lifted
)
ProviderMessage = (
    Heartbeat
    | Drain
    | Refused
    | Hello
    | Accepted
    | Progress
    | Result
    | Opened
    | Plan
    | Checked
    | Computed
    | ReceiptSigned
    | AttestationTaken
    | AskOutstanding
)

_ENCODER: Final = msgspec.json.Encoder()
_HUB_DECODER: Final[msgspec.json.Decoder[HubMessage]] = msgspec.json.Decoder(HubMessage)
_PROVIDER_DECODER: Final[msgspec.json.Decoder[ProviderMessage]] = msgspec.json.Decoder(ProviderMessage)


def encode(message: Message) -> bytes:
    """The text frame."""
    return _ENCODER.encode(message)


def decode_from_hub(text: bytes | str) -> HubMessage:
    """What a hub says; raises Rejected (too_large, malformed, out_of_range) for anything else."""
    return _decode(_HUB_DECODER, text, MAX_TEXT_BYTES)


def decode_from_provider(text: bytes | str) -> ProviderMessage:
    """What a provider says; raises Rejected as `decode_from_hub`."""
    return _decode(_PROVIDER_DECODER, text, MAX_PROVIDER_TEXT_BYTES)


def raw_json(value: object) -> msgspec.Raw:
    """A receipt's object, for a field that holds JSON as it is."""
    return msgspec.Raw(_ENCODER.encode(value))


def attachment_of(octets: bytes) -> Attachment:
    """Announces a file."""
    return Attachment(size_bytes=len(octets), sha256=sha256(octets).hex())


def _decode(decoder: "msgspec.json.Decoder[M]", text: bytes | str, most: int) -> M:
    if len(text) > most:
        raise Rejected(RejectionReason.TOO_LARGE, f"a message has at most {most} bytes")
    try:
        return decoder.decode(text).checked()
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Rejected(RejectionReason.MALFORMED, f"not a message of this protocol: {error}") from None
