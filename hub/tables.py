"""The hub's tables: jobs, clients' nonces, the attempts of providers at jobs, and the receipts that came of them.

Types are those that SQLite and PostgreSQL share. Amounts stand only inside a receipt's JSON, as decimal text: no
database's number holds 2^256.
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

_Serial = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows itself only in an INTEGER column.


class JobState(StrEnum):
    """How far a job has come."""

    QUEUED = "queued"
    """Waiting for a place, or with a provider."""
    VERIFIED = "verified"
    """A provider's answer holds; its receipt is not attested yet."""
    DONE = "done"
    """Attested: the client can have picture, receipt and attestation."""
    FAILED = "failed"
    """Ended without a picture."""


class Base(DeclarativeBase):
    """Base of the tables."""


class IdentityRow(Base):
    """One row: whose data this is. A data folder serves one hub on one network."""

    __tablename__ = "identity"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    schema_version: Mapped[int] = mapped_column(Integer)
    hub_id: Mapped[str] = mapped_column(String(64))
    chain_id: Mapped[int] = mapped_column(BigInteger)
    genesis_hash: Mapped[str] = mapped_column(String(66))


class JobRow(Base):
    """One client's job."""

    __tablename__ = "jobs"

    sequence: Mapped[int] = mapped_column(_Serial, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(String(64), unique=True)
    owner: Mapped[str] = mapped_column(String(64))
    """Name of the API key that brought it."""
    client: Mapped[str] = mapped_column(String(256))
    """As in the receipt: the key's name, or the address that signed the request."""
    idempotency_key: Mapped[str | None] = mapped_column(String(128))
    fingerprint: Mapped[str] = mapped_column(String(64))
    prompt: Mapped[str | None] = mapped_column(Text)
    """Erased as soon as the job has ended: nobody needs it any more."""
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    """The other fields of the request, as the client gave them."""
    seed: Mapped[int] = mapped_column(BigInteger)
    request_salt: Mapped[str] = mapped_column(String(66))
    request_hash: Mapped[str] = mapped_column(String(66))
    client_signature: Mapped[str | None] = mapped_column(String(132))
    state: Mapped[JobState] = mapped_column(String(16))
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    ended_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    failure_reason: Mapped[str | None] = mapped_column(String(64))
    failure_detail: Mapped[str | None] = mapped_column(Text)

    attempts: Mapped[list["AttemptRow"]] = relationship(
        back_populates="job", order_by="AttemptRow.sequence", lazy="selectin"
    )
    receipt: Mapped["ReceiptRow | None"] = relationship(back_populates="job", lazy="joined")

    __table_args__ = (
        UniqueConstraint("owner", "idempotency_key"),
        Index("jobs_by_owner", "owner", "sequence"),
        Index("jobs_by_state", "state"),
        # A signature allows one job, whoever sends it again; and a nonce one signature (`client_nonces`).
        Index(
            "signed_requests",
            "request_hash",
            unique=True,
            sqlite_where=client_signature.is_not(None),
            postgresql_where=client_signature.is_not(None),
        ),
    )


class ClientNonceRow(Base):
    """A nonce that a client has used up in a signed request; kept until nobody could take that request any more."""

    __tablename__ = "client_nonces"

    client: Mapped[str] = mapped_column(String(42), primary_key=True)
    nonce: Mapped[str] = mapped_column(String(66), primary_key=True)
    expiry: Mapped[int] = mapped_column(BigInteger, index=True)
    """Unix seconds, as the client signed it."""


class AttemptRow(Base):
    """One provider's turn at a job."""

    __tablename__ = "attempts"

    sequence: Mapped[int] = mapped_column(_Serial, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.job_id"), index=True)
    provider: Mapped[str] = mapped_column(String(42))
    nonce: Mapped[str] = mapped_column(String(64))
    started_at_ms: Mapped[int] = mapped_column(BigInteger)
    ended_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str | None] = mapped_column(String(64))
    """`ok`, or a FaultReason; None while it is under way."""
    detail: Mapped[str | None] = mapped_column(Text)

    job: Mapped[JobRow] = relationship(back_populates="attempts")


class ReceiptRow(Base):
    """The verified receipt of a job, its attestation, and how far both have come."""

    __tablename__ = "receipts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.job_id"), primary_key=True)
    receipt_hash: Mapped[str] = mapped_column(String(66), unique=True)
    provider: Mapped[str] = mapped_column(String(42))
    endpoint: Mapped[str] = mapped_column(Text)
    """Where the provider was reached; delivery asks the registry first."""
    receipt_json: Mapped[str] = mapped_column(Text)
    provider_signature: Mapped[str] = mapped_column(String(132))
    prompt_salt: Mapped[str] = mapped_column(String(66))
    artifact_sha256: Mapped[str] = mapped_column(String(64))
    attestation: Mapped[str | None] = mapped_column(String(132))
    attested_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    delivered_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    delivery_attempts: Mapped[int] = mapped_column(Integer, default=0)
    delivery_error: Mapped[str | None] = mapped_column(Text)
    next_delivery_ms: Mapped[int | None] = mapped_column(BigInteger, index=True)
    """When to try next; None when there is nothing to deliver (any more)."""
    mint_transaction: Mapped[str | None] = mapped_column(String(66))
    mint_height: Mapped[int | None] = mapped_column(BigInteger)
    next_mint_check_ms: Mapped[int | None] = mapped_column(BigInteger, index=True)
    """When to look for the mint next; None before the attestation and after the mint."""

    job: Mapped[JobRow] = relationship(back_populates="receipt")
