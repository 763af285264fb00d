"""The audit log's chain: each entry's hash is over the entry and the hash before it, so none can change unseen."""

from dataclasses import dataclass
from typing import Any, Final

import rfc8785
from sqlalchemy import select, text
from sqlalchemy.engine import Connection

from chain.primitives.hashing import sha256
from hub.store.inserting import insert_rows
from hub.store.statements import Prepared
from hub.store.tables.records import AUDIT_LOG

FIRST_PREVIOUS_HASH: Final = "0" * 64
_AUDIT_LOCK: Final = 0x61756474  # One process appends at a time, from here to its commit.
_HEAD: Final = Prepared(select(AUDIT_LOG.c.sequence, AUDIT_LOG.c.hash).order_by(AUDIT_LOG.c.sequence.desc()).limit(1))


@dataclass(frozen=True, slots=True)
class AuditNote:
    """An entry before it has its place in the chain; `data` is canonical JSON."""

    at_ms: int
    kind: str
    subject: str
    data: str


def canonical(data: dict[str, Any]) -> str:
    """RFC 8785 JSON; amounts go in as decimal text, since it has no integers above 2^53."""
    return rfc8785.dumps(data).decode()


def entry_hash(sequence: int, note: AuditNote, previous_hash: str) -> str:
    """SHA-256 of the canonical JSON array of all that an entry is."""
    parts: list[Any] = [sequence, note.at_ms, note.kind, note.subject, note.data, previous_hash]
    return sha256(rfc8785.dumps(parts)).hex()


def append_notes(connection: Connection, notes: list[AuditNote]) -> None:
    """Adds entries at the chain's end; the last thing before a commit, as other processes wait for it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _AUDIT_LOCK})
    head = _HEAD.send(connection, {}).one_or_none()
    sequence, previous_hash = (0, FIRST_PREVIOUS_HASH) if head is None else (head.sequence, head.hash)
    rows: list[dict[str, Any]] = []
    for note in notes:
        sequence += 1
        digest = entry_hash(sequence, note, previous_hash)
        rows.append(
            {
                "sequence": sequence,
                "at_ms": note.at_ms,
                "kind": note.kind,
                "subject": note.subject,
                "data": note.data,
                "previous_hash": previous_hash,
                "hash": digest,
            }
        )
        previous_hash = digest
    insert_rows(connection, AUDIT_LOG, rows)
