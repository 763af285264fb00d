"""What stands in the outbox: its tables, and their rows as the rest of the package sees them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chain.primitives.types import Hash32

SCHEMA_VERSION: Final = 1

SCHEMA: Final = """
CREATE TABLE receipts (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    receipt_hash BLOB NOT NULL UNIQUE,
    hub_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    key_name TEXT NOT NULL,
    request_fingerprint BLOB NOT NULL,
    receipt_json BLOB NOT NULL,
    provider_signature BLOB NOT NULL,
    prompt_salt BLOB NOT NULL,
    answer_json TEXT NOT NULL,
    state TEXT NOT NULL,
    attestation BLOB,
    transaction_hash BLOB,
    transaction_raw BLOB,
    transaction_nonce INTEGER,
    height INTEGER,
    reason TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (hub_id, job_id)
);
CREATE INDEX receipts_by_state ON receipts (state, next_attempt_ms);
CREATE INDEX receipts_by_key ON receipts (key_name, sequence);
CREATE TABLE job_counters (day TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE identity (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class ReceiptState(StrEnum):
    """How far a receipt has come."""

    SIGNED = "signed"
    ATTESTED = "attested"
    SUBMITTED = "submitted"
    FINAL = "final"
    REFUSED = "refused"


@dataclass(frozen=True)
class NewReceipt:
    """What is stored when a receipt is signed; `answer_json` is the reply to the client without the picture."""

    receipt_hash: Hash32
    hub_id: str
    job_id: str
    key_name: str
    request_fingerprint: bytes
    receipt_json: bytes
    provider_signature: bytes
    prompt_salt: bytes
    answer_json: str


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
    state: ReceiptState
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
