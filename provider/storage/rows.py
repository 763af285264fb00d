"""Jobs and receipts as the rest of the package sees them: what is stored, and what comes back."""

from dataclasses import dataclass, field
from enum import StrEnum

from chain.primitives.types import Hash32


class ReceiptState(StrEnum):
    """How far a receipt has come."""

    SIGNED = "signed"
    ATTESTED = "attested"
    SUBMITTED = "submitted"
    FINAL = "final"
    REFUSED = "refused"


class ReceiptForm(StrEnum):
    """Which call of the chain pays for a receipt."""

    MINT = "mint"
    SPLIT = "split"
    """A mint for all providers of a split job."""
    SETTLE = "settle"
    """Out of the client's deposit."""


@dataclass(frozen=True)
class NewReceipt:
    """What is stored when a receipt is signed; `answer_json` is the reply to the client without the pictures."""

    receipt_hash: Hash32
    hub_id: str
    job_id: str
    key_name: str
    request_fingerprint: bytes
    receipt_json: bytes
    provider_signature: bytes
    prompt_salt: bytes
    answer_json: str
    lease_id: str = ""


@dataclass(frozen=True)
class StoredReceipt:
    """A row of the outbox."""

    sequence: int
    receipt_hash: Hash32
    hub_id: str
    job_id: str
    key_name: str
    request_fingerprint: bytes
    receipt_json: bytes
    provider_signature: bytes
    prompt_salt: bytes
    answer_json: str
    lease_id: str
    state: ReceiptState
    form: ReceiptForm
    settlement_json: str | None
    attestation: bytes | None
    transaction_hash: Hash32 | None
    transaction_raw: bytes | None
    transaction_nonce: int | None
    height: int | None
    reason: str | None
    attempts: int
    next_attempt_ms: int
    created_ms: int
    updated_ms: int


class JobState(StrEnum):
    """How far a job has come."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The process ended while the job was under way; nothing of it was charged."""


@dataclass(frozen=True)
class ClientNonce:
    """What makes a client's signed request good for one job only; it may be forgotten once the request has expired."""

    client: str
    nonce: bytes
    expires_at_s: int


@dataclass(frozen=True)
class NewJob:
    """A job that is to be accepted.

    `request_body` is what was asked for, in a canonical form, without the API key: only a salted hash of it is kept.
    """

    key_name: str
    way_in: str
    model: str
    pictures: int
    request_body: bytes
    hub_id: str = ""
    hub_job_id: str | None = None
    lease_id: str = ""
    idempotency_key: str | None = None
    client_nonce: ClientNonce | None = None


@dataclass(frozen=True)
class FinishedJob:
    """What is known of a job once its pictures are kept; its answer stands beside the receipt."""

    duration_ms: int
    compute_microseconds: int
    bytes_out: int
    prompt_hash: str
    artifacts: tuple[str, ...]
    """Names in the artifact store, in the pictures' order."""


@dataclass(frozen=True)
class JobRecord:
    """A row of the job log, with the answer that was given while its receipt is kept."""

    sequence: int
    job_id: str
    hub_id: str
    hub_job_id: str | None
    key_name: str
    way_in: str
    model: str
    pictures: int
    idempotency_key: str | None
    state: JobState
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    duration_ms: int
    compute_microseconds: int
    bytes_out: int
    prompt_hash: str | None
    exit_code: int | None
    reason: str | None
    receipt_hash: Hash32 | None
    artifacts: tuple[str, ...]
    answer_json: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Acceptance:
    """A job that was accepted now, or the one that this request had become before."""

    record: JobRecord
    is_new: bool


@dataclass(frozen=True)
class JobStatistics:
    """The jobs of a stretch of time; the quantiles are of the answered ones' durations, None without any."""

    by_state: dict[JobState, int]
    pictures: int
    compute_microseconds: int
    bytes_out: int
    p50_ms: int | None
    p95_ms: int | None
