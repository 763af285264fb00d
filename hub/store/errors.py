"""What a caller of the store may meet, and how a database's complaint becomes one of them."""

import sqlite3
from typing import Final

from sqlalchemy import Index, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError, SQLAlchemyError

from chain.primitives.hexadecimal import format_ait
from hub.store.tables.schema import METADATA

_RETRYABLE_SQLSTATES: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock not available: the same may well succeed now."""

_WORDS: Final = {
    "pk_idempotency_keys": "idempotency_key",
    "pk_client_nonces": "client_nonce",
    "jobs_signed_requests": "request_hash",
    "uq_jobs_job_id": "job_id",
    "pk_shards": "shard",
    "uq_leases_lease_id": "lease_id",
    "pk_results": "lease_id",
    "uq_results_receipt_hash": "receipt_hash",
    "uq_receipts_receipt_hash": "receipt_hash",
    "pk_receipts": "job_id",
    "pk_attestations": "attester",
    "uq_checks_check_id": "check_id",
    "pk_sessions": "session",
    "uq_sessions_provider": "provider",
    "uq_ledger_entries_entry_id": "entry_id",
}
"""What a violated constraint says was used before."""


class StoreError(Exception):
    """Base of what a store raises for reasons outside the program."""


class StoreUnavailable(StoreError):
    """The database cannot be used now: gone, full, read-only. Whether the unit was committed may be unknown."""


class StoreBusy(StoreError):
    """More units wait to be written than the store takes."""


class AlreadyUsed(StoreError):
    """What may be there once is there: `what` names it (`idempotency_key`, `client_nonce`, `receipt_hash`, …)."""

    def __init__(self, what: str) -> None:
        super().__init__(f"this {what} was used before")
        self.what = what


class AlreadyServed(StoreError):
    """The shard has a result; a second one is not taken, and nobody is paid twice."""


class WrongState(StoreError):
    """The row is in another state than the step starts from."""


class QuotaExceeded(StoreError):
    """The key has no more of this for the day: `limit` is jobs, pictures, micro_units or amount, of which `daily` are
    there each day."""

    def __init__(self, limit: str, *, wanted: int, left: int, daily: int) -> None:
        what = "AIT" if limit == "amount" else limit
        numbers = [format_ait(each) if limit == "amount" else str(each) for each in (left, daily, wanted)]
        super().__init__(f"the day's quota has {numbers[0]} of {numbers[1]} {what} left, and this takes {numbers[2]}")
        self.limit = limit
        self.left = left
        self.is_renewed = wanted <= daily
        """Whether another day's quota would do."""


class AuditBroken(StoreError):
    """The audit log's chain of hashes does not hold at `sequence`."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"the audit log was changed at entry {sequence}")
        self.sequence = sequence


def is_worth_repeating(error: BaseException) -> bool:
    """Whether another transaction stood in the way, not the unit itself."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _RETRYABLE_SQLSTATES


def translated(error: SQLAlchemyError) -> Exception:
    """The store's own error for a database's; one that only a programming error can cause stays what it is."""
    if isinstance(error, IntegrityError):
        what = _used_before(error)
        return error if what is None else AlreadyUsed(what)
    if isinstance(error, OperationalError | InterfaceError | InternalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    ):
        return StoreUnavailable(f"the hub's database cannot be used now: {reason_of(error)}")
    return error


def reason_of(error: SQLAlchemyError | sqlite3.Error) -> str:
    """The database's own words, one line, without a statement's parameters."""
    cause = str(getattr(error, "orig", None) or error).strip()
    return cause.splitlines()[0] if cause else type(error).__name__


def _used_before(error: IntegrityError) -> str | None:
    """The word for the violated uniqueness; None where another kind of constraint was violated."""
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None:
        name = diagnosis.constraint_name if diagnosis.sqlstate == "23505" else None
    else:
        _, is_unique, columns = str(error.orig).partition("UNIQUE constraint failed: ")
        name = _constraint_of_columns().get(columns) if is_unique else None
    return None if name is None else _WORDS.get(name, name)


def _constraint_of_columns() -> dict[str, str]:
    """SQLite names the columns of a violated constraint, not the constraint."""
    names: dict[str, str] = {}
    for table in METADATA.tables.values():
        uniques: list[UniqueConstraint | PrimaryKeyConstraint | Index] = [table.primary_key]
        uniques += [item for item in table.constraints if isinstance(item, UniqueConstraint)]
        uniques += [item for item in table.indexes if item.unique]
        for item in uniques:
            columns = ", ".join(f"{table.name}.{column.name}" for column in item.columns)
            names[columns] = str(item.name)
    return names
