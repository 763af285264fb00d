"""Messages of the WebSocket `/v1/live`: an order, and what the provider tells of it until its end."""

import base64
import json
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from provider.generation import MAX_PICTURES
from provider.ordering.decoding import Count, decode_json
from provider.ordering.errors import JobFailed, ProviderRefused, ProviderUnavailable, printable
from provider.ordering.order import PreparedOrder
from provider.ordering.verification import Expected, Pictures, read_pictures

PATH: Final = "/v1/live"
MAX_MESSAGE_BYTES: Final = 120 * 1024
"""What a provider reads at once; orders with a larger source go by HTTP, and show no progress."""


@dataclass(frozen=True)
class Accepted:
    """The job has its id."""

    job_id: str


@dataclass(frozen=True)
class Queued:
    """It waits behind so many pictures."""

    pictures_ahead: int


@dataclass(frozen=True)
class Stepped:
    """A denoising step of some of its pictures has ended; the first is 1."""

    step: int
    steps: int
    pictures: tuple[int, ...]


@dataclass(frozen=True)
class Previewed:
    """A small JPEG of how a picture looks now."""

    picture: int
    jpeg: bytes


@dataclass(frozen=True)
class Logged:
    """A line of the job's log, JSON."""

    line: str


@dataclass(frozen=True)
class Finished:
    """The end; the pictures are checked."""

    pictures: Pictures


Event = Accepted | Queued | Stepped | Previewed | Logged | Finished


_Picture = Annotated[int, msgspec.Meta(ge=0, lt=MAX_PICTURES)]


class _Message(msgspec.Struct):
    type: str
    job_id: str = ""
    position: Count = 0
    step: Count = 0
    steps: Count = 0
    pictures: Annotated[tuple[_Picture, ...], msgspec.Meta(max_length=MAX_PICTURES)] = ()
    picture: _Picture = 0
    image_base64: str = ""
    line: str = ""
    reason: str = ""
    detail: str = ""
    field: str | None = None
    retry_after_s: float | None = None


def order_message(prepared: PreparedOrder, preview_every: int) -> str:
    """What begins the job, or finds it again."""
    return json.dumps(
        {
            "type": "generate",
            "idempotency_key": prepared.idempotency_key,
            "preview_every": preview_every,
            **prepared.fields(),
        }
    )


def read_message(text: str | bytes, prepared: PreparedOrder, expected: Expected) -> Event | None:
    """The event, or None for a message that says nothing about the job.

    Raises ProviderRefused where the order was refused, JobFailed where it came to nothing, UntrustedAnswer for a wrong
    answer, and ProviderUnavailable for what no provider says.
    """
    content = text.encode() if isinstance(text, str) else text
    message = decode_json(content, _Message)
    match message.type:
        case "accepted":
            return Accepted(message.job_id)
        case "queued":
            return Queued(message.position)
        case "step":
            return Stepped(message.step, message.steps, message.pictures)
        case "preview":
            return Previewed(message.picture, _jpeg(message.image_base64))
        case "log":
            return Logged(message.line)
        case "finished":
            return Finished(read_pictures(prepared, content, expected))
        case "failed":
            raise JobFailed(printable(message.detail), reason=printable(message.reason))
        case "error":
            raise ProviderRefused(
                printable(message.detail),
                reason=printable(message.reason),
                field=None if message.field is None else printable(message.field),
                retry_after_s=message.retry_after_s,
            )
    return None


def _jpeg(data_url: str) -> bytes:
    try:
        return base64.b64decode(data_url.partition(",")[2], validate=True)
    except ValueError:  # Also for characters beyond ASCII.
        raise ProviderUnavailable("what answered sends previews that are not base64") from None
