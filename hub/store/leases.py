"""Leases: a provider's turns at shards, each with an end. What has lapsed waits again, unless a twin still runs."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import bindparam, or_, select, text, update

from hub.store import locks, shards
from hub.store.records import Row, columns_of, made
from hub.store.shards import ShardState
from hub.store.statements import Prepared
from hub.store.tables.jobs import LEASES, SHARDS
from hub.store.transaction import Reader, Transaction


class LeaseState(StrEnum):
    """How a turn has gone."""

    ACTIVE = "active"
    """The provider has it."""
    DELIVERED = "delivered"
    """Its result is the shard's."""
    SUPERSEDED = "superseded"
    """Another provider's result was there first."""
    FAILED = "failed"
    """The provider said no, or answered with what is no answer."""
    LAPSED = "lapsed"
    """Its time ran out; a late result is still taken while the shard has none."""
    LOST = "lost"
    """Stage 1's hub was stopped meanwhile."""


TOPIC: Final = "leases"
"""Announced when some have become needless."""
IS_ACTIVE: Final = text("leases.state = 'active'")
"""Spelled out, as the partial indexes are: a database would not use them for a parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLease:
    """Who shall have which pictures: the first `pictures` of the shard that waits from `first_picture` on."""

    lease_id: str
    """Random; also the receipt's nonce."""
    job_id: str
    first_picture: int
    pictures: int
    provider: str
    session: str
    deadline_ms: int
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A turn as it is."""

    sequence: int
    lease_id: str
    job_id: str
    number: int
    provider: str
    session: str
    process: str
    attempt: int
    pictures: int
    state: LeaseState
    outcome: str | None
    detail: str | None
    attributes: dict[str, Any]
    started_at_ms: int
    deadline_ms: int
    ended_at_ms: int | None


_LEASE: Final = select(*columns_of(LEASES, Lease))


def lease_of(row: Row) -> Lease:
    """From a row with the columns of a lease."""
    return made(Lease, {**row, "state": LeaseState(row["state"])})


_BY_ID: Final = Prepared(_LEASE.where(LEASES.c.lease_id == bindparam("the_lease")))
_OF_JOB: Final = Prepared(_LEASE.where(LEASES.c.job_id == bindparam("the_job")).order_by(LEASES.c.sequence))


def get(reader: Reader, lease_id: str) -> Lease | None:
    """The lease of this id."""
    row = reader.execute(_BY_ID, {"the_lease": lease_id}).mappings().one_or_none()
    return None if row is None else lease_of(row)


def of_job(reader: Reader, job_id: str) -> list[Lease]:
    """All turns at the job, in the order in which they began."""
    return [lease_of(row) for row in reader.execute(_OF_JOB, {"the_job": job_id}).mappings()]


def active(
    reader: Reader,
    *,
    provider: str | None = None,
    session: str | None = None,
    job_id: str | None = None,
    limit: int = 10_000,
) -> list[Lease]:
    """Turns under way: a provider's, a session's, a job's, or all."""
    query = _LEASE.where(IS_ACTIVE).order_by(LEASES.c.sequence).limit(limit)
    for column, value in ((LEASES.c.provider, provider), (LEASES.c.session, session), (LEASES.c.job_id, job_id)):
        if value is not None:
            query = query.where(column == value)
    return [lease_of(row) for row in reader.execute(query).mappings()]


def needless(reader: Reader, lease_ids: Collection[str]) -> list[str]:
    """Which of these nobody wants the result of: their shard has another's, or was called off."""
    query = (
        select(LEASES.c.lease_id)
        .join_from(LEASES, SHARDS, (LEASES.c.job_id == SHARDS.c.job_id) & (LEASES.c.number == SHARDS.c.number))
        .where(
            LEASES.c.lease_id.in_(lease_ids),
            or_(SHARDS.c.state == ShardState.CANCELLED, SHARDS.c.lease_id != LEASES.c.lease_id),
        )
    )
    return list(reader.execute(query).scalars())


def add_second(transaction: Transaction, lease: NewLease, *, number: int, process: str, now_ms: int) -> bool:
    """A straggler's twin: the same shard to another provider as well; False where it is not just leased, was cut
    otherwise meanwhile, or has a twin from another process."""
    shard = shards.locked(transaction, lease.job_id, number)
    if (
        shard is None
        or shard.state != ShardState.LEASED
        or (shard.first_picture, shard.pictures) != (lease.first_picture, lease.pictures)
    ):
        return False
    place = {"the_job": lease.job_id, "the_number": number}
    if len(transaction.execute(_ACTIVE_OF_SHARD, place).all()) != 1:
        return False
    insert_row(transaction, lease, number=number, attempt=shard.attempts + 1, process=process, now_ms=now_ms)
    transaction.flush()  # Whoever brings the shard's result at the same moment ends this lease, too.
    transaction.execute(
        update(SHARDS)
        .where(SHARDS.c.job_id == lease.job_id, SHARDS.c.number == number)
        .values(attempts=shard.attempts + 1)
    )
    return True


def insert_row(
    transaction: Transaction, lease: NewLease, *, number: int, attempt: int, process: str, now_ms: int
) -> None:
    """An active lease."""
    transaction.insert(
        LEASES,
        lease_id=lease.lease_id,
        job_id=lease.job_id,
        number=number,
        provider=lease.provider,
        session=lease.session,
        process=process,
        attempt=attempt,
        pictures=lease.pictures,
        state=LeaseState.ACTIVE,
        attributes=lease.attributes,
        started_at_ms=now_ms,
        deadline_ms=lease.deadline_ms,
    )


def rehome(transaction: Transaction, lease_id: str, *, session: str, process: str) -> bool:
    """The provider has come back with another session; False where the lease has ended."""
    moved = transaction.execute(
        update(LEASES).where(LEASES.c.lease_id == lease_id, IS_ACTIVE).values(session=session, process=process)
    )
    return moved.rowcount == 1


def fail(
    transaction: Transaction,
    lease_id: str,
    *,
    outcome: str,
    detail: str | None,
    excludes: bool = True,
    is_attempt: bool = True,
    now_ms: int,
) -> bool:
    """The turn ends without a result; its shard waits again, for others if it `excludes`. False where it had ended.

    `is_attempt`: whether it counts among those that the shard may have.
    """
    locks.hold_job_of_lease(transaction, lease_id)
    query = _LEASE.where(LEASES.c.lease_id == lease_id, IS_ACTIVE).with_for_update()
    ended = _end(transaction, query, LeaseState.FAILED, outcome, detail, excludes=excludes, now_ms=now_ms)
    if ended and not is_attempt:
        (lease,) = ended
        transaction.execute(
            update(SHARDS)
            .where(SHARDS.c.job_id == lease.job_id, SHARDS.c.number == lease.number, SHARDS.c.attempts > 0)
            .values(attempts=SHARDS.c.attempts - 1)
        )
    return bool(ended)


def lapse(transaction: Transaction, now_ms: int, *, limit: int = 256) -> list[Lease]:
    """Ends those whose time is up; their shards wait again, for others. Every process may do it for all."""
    due = _LEASE.where(IS_ACTIVE, LEASES.c.deadline_ms <= now_ms).order_by(LEASES.c.deadline_ms).limit(limit)
    found = [lease_of(row) for row in transaction.execute(due).mappings()]
    if not found:
        return []
    locks.hold_jobs(transaction, {lease.job_id for lease in found})
    names = [lease.sequence for lease in found]
    query = _LEASE.where(IS_ACTIVE, LEASES.c.sequence.in_(names)).with_for_update(skip_locked=True)
    return _end(transaction, query, LeaseState.LAPSED, "timed_out", None, excludes=True, now_ms=now_ms)


def _end(
    transaction: Transaction,
    query: Any,
    state: LeaseState,
    outcome: str,
    detail: str | None,
    *,
    excludes: bool,
    now_ms: int,
) -> list[Lease]:
    ended = [lease_of(row) for row in transaction.execute(query).mappings()]
    if not ended:
        return []
    transaction.execute(
        update(LEASES)
        .where(LEASES.c.sequence.in_([lease.sequence for lease in ended]))
        .values(state=state, outcome=outcome, detail=detail, ended_at_ms=now_ms)
    )
    _put_back(transaction, ended, excludes=excludes, now_ms=now_ms)
    return ended


def _put_back(transaction: Transaction, ended: Iterable[Lease], *, excludes: bool, now_ms: int) -> None:
    for lease in ended:
        shard = shards.locked(transaction, lease.job_id, lease.number)
        assert shard is not None
        twin = transaction.execute(_ACTIVE_OF_SHARD, {"the_job": lease.job_id, "the_number": lease.number}).first()
        if shard.state == ShardState.LEASED and twin is None:
            without = lease.provider if excludes else None
            shards.put_back(transaction, shard, without=without, now_ms=now_ms)


_ACTIVE_OF_SHARD: Final = Prepared(
    select(LEASES.c.sequence)
    .where(LEASES.c.job_id == bindparam("the_job"), LEASES.c.number == bindparam("the_number"), IS_ACTIVE)
    .limit(2)
)


def accepted_turns(reader: Reader, provider: str, *, since_ms: int, limit: int) -> list[Lease]:
    """Turns that this provider was given since then, and that are over: the newest first.

    Not those in which another was quicker: nobody knows how they would have ended.
    """
    query = (
        _LEASE.where(
            LEASES.c.provider == provider,
            LEASES.c.started_at_ms >= since_ms,
            LEASES.c.state.in_((LeaseState.DELIVERED, LeaseState.FAILED, LeaseState.LAPSED, LeaseState.LOST)),
        )
        .order_by(LEASES.c.sequence.desc())
        .limit(limit)
    )
    return [lease_of(row) for row in reader.execute(query).mappings()]
