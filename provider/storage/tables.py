"""The tables of a provider's database. `migrations` makes them; a test holds both equal.

Tables and columns are only ever added, and with defaults: so the version before still runs on the file after an
update is rolled back. A change that it could not bear must raise COMPATIBILITY in `database`.
"""

from typing import Final

from sqlalchemy import Index, Integer, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_ZERO: Final = text("0")
_EMPTY: Final = text("''")


class Base(DeclarativeBase):
    """Base of the tables."""


class ReceiptRow(Base):
    """A signed receipt and how far it has come on its way to the chain."""

    __tablename__ = "receipts"

    sequence: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    receipt_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    hub_id: Mapped[str] = mapped_column(Text)
    job_id: Mapped[str] = mapped_column(Text)
    """As in the receipt: the hub's for a hub's job."""
    lease_id: Mapped[str] = mapped_column(Text, default="", server_default=_EMPTY)
    """Under which a hub gave a part of the job; the receipt's nonce. Empty for whole jobs."""
    key_name: Mapped[str] = mapped_column(Text)
    request_fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    receipt_json: Mapped[bytes] = mapped_column(LargeBinary)
    provider_signature: Mapped[bytes] = mapped_column(LargeBinary)
    prompt_salt: Mapped[bytes] = mapped_column(LargeBinary)
    answer_json: Mapped[str] = mapped_column(Text)
    """The reply to the client without its pictures."""
    state: Mapped[str] = mapped_column(Text)
    form: Mapped[str] = mapped_column(Text, default="mint", server_default=text("'mint'"))
    """Which call pays for it: `mint`, `split` or `settle`."""
    settlement_json: Mapped[str | None] = mapped_column(Text)
    """What settling takes beside receipt and attestation."""
    attestation: Mapped[bytes | None] = mapped_column(LargeBinary)
    transaction_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    transaction_raw: Mapped[bytes | None] = mapped_column(LargeBinary)
    transaction_nonce: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default=_ZERO)
    next_attempt_ms: Mapped[int] = mapped_column(Integer, default=0, server_default=_ZERO)
    created_ms: Mapped[int] = mapped_column(Integer)
    updated_ms: Mapped[int] = mapped_column(Integer)

    __table_args__ = (
        UniqueConstraint("hub_id", "job_id", "lease_id"),
        Index("receipts_by_state", "state", "next_attempt_ms"),
        Index("receipts_by_key", "key_name", "sequence"),
        Index("receipts_by_age", "state", "updated_ms"),
        {"sqlite_autoincrement": True},
    )


class JobCounterRow(Base):
    """How many jobs a day has had: job ids are never given out twice."""

    __tablename__ = "job_counters"

    day: Mapped[str] = mapped_column(Text, primary_key=True, nullable=True)
    last: Mapped[int] = mapped_column(Integer)


class IdentityRow(Base):
    """A fact that never changes: the network and the provider that the folder belongs to."""

    __tablename__ = "identity"

    name: Mapped[str] = mapped_column(Text, primary_key=True, nullable=True)
    value: Mapped[str] = mapped_column(Text)


class SecretRow(Base):
    """Random bytes that were drawn once, for signed links and the like."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary)


class JobRow(Base):
    """One job, from its acceptance on. Never its prompt."""

    __tablename__ = "jobs"

    sequence: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(Text, unique=True)
    """The provider's own, in the plan's form."""
    hub_id: Mapped[str] = mapped_column(Text, default="", server_default=_EMPTY)
    hub_job_id: Mapped[str | None] = mapped_column(Text)
    lease_id: Mapped[str] = mapped_column(Text, default="", server_default=_EMPTY)
    key_name: Mapped[str] = mapped_column(Text)
    way_in: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    pictures: Mapped[int] = mapped_column(Integer)
    idempotency_key: Mapped[str | None] = mapped_column(Text)
    fingerprint_salt: Mapped[bytes] = mapped_column(LargeBinary)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of the salt and the request: recognises a repeated one without keeping it."""
    state: Mapped[str] = mapped_column(Text)
    created_ms: Mapped[int] = mapped_column(Integer)
    started_ms: Mapped[int | None] = mapped_column(Integer)
    ended_ms: Mapped[int | None] = mapped_column(Integer)
    duration_ms: Mapped[int] = mapped_column(Integer, default=0, server_default=_ZERO)
    compute_microseconds: Mapped[int] = mapped_column(Integer, default=0, server_default=_ZERO)
    bytes_out: Mapped[int] = mapped_column(Integer, default=0, server_default=_ZERO)
    prompt_hash: Mapped[str | None] = mapped_column(Text)
    exit_code: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(Text)
    receipt_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    artifacts: Mapped[str] = mapped_column(Text, default="", server_default=_EMPTY)
    """Names in the artifact store, in the pictures' order, separated by spaces."""

    __table_args__ = (
        Index("jobs_by_key", "key_name", "sequence"),
        Index("jobs_by_key_and_age", "key_name", "created_ms"),
        Index("jobs_by_hub", "hub_id", "hub_job_id", "lease_id"),
        Index("jobs_by_end", "ended_ms"),
        Index("jobs_by_state", "state"),
        # A job that came to nothing frees its key: the client may try again.
        Index(
            "jobs_by_idempotency_key",
            "key_name",
            "idempotency_key",
            unique=True,
            sqlite_where=text("idempotency_key IS NOT NULL AND state IN ('queued', 'running', 'done')"),
        ),
        {"sqlite_autoincrement": True},
    )


class ClientNonceRow(Base):
    """A client's signed request that was used: never again, until it would have expired anyway."""

    __tablename__ = "client_nonces"

    client: Mapped[str] = mapped_column(Text, primary_key=True)
    nonce: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    expires_at_s: Mapped[int] = mapped_column(Integer)
    job_id: Mapped[str] = mapped_column(Text)

    __table_args__ = (Index("client_nonces_by_expiry", "expires_at_s"), Index("client_nonces_by_job", "job_id"))
