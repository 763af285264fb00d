"""The durable outbox: every receipt from the moment it is signed until the chain has it for good.

A receipt goes signed → attested → submitted → final, or ends as refused with the reason; from submitted it can fall
back to attested when its transaction was lost, and a refused one is attested anew with a better attestation.
"""

import time
from typing import Any, Final, cast

from sqlalchemy import CursorResult, Select, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chain.primitives.types import Hash32
from provider.storage.database import Database
from provider.storage.rows import NewReceipt, ReceiptForm, ReceiptState, StoredReceipt
from provider.storage.tables import ReceiptRow

MAX_PAGE: Final = 200
_PRUNED_AT_ONCE: Final = 500
"""So that whoever has a picture to store never waits long for the clean-up."""


class DuplicateJobError(Exception):
    """A receipt for this (hub_id, job_id), or for this lease of a part of it, is in the outbox already."""


class Outbox:
    """Receipts, and everything that is ever asked of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Receipts

    def add(self, receipt: NewReceipt) -> None:
        """Stores a signed receipt; raises DuplicateJobError where its job has one, and StorageError."""
        with self._database.writing() as session:
            add_receipt(session, receipt)

    def get(self, receipt_hash: bytes) -> StoredReceipt | None:
        """The receipt of this hash."""
        return self._find(select(ReceiptRow).where(ReceiptRow.receipt_hash == receipt_hash))

    def of_job(self, hub_id: str, job_id: str) -> list[StoredReceipt]:
        """The receipts of this job: one, or several of its parts, in the order in which they were stored."""
        is_of_job = (ReceiptRow.hub_id == hub_id) & (ReceiptRow.job_id == job_id)
        return self._select(select(ReceiptRow).where(is_of_job).order_by(ReceiptRow.sequence).limit(MAX_PAGE))

    def page(self, key_name: str | None, *, before: int | None, limit: int) -> list[StoredReceipt]:
        """Receipts of the jobs that this API key (None: any) brought, newest first, older than sequence `before`."""
        query = select(ReceiptRow).order_by(ReceiptRow.sequence.desc()).limit(min(limit, MAX_PAGE))
        if key_name is not None:
            query = query.where(ReceiptRow.key_name == key_name)
        if before is not None:
            query = query.where(ReceiptRow.sequence < before)
        return self._select(query)

    def counts(self) -> dict[ReceiptState, int]:
        """How many receipts are in each state."""
        counts = dict.fromkeys(ReceiptState, 0)
        with self._database.reading() as session:
            for state, number in session.execute(select(ReceiptRow.state, func.count()).group_by(ReceiptRow.state)):
                counts[ReceiptState(state)] = number
        return counts

    # The way to the chain

    def accept_attestation(
        self,
        receipt_hash: bytes,
        attestation: bytes,
        *,
        form: ReceiptForm = ReceiptForm.MINT,
        settlement_json: str | None = None,
        not_before_ms: int = 0,
    ) -> ReceiptState:
        """Keeps a verified attestation and returns the state; nothing changes where one was accepted before.

        `not_before_ms` leaves the call to another provider of the same receipt until then.
        """
        with self._database.writing() as session:
            row = _existing(session, receipt_hash)
            if row.state in (ReceiptState.SIGNED, ReceiptState.REFUSED):
                row.state, row.attestation, row.reason = ReceiptState.ATTESTED.value, attestation, None
                row.form, row.settlement_json = form.value, settlement_json
                row.attempts, row.next_attempt_ms = 0, not_before_ms
                row.updated_ms = _now_ms()
            return ReceiptState(row.state)

    def due(self, now_ms: int, limit: int) -> list[StoredReceipt]:
        """Attested receipts whose waiting time is over, oldest first."""
        is_due = (ReceiptRow.state == ReceiptState.ATTESTED) & (ReceiptRow.next_attempt_ms <= now_ms)
        return self._select(select(ReceiptRow).where(is_due).order_by(ReceiptRow.sequence).limit(limit))

    def in_flight(self) -> list[StoredReceipt]:
        """Submitted receipts in the order of their nonces."""
        is_submitted = ReceiptRow.state == ReceiptState.SUBMITTED
        return self._select(select(ReceiptRow).where(is_submitted).order_by(ReceiptRow.transaction_nonce))

    def has_unsettled(self) -> bool:
        """Whether any receipt is on its way to the chain."""
        states = (ReceiptState.ATTESTED, ReceiptState.SUBMITTED)
        with self._database.reading() as session:
            return session.scalar(select(ReceiptRow.sequence).where(ReceiptRow.state.in_(states)).limit(1)) is not None

    def mark_submitted(self, receipt_hash: bytes, *, nonce: int, raw: bytes, transaction_hash: bytes) -> None:
        """Written before the transaction is sent, so that after a crash the same bytes are sent again."""
        self._update(
            receipt_hash,
            state=ReceiptState.SUBMITTED.value,
            transaction_nonce=nonce,
            transaction_raw=raw,
            transaction_hash=transaction_hash,
            reason=None,
        )

    def mark_waiting(self, receipt_hash: bytes, *, reason: str, next_attempt_ms: int) -> None:
        """Back to attested, to be tried again with a fresh transaction once the time has come."""
        self._update(
            receipt_hash,
            state=ReceiptState.ATTESTED.value,
            reason=reason,
            next_attempt_ms=next_attempt_ms,
            attempts=ReceiptRow.attempts + 1,
            transaction_nonce=None,
            transaction_raw=None,
            transaction_hash=None,
        )

    def mark_final(self, receipt_hash: bytes, *, transaction_hash: bytes | None, height: int | None) -> None:
        """The chain has the receipt in a final block."""
        self._update(
            receipt_hash,
            state=ReceiptState.FINAL.value,
            transaction_hash=transaction_hash,
            height=height,
            reason=None,
            transaction_raw=None,
        )

    def mark_refused(self, receipt_hash: bytes, *, reason: str) -> None:
        """It can never be minted as it stands."""
        self._update(
            receipt_hash,
            state=ReceiptState.REFUSED.value,
            reason=reason,
            transaction_nonce=None,
            transaction_raw=None,
        )

    # Retention

    def prune_final(self, before_ms: int) -> int:
        """Forgets receipts that became final before that time, and no others; how many they were."""
        old = (ReceiptRow.state == ReceiptState.FINAL) & (ReceiptRow.updated_ms < before_ms)
        pruned = 0
        while True:
            with self._database.writing() as session:
                chosen = select(ReceiptRow.sequence).where(old).limit(_PRUNED_AT_ONCE)
                removed = delete_rows(session, delete(ReceiptRow).where(ReceiptRow.sequence.in_(chosen)))
            pruned += removed
            if removed < _PRUNED_AT_ONCE:
                return pruned

    def _update(self, receipt_hash: bytes, **values: Any) -> None:
        statement = update(ReceiptRow).where(ReceiptRow.receipt_hash == receipt_hash)
        with self._database.writing() as session:
            session.execute(statement.values(updated_ms=_now_ms(), **values))

    def _find(self, query: Select[ReceiptRow]) -> StoredReceipt | None:
        found = self._select(query.limit(1))
        return found[0] if found else None

    def _select(self, query: Select[ReceiptRow]) -> list[StoredReceipt]:
        with self._database.reading() as session:
            return [_stored(row) for row in session.scalars(query)]


def add_receipt(session: Session, receipt: NewReceipt) -> None:
    """Stores a signed receipt within a transaction; raises DuplicateJobError."""
    now_ms = _now_ms()
    session.add(ReceiptRow(**vars(receipt), state=ReceiptState.SIGNED.value, created_ms=now_ms, updated_ms=now_ms))
    try:
        session.flush()
    except IntegrityError:
        raise DuplicateJobError(f"job {receipt.job_id} of hub {receipt.hub_id!r} has a receipt") from None


def delete_rows(session: Session, statement: Any) -> int:
    """Runs a DELETE; how many rows it removed."""
    return cast("CursorResult[Any]", session.execute(statement)).rowcount


def _existing(session: Session, receipt_hash: bytes) -> ReceiptRow:
    return session.scalars(select(ReceiptRow).where(ReceiptRow.receipt_hash == receipt_hash)).one()


def _stored(row: ReceiptRow) -> StoredReceipt:
    return StoredReceipt(
        sequence=row.sequence,
        receipt_hash=Hash32(row.receipt_hash),
        hub_id=row.hub_id,
        job_id=row.job_id,
        key_name=row.key_name,
        request_fingerprint=row.request_fingerprint,
        receipt_json=row.receipt_json,
        provider_signature=row.provider_signature,
        prompt_salt=row.prompt_salt,
        answer_json=row.answer_json,
        lease_id=row.lease_id,
        form=ReceiptForm(row.form),
        settlement_json=row.settlement_json,
        state=ReceiptState(row.state),
        attestation=row.attestation,
        transaction_hash=None if row.transaction_hash is None else Hash32(row.transaction_hash),
        transaction_raw=row.transaction_raw,
        transaction_nonce=row.transaction_nonce,
        height=row.height,
        reason=row.reason,
        attempts=row.attempts,
        next_attempt_ms=row.next_attempt_ms,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
