"""Each request of the provider's API as a value: what is sent, how much may come back, and how it is read."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from provider.ordering.answers import Health, Job, JobPage, ProblemBody, ReceiptPage, StoredReceipt
from provider.ordering.decoding import decode_json
from provider.ordering.errors import ClientError, ProviderRefused, ProviderUnavailable, printable
from provider.ordering.order import PreparedOrder
from provider.ordering.verification import Expected, Pictures, read_pictures

T = TypeVar("T")

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
MAX_PICTURE_BYTES: Final = 32 * 1024 * 1024
MAX_PAGE: Final = 200
_JOB_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:\-]{0,63}")
_HASH: Final = re.compile(r"0x[0-9a-fA-F]{64}")
_MAX_RETRY_AFTER_DIGITS: Final = 6
_BUSY: Final = frozenset({429, 503})


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request; `body` is JSON."""

    method: str
    path: str
    read: Callable[[bytes], T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    max_answer_bytes: int = MAX_ANSWER_BYTES
    may_repeat: bool = True
    """Whether it means the same when it is sent again, after a connection that broke."""


def health() -> Call[Health]:
    """What the provider is, and whether it takes jobs."""
    return Call("GET", "/v1/health", _reader(Health))


def generate(prepared: PreparedOrder, api_key: str, expected: Expected) -> Call[Pictures]:
    """Makes pictures, and checks them with their receipt."""
    body = json.dumps({"api_key": api_key, **prepared.fields()})
    return Call(
        "POST",
        "/v1/generate-image",
        lambda content: read_pictures(prepared, content, expected),
        body=body.encode("ascii"),
        headers={"Idempotency-Key": prepared.idempotency_key},
        max_answer_bytes=prepared.order.max_answer_bytes(),
    )


def jobs(*, cursor: str | None = None, limit: int = 50) -> Call[JobPage]:
    """This API key's jobs, newest first."""
    return Call("GET", "/v1/jobs", _reader(JobPage), _page(cursor, limit))


def job(job_id: str) -> Call[Job]:
    """One job of this API key."""
    return Call("GET", f"/v1/jobs/{_checked_id(job_id)}", _reader(Job))


def cancel(job_id: str) -> Call[Job]:
    """Ends a job that waits or runs."""
    return Call("POST", f"/v1/jobs/{_checked_id(job_id)}/cancel", _reader(Job), may_repeat=False)


def artifact(job_id: str, index: int = 0) -> Call[bytes]:
    """A finished job's picture, as an encoded file, unchecked."""
    path = f"/v1/jobs/{_checked_id(job_id)}/artifacts/{index:d}"
    return Call("GET", path, bytes, max_answer_bytes=MAX_PICTURE_BYTES)


def step(job_id: str, number: int, *, picture: int = 0) -> Call[dict[str, Any]]:
    """The opening of one step of a trajectory, as JSON; `aitbc provider verify` knows what to do with it."""
    path = f"/v1/jobs/{_checked_id(job_id)}/steps/{number:d}"
    return Call("GET", path, _reader(dict[str, Any]), {"picture": str(picture)}, max_answer_bytes=MAX_PICTURE_BYTES)


def receipts(*, cursor: str | None = None, limit: int = 50) -> Call[ReceiptPage]:
    """Receipts of this API key's jobs, newest first."""
    return Call("GET", "/v1/receipts", _reader(ReceiptPage), _page(cursor, limit))


def receipt(receipt_hash: str) -> Call[StoredReceipt]:
    """One of them."""
    if not _HASH.fullmatch(receipt_hash):
        raise ClientError("a receipt's hash is 0x and 64 hex digits", reason="malformed")
    return Call("GET", f"/v1/receipts/{receipt_hash}", _reader(StoredReceipt))


def error_of(status: int, headers: Mapping[str, str], content: bytes) -> ClientError:
    """What an answer other than 2xx stands for: ProviderRefused or ProviderUnavailable."""
    try:
        problem = decode_json(content, ProblemBody)
    except ProviderUnavailable:
        return ProviderUnavailable(f"answered {status}, with something that no AITBC provider says")
    detail, reason = printable(problem.detail), printable(problem.reason)
    if status >= 500 and status not in _BUSY:
        return ProviderUnavailable(f"the provider has a problem: {detail}", reason=reason)
    return ProviderRefused(
        detail,
        status=status,
        reason=reason,
        field=None if problem.field is None else printable(problem.field),
        retry_after_s=_retry_after_s(headers.get("retry-after", "")),
    )


def _retry_after_s(text: str) -> float | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_RETRY_AFTER_DIGITS
    return float(text) if is_number else None


def _reader(kind: type[T]) -> Callable[[bytes], T]:
    return lambda content: decode_json(content, kind)


def _page(cursor: str | None, limit: int) -> dict[str, str]:
    return {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})


def _checked_id(job_id: str) -> str:
    if not _JOB_ID.fullmatch(job_id):
        raise ClientError("a job's id has at most 64 letters, digits and . _ : -", reason="malformed")
    return job_id
