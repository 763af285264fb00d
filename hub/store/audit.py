"""The audit log: what was signed, and what was decided about whom. Entries are only ever added, each chained to the one
before it by SHA-256; the database itself refuses to change or drop one."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import select

from hub.store.audit_chain import FIRST_PREVIOUS_HASH, AuditNote, canonical, entry_hash
from hub.store.errors import AuditBroken
from hub.store.records import columns_of
from hub.store.tables.records import AUDIT_LOG
from hub.store.transaction import Reader, Transaction

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """An entry, numbered from 1 without gaps."""

    sequence: int
    at_ms: int
    kind: str
    subject: str
    data: dict[str, Any]
    previous_hash: str
    hash: str


_ENTRY: Final = select(*columns_of(AUDIT_LOG, AuditEntry)).order_by(AUDIT_LOG.c.sequence)


def _entry_of(row: Any) -> AuditEntry:
    return AuditEntry(**{**row, "data": msgspec.json.decode(row["data"])})


def append(transaction: Transaction, kind: str, subject: str, data: dict[str, Any], now_ms: int) -> None:
    """Adds an entry with the rest of the unit; amounts in `data` as decimal text. Never a secret."""
    transaction.note(AuditNote(now_ms, kind, subject, canonical(data)))


def after(reader: Reader, sequence: int, *, limit: int = _PAGE) -> list[AuditEntry]:
    """Entries that follow the one of that number."""
    query = _ENTRY.where(AUDIT_LOG.c.sequence > sequence).limit(limit)
    return [_entry_of(row) for row in reader.execute(query).mappings()]


def of_subject(reader: Reader, subject: str, *, limit: int = _PAGE) -> list[AuditEntry]:
    """Entries about one receipt, job or provider, oldest first."""
    query = _ENTRY.where(AUDIT_LOG.c.subject == subject).limit(limit)
    return [_entry_of(row) for row in reader.execute(query).mappings()]


def verify(reader: Reader) -> tuple[int, str]:
    """Number and hash of the last entry; raises AuditBroken where the chain does not hold.

    Whoever keeps that hash elsewhere notices, too, when the end of the log was cut off.
    """
    sequence, previous_hash = 0, FIRST_PREVIOUS_HASH
    while True:
        rows = reader.execute(_ENTRY.where(AUDIT_LOG.c.sequence > sequence).limit(_PAGE)).all()
        for row in rows:
            sequence += 1
            note = AuditNote(row.at_ms, row.kind, row.subject, row.data)
            digest = entry_hash(sequence, note, previous_hash)
            if (row.sequence, row.previous_hash, row.hash) != (sequence, previous_hash, digest):
                raise AuditBroken(sequence)
            previous_hash = digest
        if len(rows) < _PAGE:
            return sequence, previous_hash
