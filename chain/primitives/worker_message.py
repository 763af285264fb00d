"""What every message between hub and provider is, and those that both of them send."""

from typing import Annotated, Self

import msgspec
from msgspec import Meta

from chain.primitives.receipt import MAX_RECEIPT_BYTES
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.worker_fields import (
    MAX_MODELS,
    Attachment,
    Count,
    ModelName,
    Reason,
    Seconds,
    Text,
    malformed,
)


class Message(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", omit_defaults=True
):
    """What all messages have in common."""

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """What follows in binary frames."""
        return ()

    def checked(self) -> Self:
        """The message itself; raises Rejected for what its fields' types do not say."""
        return self


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Alive; a provider says besides how busy it is."""

    busy_slots: Count = 0
    waiting_pictures: Count = 0
    """In its queue, from wherever they came."""
    loaded: Annotated[tuple[ModelName, ...], Meta(max_length=MAX_MODELS)] = ()
    """Models that need not be loaded first."""


class Drain(Message, frozen=True, kw_only=True, tag="drain"):
    """Whoever says this finishes what is under way; a provider wants no more, a hub gives no more and will close."""


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """No: to the connection (`about` is empty), or in place of what was asked for by `about`."""

    about: Annotated[str, Meta(max_length=66)] = ""
    reason: Reason
    detail: Text
    retry_after_s: Seconds | None = None
    """When the same might be possible."""


def check_as_many(items: tuple[object, ...], others: tuple[object, ...], field: str) -> None:
    """Raises Rejected unless there is one of these for each of the others."""
    if len(items) != len(others):
        raise malformed(field, f"must be {len(others)}, not {len(items)}")


def check_size(raw: msgspec.Raw, field: str) -> None:
    """Raises Rejected for JSON that no receipt could have."""
    if len(bytes(raw)) > MAX_RECEIPT_BYTES:
        raise Rejected(RejectionReason.TOO_LARGE, f"{field} has at most {MAX_RECEIPT_BYTES} bytes", field=field)
