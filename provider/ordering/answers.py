"""What a provider answers beside pictures, as types; members that are not named here are passed over."""

from typing import Any

import msgspec


class Queue(msgspec.Struct, frozen=True):
    """How busy the provider is."""

    waiting: int
    """Pictures that wait."""
    limit: int
    """Jobs that may wait."""
    busy: bool


class Model(msgspec.Struct, frozen=True):
    """A model and its price."""

    name: str
    loaded: bool
    price_per_unit: str
    """Atoms, in decimal digits."""


class Health(msgspec.Struct, frozen=True):
    """What the provider says it is; `status` is `ok` where it takes jobs."""

    status: str
    provider: str
    """Its address, which its receipts must be signed by."""
    model: str
    unit_type: str
    price_per_unit: str
    """Atoms per unit, of the first model."""
    queue: Queue
    version: str
    models: tuple[Model, ...] = ()
    gpu: str | None = None
    device: str | None = None
    chain_id: int | None = None
    max_pictures: int = 1
    detail: str | None = None


class Progress(msgspec.Struct, frozen=True):
    """How far a job is."""

    pictures_ahead: int
    step: int
    steps: int
    fraction: float
    remaining_s: float


class Job(msgspec.Struct, frozen=True):
    """A job of this API key."""

    job_id: str
    state: str
    """queued, running, done, failed, cancelled or interrupted."""
    way_in: str
    model: str
    count: int
    created_at_ms: int
    reason: str | None = None
    duration_ms: int | None = None
    gpu_seconds: float | None = None
    receipt_hash: str | None = None
    progress: Progress | None = None
    artifacts: tuple[str, ...] = ()
    """Links to the pictures."""


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first."""

    items: tuple[Job, ...]
    next_cursor: str | None = None


class StoredReceipt(msgspec.Struct, frozen=True):
    """A receipt in the provider's outbox; not checked by this client."""

    receipt_hash: str
    job_id: str
    state: str
    """How far its mint is."""
    provider_signature: str
    receipt: dict[str, Any]
    reason: str | None = None
    attestation: str | None = None
    transaction_hash: str | None = None
    height: int | None = None


class ReceiptPage(msgspec.Struct, frozen=True):
    """Receipts, newest first."""

    items: tuple[StoredReceipt, ...]
    next_cursor: str | None = None


class ProblemBody(msgspec.Struct, frozen=True):
    """What is read of an error (RFC 9457)."""

    reason: str
    detail: str
    field: str | None = None
