"""The durable log of jobs: accepted once, ended once, together with the receipt where there is one.

A row is committed before the job is queued, so that after a crash it is known what was under way: the next start
calls those jobs interrupted. A request that comes again, by its Idempotency-Key or as the same job of a hub, finds the
job that it became; one that came to nothing may be tried again. So may a request that its client has signed: its nonce
is spent by the job that it became, and while that has come to nothing, the same request of the same API key, and no
other, takes the nonce over. There is never more than one receipt for a nonce, since a job that has ended without one
can get none any more.
"""

import hashlib
import secrets
import time
from typing import Final

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from chain.primitives.types import Hash32
from provider.errors import ProviderError
from provider.storage.database import Database
from provider.storage.outbox import MAX_PAGE, add_receipt, delete_rows
from provider.storage.rows import (
    Acceptance,
    ClientNonce,
    FinishedJob,
    JobRecord,
    JobState,
    JobStatistics,
    NewJob,
    NewReceipt,
)
from provider.storage.tables import ClientNonceRow, JobCounterRow, JobRow, ReceiptRow

_SALT_BYTES: Final = 16
_PRUNED_AT_ONCE: Final = 500
_MAX_REASON_CHARACTERS: Final = 64
_CLOCK_MARGIN_S: Final = 3600
"""A clock that is set back makes an expired request good again."""

_UNDER_WAY: Final = (JobState.QUEUED.value, JobState.RUNNING.value)
_ALIVE: Final = (*_UNDER_WAY, JobState.DONE.value)

_EXIT_CODES: Final = {JobState.DONE: 0, JobState.FAILED: 1, JobState.CANCELLED: 130, JobState.INTERRUPTED: 137}
_TIMED_OUT: Final = 124


class JobConflict(ProviderError):
    """The request stands against an earlier one.

    `reason` is `idempotency_mismatch` (the same key with another body), `duplicate_job` (another request, or another
    key's, under the same hub's job id) or `nonce_used` (a client's signed request that was used before).
    """

    reason = "duplicate_job"


class JobNotUnderWay(ProviderError):
    """The job was ended before, or there is none of this id."""

    reason = "job_not_under_way"


class JobLog:
    """Jobs, and everything that is ever asked of them."""

    def __init__(self, database: Database) -> None:
        """Calls interrupted what an earlier process left under way."""
        self._database = database
        if not database.is_read_only:
            self._interrupt_leftovers()

    # One job's life

    def accept(self, new: NewJob, now_s: float) -> Acceptance:
        """The job with an id of its own (`2025-09-26-000123`), or the one that the same request became before.

        Raises JobConflict and StorageError.
        """
        with self._database.writing() as session:
            earlier = _find_earlier(session, new)
            if earlier is not None:
                return Acceptance(_with_answer(session, earlier), is_new=False)
            job_id = _next_job_id(session, now_s)
            _spend_nonce(session, new, job_id)
            salt = secrets.token_bytes(_SALT_BYTES)
            row = JobRow(
                job_id=job_id,
                hub_id=new.hub_id,
                hub_job_id=new.hub_job_id,
                lease_id=new.lease_id,
                key_name=new.key_name,
                way_in=new.way_in,
                model=new.model,
                pictures=new.pictures,
                idempotency_key=new.idempotency_key,
                fingerprint_salt=salt,
                fingerprint=_fingerprint(salt, new.request_body),
                state=JobState.QUEUED.value,
                created_ms=_now_ms(),
            )
            session.add(row)
            session.flush()
            return Acceptance(_record(row, None), is_new=True)

    def find_repeat(self, new: NewJob) -> JobRecord | None:
        """The job that `accept` would answer with instead of a new one; raises JobConflict as it would."""
        with self._database.reading() as session:
            earlier = _find_earlier(session, new)
            return None if earlier is None else _with_answer(session, earlier)

    def discard(self, job_id: str) -> None:
        """Forgets a job that never got a place in the queue, and lets its client's nonce be used again."""
        with self._database.writing() as session:
            session.execute(delete(JobRow).where(JobRow.job_id == job_id, JobRow.state == JobState.QUEUED))
            session.execute(delete(ClientNonceRow).where(ClientNonceRow.job_id == job_id))

    def mark_running(self, job_id: str) -> None:
        """The engine has begun; a job that has ended meanwhile stays as it is."""
        statement = update(JobRow).where(JobRow.job_id == job_id, JobRow.state == JobState.QUEUED)
        with self._database.writing() as session:
            session.execute(statement.values(state=JobState.RUNNING.value, started_ms=_now_ms()))

    def fail(
        self,
        job_id: str,
        *,
        reason: str,
        state: JobState = JobState.FAILED,
        duration_ms: int = 0,
        compute_microseconds: int = 0,
        prompt_hash: str | None = None,
    ) -> JobRecord:
        """Ends a job without a receipt, as failed or cancelled; raises JobNotUnderWay."""
        with self._database.writing() as session:
            row = _under_way(session, job_id)
            row.state, row.reason, row.ended_ms = state.value, reason[:_MAX_REASON_CHARACTERS], _now_ms()
            row.exit_code = exit_code_of(state, reason)
            row.duration_ms, row.compute_microseconds = duration_ms, compute_microseconds
            row.prompt_hash = prompt_hash
            return _record(row, None)

    def finish_with_receipt(self, job_id: str, finished: FinishedJob, receipt: NewReceipt) -> JobRecord:
        """Receipt, answer and the job's end, all three or none.

        Raises DuplicateJobError where the hub's job has a receipt, JobNotUnderWay, and StorageError.
        """
        with self._database.writing() as session:
            row = _under_way(session, job_id)
            add_receipt(session, receipt)
            row.state, row.ended_ms, row.exit_code = JobState.DONE.value, _now_ms(), _EXIT_CODES[JobState.DONE]
            row.duration_ms, row.compute_microseconds = finished.duration_ms, finished.compute_microseconds
            row.bytes_out, row.prompt_hash = finished.bytes_out, finished.prompt_hash
            row.receipt_hash, row.artifacts = receipt.receipt_hash, " ".join(finished.artifacts)
            return _record(row, receipt.answer_json)

    # Looking

    def of_lease(self, key_name: str, lease_id: str) -> JobRecord | None:
        """The job that was done under this lease of this hub."""
        is_it = (JobRow.key_name == key_name) & (JobRow.lease_id == lease_id) & (JobRow.state == JobState.DONE)
        with self._database.reading() as session:
            row = session.scalar(select(JobRow).where(is_it).order_by(JobRow.sequence.desc()).limit(1))
            return None if row is None else _with_answer(session, row)

    def get(self, job_id: str) -> JobRecord | None:
        """The job with this id."""
        with self._database.reading() as session:
            row = session.scalar(select(JobRow).where(JobRow.job_id == job_id))
            return None if row is None else _with_answer(session, row)

    def page(
        self, key_name: str | None, *, before: int | None, limit: int, states: tuple[JobState, ...] = ()
    ) -> list[JobRecord]:
        """Jobs of this API key (None: any), newest first, older than sequence `before`; without their answers."""
        query = select(JobRow).order_by(JobRow.sequence.desc()).limit(min(limit, MAX_PAGE))
        if key_name is not None:
            query = query.where(JobRow.key_name == key_name)
        if before is not None:
            query = query.where(JobRow.sequence < before)
        if states:
            query = query.where(JobRow.state.in_([state.value for state in states]))
        with self._database.reading() as session:
            return [_record(row, None) for row in session.scalars(query)]

    def pictures_since(self, key_name: str, since_ms: int) -> int:
        """Pictures of this API key's jobs since then that were made, or may still be."""
        is_counted = (JobRow.key_name == key_name) & (JobRow.created_ms >= since_ms) & JobRow.state.in_(_ALIVE)
        with self._database.reading() as session:
            return session.scalar(select(func.coalesce(func.sum(JobRow.pictures), 0)).where(is_counted)) or 0

    def statistics(self, since_ms: int) -> JobStatistics:
        """Sums over the jobs that ended since then, and those under way."""
        is_counted: ColumnElement[bool] = (JobRow.ended_ms >= since_ms) | JobRow.ended_ms.is_(None)
        by_state = dict.fromkeys(JobState, 0)
        with self._database.reading() as session:
            for state, number in session.execute(
                select(JobRow.state, func.count()).where(is_counted).group_by(JobRow.state)
            ):
                by_state[JobState(state)] = number
            is_done = (JobRow.ended_ms >= since_ms) & (JobRow.state == JobState.DONE)
            totals = select(
                func.coalesce(func.sum(JobRow.pictures), 0),
                func.coalesce(func.sum(JobRow.compute_microseconds), 0),
                func.coalesce(func.sum(JobRow.bytes_out), 0),
            )
            pictures, compute_microseconds, bytes_out = session.execute(totals.where(is_done)).one()
            return JobStatistics(
                by_state=by_state,
                pictures=pictures,
                compute_microseconds=compute_microseconds,
                bytes_out=bytes_out,
                p50_ms=_quantile_ms(session, is_done, by_state[JobState.DONE], 0.50),
                p95_ms=_quantile_ms(session, is_done, by_state[JobState.DONE], 0.95),
            )

    # Retention

    def prune(self, before_ms: int) -> int:
        """Forgets jobs that ended before that time, never one under way; how many they were."""
        pruned = 0
        while True:
            with self._database.writing() as session:
                chosen = select(JobRow.sequence).where(JobRow.ended_ms < before_ms).limit(_PRUNED_AT_ONCE)
                removed = delete_rows(session, delete(JobRow).where(JobRow.sequence.in_(chosen)))
            pruned += removed
            if removed < _PRUNED_AT_ONCE:
                return pruned

    def prune_nonces(self, now_s: float) -> int:
        """Forgets nonces of requests that expired, and so can never be sent again; how many they were."""
        before_s = int(now_s) - _CLOCK_MARGIN_S
        with self._database.writing() as session:
            return delete_rows(session, delete(ClientNonceRow).where(ClientNonceRow.expires_at_s < before_s))

    def _interrupt_leftovers(self) -> None:
        statement = update(JobRow).where(JobRow.state.in_(_UNDER_WAY))
        with self._database.writing() as session:
            session.execute(
                statement.values(
                    state=JobState.INTERRUPTED.value,
                    reason="interrupted",
                    exit_code=_EXIT_CODES[JobState.INTERRUPTED],
                    ended_ms=_now_ms(),
                )
            )


def exit_code_of(state: JobState, reason: str | None) -> int:
    """What a shell would have said: 0 done, 1 failed, 124 timed out, 130 cancelled, 137 interrupted."""
    if reason == "generation_timed_out":
        return _TIMED_OUT
    return _EXIT_CODES[state]


def _find_earlier(session: Session, new: NewJob) -> JobRow | None:
    """What the same request became before, unless that came to nothing; raises JobConflict."""
    if new.idempotency_key is not None:
        same_key = (JobRow.key_name == new.key_name) & (JobRow.idempotency_key == new.idempotency_key)
        row = session.scalar(select(JobRow).where(same_key, JobRow.state.in_(_ALIVE)))
        if row is not None:
            if not _is_same_request(row, new):
                message = "this Idempotency-Key came before, with another request"
                raise JobConflict(message, reason="idempotency_mismatch")
            return row
    if new.hub_job_id is None:
        return None
    same_job = (JobRow.hub_id == new.hub_id) & (JobRow.hub_job_id == new.hub_job_id) & (JobRow.lease_id == new.lease_id)
    row = session.scalar(select(JobRow).where(same_job, JobRow.state.in_(_ALIVE)))
    if row is not None and row.key_name == new.key_name and _is_same_request(row, new):
        return row
    is_of_job = (ReceiptRow.hub_id == new.hub_id) & (ReceiptRow.job_id == new.hub_job_id)
    has_receipt = is_of_job & (ReceiptRow.lease_id == new.lease_id)
    # A receipt may outlive the log's row; there is never a second one for its job.
    if row is not None or session.scalar(select(ReceiptRow.sequence).where(has_receipt)) is not None:
        raise JobConflict("this hub_id and job_id stand for another request")
    return None


def _is_same_request(row: JobRow, new: NewJob) -> bool:
    return row.fingerprint == _fingerprint(row.fingerprint_salt, new.request_body)


def _fingerprint(salt: bytes, request_body: bytes) -> bytes:
    return hashlib.sha256(salt + request_body).digest()


def _next_job_id(session: Session, now_s: float) -> str:
    """UTC date and a counter, never given out twice."""
    day = time.strftime("%Y-%m-%d", time.gmtime(now_s))
    statement = insert(JobCounterRow).values(day=day, last=1)
    counted = statement.on_conflict_do_update(index_elements=["day"], set_={"last": JobCounterRow.last + 1})
    last = session.scalars(counted.returning(JobCounterRow.last)).one()
    return f"{day}-{last:06d}"


def _spend_nonce(session: Session, new: NewJob, job_id: str) -> None:
    spent = new.client_nonce
    if spent is None:
        return
    values = {"client": spent.client, "nonce": spent.nonce, "expires_at_s": spent.expires_at_s, "job_id": job_id}
    added = session.execute(
        insert(ClientNonceRow).values(values).on_conflict_do_nothing().returning(ClientNonceRow.nonce)
    )
    if added.first() is None:
        _take_nonce_over(session, new, spent, job_id)


def _take_nonce_over(session: Session, new: NewJob, spent: ClientNonce, job_id: str) -> None:
    """Raises JobConflict, unless the very same request has spent the nonce on a job that came to nothing."""
    row = session.get_one(ClientNonceRow, (spent.client, spent.nonce))
    earlier = session.scalar(select(JobRow).where(JobRow.job_id == row.job_id))
    came_to_nothing = earlier is not None and earlier.state not in _ALIVE and earlier.key_name == new.key_name
    if earlier is None or not came_to_nothing or not _is_same_request(earlier, new):
        raise JobConflict("this signed request was used before; sign another with a new nonce", reason="nonce_used")
    row.job_id = job_id


def _under_way(session: Session, job_id: str) -> JobRow:
    row = session.scalar(select(JobRow).where(JobRow.job_id == job_id))
    if row is None or row.state not in _UNDER_WAY:
        raise JobNotUnderWay(f"job {job_id} is not under way any more")
    return row


def _with_answer(session: Session, row: JobRow) -> JobRecord:
    answer = select(ReceiptRow.answer_json).where(ReceiptRow.receipt_hash == row.receipt_hash)
    return _record(row, None if row.receipt_hash is None else session.scalar(answer))


def _record(row: JobRow, answer_json: str | None) -> JobRecord:
    return JobRecord(
        sequence=row.sequence,
        job_id=row.job_id,
        hub_id=row.hub_id,
        hub_job_id=row.hub_job_id,
        key_name=row.key_name,
        way_in=row.way_in,
        model=row.model,
        pictures=row.pictures,
        idempotency_key=row.idempotency_key,
        state=JobState(row.state),
        created_ms=row.created_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
        duration_ms=row.duration_ms,
        compute_microseconds=row.compute_microseconds,
        bytes_out=row.bytes_out,
        prompt_hash=row.prompt_hash,
        exit_code=row.exit_code,
        reason=row.reason,
        receipt_hash=None if row.receipt_hash is None else Hash32(row.receipt_hash),
        artifacts=tuple(row.artifacts.split()),
        answer_json=answer_json,
    )


def _quantile_ms(session: Session, is_done: ColumnElement[bool], count: int, share: float) -> int | None:
    """The duration that this share of the answered jobs did not exceed."""
    rank = max(0, -int(-share * count // 1) - 1)
    query = select(JobRow.duration_ms).where(is_done).order_by(JobRow.duration_ms).offset(rank).limit(1)
    return session.scalar(query)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
