"""Jobs: accepted once, ended once.

queued → running → verifying → attested → done, or failed, or cancelled.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sqlalchemy import Text, and_, bindparam, cast, exists, func, or_, select, update

from hub.store import events, leases, shards
from hub.store.records import Row, columns_of, made
from hub.store.shards import NewShard, ShardState
from hub.store.statements import Prepared
from hub.store.tables.jobs import CLIENT_NONCES, IDEMPOTENCY_KEYS, JOBS, LEASES, SHARDS
from hub.store.tables.providers import CHECKS
from hub.store.tables.receipts import RECEIPTS
from hub.store.transaction import Reader, Transaction


class JobState(StrEnum):
    """How far a job has come."""

    QUEUED = "queued"
    """No provider has any of it."""
    RUNNING = "running"
    """Providers work on it, or have."""
    VERIFYING = "verifying"
    """Every picture is there; checks of them are under way."""
    ATTESTED = "attested"
    """Its receipt is signed; what is left is to pay for it."""
    DONE = "done"
    """Ended as asked."""
    FAILED = "failed"
    """Ended without all that was asked."""
    CANCELLED = "cancelled"
    """Ended by its client, perhaps with some pictures."""


ENDED: Final = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})
OPEN: Final = frozenset(JobState) - ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job as it is accepted. Amounts in atoms."""

    job_id: str
    owner: str
    """Name of the API key that brought it."""
    client: str
    """As in the receipt: the key's name, or the address that signed the request."""
    fingerprint: str
    prompts: list[str] | None
    """Erased as soon as the job has ended: nobody needs them any more."""
    request: dict[str, Any]
    """The other fields of the request, as the client gave them."""
    images: int
    seed: int
    """Of the first picture."""
    request_salt: str
    request_hash: str
    client_signature: str | None = None
    model: str | None = None
    priority: int = 0
    min_vram_mib: int = 0
    max_price_per_unit: int | None = None
    max_price: int | None = None
    price_per_unit: int | None = None
    """The one price of all its shards."""
    deadline_ms: int | None = None
    is_paid: bool = False
    finish_s: float | None = None
    """Where its client's next job queues up (`hub.scheduling.fairness`)."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else is known of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(NewJob):
    """A job as it is."""

    sequence: int
    state: JobState
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    failure_reason: str | None
    failure_detail: str | None
    cancel_requested_at_ms: int | None
    pictures_done: int
    event_count: int
    shard_count: int


@dataclass(frozen=True, slots=True)
class ClientNonce:
    """A nonce that a signed request uses up; `expiry_s` in Unix seconds, as signed."""

    client: str
    nonce: str
    expiry_s: int


_NEW_JOB_FIELDS: Final = tuple(item.name for item in fields(NewJob))
_JOB: Final = select(*columns_of(JOBS, Job))


def job_of(row: Row) -> Job:
    """From a row with the columns of a job."""
    return made(Job, {**row, "state": JobState(row["state"])})


def add(
    transaction: Transaction,
    job: NewJob,
    waiting: Sequence[NewShard],
    *,
    idempotency_key: str | None = None,
    nonce: ClientNonce | None = None,
    now_ms: int,
) -> None:
    """Keeps a job with the shards that wait, and its first event; all or nothing.

    The caller of `Store.write` has AlreadyUsed where idempotency key, nonce, signed request or job id was used before.
    """
    columns = {name: getattr(job, name) for name in _NEW_JOB_FIELDS}
    transaction.insert(
        JOBS,
        **columns,
        state=JobState.QUEUED,
        created_at_ms=now_ms,
        event_count=1,
        shard_count=1 + max((shard.number for shard in waiting), default=-1),
    )
    events.keep(transaction, job.job_id, 1, JobState.QUEUED, {}, now_ms)
    shards.add(transaction, job.job_id, waiting, now_ms)
    if idempotency_key is not None:
        transaction.insert(
            IDEMPOTENCY_KEYS,
            owner=job.owner,
            key=idempotency_key,
            fingerprint=job.fingerprint,
            job_id=job.job_id,
            created_at_ms=now_ms,
        )
    if nonce is not None:
        transaction.insert(CLIENT_NONCES, client=nonce.client, nonce=nonce.nonce, expiry=nonce.expiry_s)


_BY_ID: Final = Prepared(_JOB.where(JOBS.c.job_id == bindparam("the_job")))
_KEY: Final = Prepared(
    select(IDEMPOTENCY_KEYS.c.fingerprint, IDEMPOTENCY_KEYS.c.job_id).where(
        IDEMPOTENCY_KEYS.c.owner == bindparam("the_owner"), IDEMPOTENCY_KEYS.c.key == bindparam("the_key")
    )
)


def get(reader: Reader, job_id: str) -> Job | None:
    """The job as it is."""
    row = reader.execute(_BY_ID, {"the_job": job_id}).mappings().one_or_none()
    return None if row is None else job_of(row)


_PROGRESS: Final = Prepared(
    select(JOBS.c.ended_at_ms, JOBS.c.pictures_done).where(JOBS.c.job_id == bindparam("the_job"))
)


def progress(reader: Reader, job_id: str) -> tuple[bool, int]:
    """Whether it has ended (or is not there), and how many of its pictures are."""
    row = reader.execute(_PROGRESS, {"the_job": job_id}).one_or_none()
    return (True, 0) if row is None else (row.ended_at_ms is not None, row.pictures_done)


def of_idempotency_key(reader: Reader, owner: str, key: str) -> tuple[str, str] | None:
    """Fingerprint and job id of this owner's earlier request with the same key."""
    row = reader.execute(_KEY, {"the_owner": owner, "the_key": key}).one_or_none()
    return None if row is None else (row.fingerprint, row.job_id)


def is_nonce_used(reader: Reader, client: str, nonce: str) -> bool:
    """Whether a signed request of this client has used it up."""
    query = select(CLIENT_NONCES.c.nonce).where(CLIENT_NONCES.c.client == client, CLIENT_NONCES.c.nonce == nonce)
    return reader.execute(query).first() is not None


def of_owner(reader: Reader, owner: str, *, before: int | None = None, limit: int) -> list[Job]:
    """Newest first, those with a sequence number below `before`."""
    query = _JOB.where(JOBS.c.owner == owner).order_by(JOBS.c.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(JOBS.c.sequence < before)
    return [job_of(row) for row in reader.execute(query).mappings()]


def newest_request(reader: Reader, model: str, *, but_of: str) -> dict[str, Any] | None:
    """What was asked for last with this model, by others than this owner."""
    query = (
        select(JOBS.c.request)
        .where(JOBS.c.model == model, JOBS.c.owner != but_of)
        .order_by(JOBS.c.sequence.desc())
        .limit(1)
    )
    found: dict[str, Any] | None = reader.execute(query).scalar_one_or_none()
    return found


def providers_of(reader: Reader, job_id: str) -> list[str]:
    """Whoever was given any of it."""
    query = select(LEASES.c.provider).where(LEASES.c.job_id == job_id).distinct()
    return list(reader.execute(query).scalars())


_OF_JOB: Final = SHARDS.c.job_id == JOBS.c.job_id
_IS_UNDER_WAY: Final = exists().where(_OF_JOB, SHARDS.c.state.in_((ShardState.WAITING, ShardState.LEASED)))
_HAS_FAILED: Final = exists().where(
    _OF_JOB, SHARDS.c.state == ShardState.WAITING, or_(SHARDS.c.attempts > 0, cast(SHARDS.c.excluded, Text) != "[]")
)
_IS_CHECKED: Final = exists().where(CHECKS.c.job_id == JOBS.c.job_id, CHECKS.c.verdict.is_(None))
_TO_ATTEND: Final = Prepared(
    select(JOBS.c.job_id)
    .where(
        JOBS.c.ended_at_ms.is_(None),
        JOBS.c.state.in_((JobState.QUEUED, JobState.RUNNING, JobState.VERIFYING)),
        ~exists().where(RECEIPTS.c.job_id == JOBS.c.job_id),
        or_(
            JOBS.c.cancel_requested_at_ms.is_not(None),
            JOBS.c.deadline_ms <= bindparam("now"),
            and_(
                JOBS.c.state != JobState.QUEUED,
                or_(_HAS_FAILED, and_(~_IS_UNDER_WAY, or_(JOBS.c.state == JobState.RUNNING, ~_IS_CHECKED))),
            ),
        ),
    )
    .order_by(JOBS.c.sequence)
    .limit(bindparam("most"))
)


def to_attend(reader: Reader, now_ms: int, *, limit: int) -> list[str]:
    """Open jobs without a receipt that may have something to be done for: cancelled or late ones, those of which
    somebody has failed at a part, and those of which all is there and nothing is being checked. Oldest first."""
    return list(reader.execute(_TO_ATTEND, {"now": now_ms, "most": limit}).scalars())


def open_counts(reader: Reader) -> dict[JobState, int]:
    """How many jobs are in each state that is no end."""
    query = select(JOBS.c.state, func.count()).where(JOBS.c.ended_at_ms.is_(None)).group_by(JOBS.c.state)
    return {JobState(state): count for state, count in reader.execute(query)}


def last_finish_s(reader: Reader, owner: str) -> float | None:
    """The largest `finish_s` of the key's open jobs."""
    query = select(func.max(JOBS.c.finish_s)).where(JOBS.c.owner == owner, JOBS.c.ended_at_ms.is_(None))
    latest: float | None = reader.execute(query).scalar()
    return latest


_MOVE: Final = (
    update(JOBS)
    .where(JOBS.c.job_id == bindparam("the_job"), JOBS.c.ended_at_ms.is_(None))
    .values(state=bindparam("to_state"), event_count=JOBS.c.event_count + 1)
    .returning(JOBS.c.event_count)
)


@cache
def _move_from(states: frozenset[JobState]) -> Prepared:
    return Prepared(_MOVE.where(JOBS.c.state.in_(sorted(states))))


def set_state(
    transaction: Transaction, job_id: str, state: JobState, *, only_from: Collection[JobState], now_ms: int
) -> bool:
    """Moves an open job on and appends the event of that name; False where it was in another state."""
    assert state not in ENDED
    step = {"the_job": job_id, "to_state": state}
    sequence = transaction.execute(_move_from(frozenset(only_from)), step).scalar_one_or_none()
    if sequence is not None:
        events.keep(transaction, job_id, sequence, state, {}, now_ms)
        if state == JobState.VERIFYING:
            transaction.announce("attestation")
    return sequence is not None


_END: Final = Prepared(
    update(JOBS)
    .where(JOBS.c.job_id == bindparam("the_job"), JOBS.c.ended_at_ms.is_(None))
    .values(
        state=bindparam("to_state"),
        prompts=None,
        ended_at_ms=bindparam("now"),
        failure_reason=bindparam("reason"),
        failure_detail=bindparam("detail"),
        event_count=JOBS.c.event_count + 1,
    )
    .returning(JOBS.c.event_count, JOBS.c.pictures_done)
)
_CANCEL_SHARDS: Final = Prepared(
    update(SHARDS)
    .where(
        SHARDS.c.job_id == bindparam("the_job"),
        SHARDS.c.state.in_((ShardState.WAITING, ShardState.LEASED)),
    )
    .values(state=ShardState.CANCELLED)
)


def end(
    transaction: Transaction,
    job_id: str,
    state: JobState,
    *,
    reason: str | None = None,
    detail: str | None = None,
    now_ms: int,
) -> bool:
    """Ends a job for good, erases its prompts, takes back what waits or is leased, and appends the event of that name.

    False where it had ended already: of two ends the first counts.
    """
    assert state in ENDED
    step = {"the_job": job_id, "to_state": state, "now": now_ms, "reason": reason, "detail": detail}
    row = transaction.execute(_END, step).one_or_none()
    if row is None:
        return False
    if transaction.execute(_CANCEL_SHARDS, {"the_job": job_id}).rowcount:
        transaction.announce(leases.TOPIC)
    data: dict[str, Any] = {"pictures_done": row.pictures_done}
    if reason is not None:
        data["reason"] = reason
    events.keep(transaction, job_id, row.event_count, state, data, now_ms)
    transaction.announce(events.end_topic(job_id))
    transaction.erases()
    return True


def request_cancel(transaction: Transaction, job_id: str, now_ms: int) -> Job | None:
    """Notes that the client wants no more of it, and takes back what waits; the job as it is then. Again is the same.

    What is leased goes on until whoever attends the job has called it off and ends the job.
    """
    asked = transaction.execute(
        update(JOBS)
        .where(JOBS.c.job_id == job_id, JOBS.c.ended_at_ms.is_(None), JOBS.c.cancel_requested_at_ms.is_(None))
        .values(cancel_requested_at_ms=now_ms)
    )
    if asked.rowcount:
        transaction.execute(
            update(SHARDS)
            .where(SHARDS.c.job_id == job_id, SHARDS.c.state == ShardState.WAITING)
            .values(state=ShardState.CANCELLED)
        )
        events.append(transaction, job_id, "cancel_requested", {}, now_ms)
        transaction.announce("cancel")
    return get(transaction, job_id)


def call_off(transaction: Transaction, job_id: str, outcome: str, now_ms: int) -> list["leases.Lease"]:
    """Takes back what waits or is leased of an open job that shall end with what was delivered; the ended leases."""
    transaction.execute(_CANCEL_SHARDS, {"the_job": job_id})
    transaction.announce(leases.TOPIC)
    ended = leases.active(transaction, job_id=job_id)
    for lease in ended:
        leases.fail(transaction, lease.lease_id, outcome=outcome, detail=None, excludes=False, now_ms=now_ms)
    return ended


def keep_facts(transaction: Transaction, job_id: str, **facts: Any) -> None:
    """Adds to what is known of the job; a fact of the same name is replaced, and by None forgotten."""
    query = select(JOBS.c.facts).where(JOBS.c.job_id == job_id).with_for_update()
    known = transaction.execute(query).scalar_one()
    transaction.execute(update(JOBS).where(JOBS.c.job_id == job_id).values(facts=_without_none({**known, **facts})))


def _without_none(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact is not None}
