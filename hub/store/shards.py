"""Shards: consecutive pictures of a job that wait, or that a provider makes.

waiting → leased → delivered → accepted; or refused, and waiting again; or cancelled with its job. What waits is cut
when a provider takes it (`hub.store.waiting`): the first pictures become its shard, the rest waits on as another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sqlalchemy import bindparam, select, update

from hub.store.records import Row, columns_of, made
from hub.store.statements import Prepared
from hub.store.tables.jobs import JOBS, SHARDS
from hub.store.transaction import Reader, Transaction

WAITING_TOPIC: Final = "shards"
"""Announced when there is a shard that waits."""


class ShardState(StrEnum):
    """How far a shard has come."""

    WAITING = "waiting"
    """Nobody has it."""
    LEASED = "leased"
    """A provider has it, perhaps a second one as well."""
    DELIVERED = "delivered"
    """Its result is there, and not judged yet."""
    ACCEPTED = "accepted"
    """Its result has passed every check that was made."""
    REFUSED = "refused"
    """Its result has not, and it shall not be made again."""
    CANCELLED = "cancelled"
    """Not wanted any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewShard:
    """Pictures that shall wait; `rank_s` is their place in the queue, lowest first, `rank_step_s` more for each later
    picture (`hub.scheduling.fairness`)."""

    number: int
    first_picture: int
    pictures: int
    rank_s: float = 0.0
    rank_step_s: float = 0.0
    excluded: list[str] = field(default_factory=list)
    """Addresses of providers that shall not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard(NewShard):
    """A shard as it is."""

    job_id: str
    state: ShardState
    attempts: int
    lease_id: str | None
    """Of the result that counts."""
    waiting_since_ms: int


_OF_JOB: Final = Prepared(
    select(*columns_of(SHARDS, Shard)).where(SHARDS.c.job_id == bindparam("the_job")).order_by(SHARDS.c.first_picture)
)


def shard_of(row: Row) -> Shard:
    """From a row with the columns of a shard."""
    return made(Shard, {**row, "state": ShardState(row["state"])})


def add(transaction: Transaction, job_id: str, waiting: Sequence[NewShard], now_ms: int) -> None:
    """Shards that wait from now on."""
    for shard in waiting:
        insert_row(transaction, job_id, shard, now_ms)
    if waiting:
        transaction.announce(WAITING_TOPIC)


def insert_row(
    transaction: Transaction,
    job_id: str,
    shard: NewShard,
    now_ms: int,
    *,
    state: ShardState = ShardState.WAITING,
    attempts: int = 0,
) -> None:
    """One shard."""
    transaction.insert(
        SHARDS,
        job_id=job_id,
        number=shard.number,
        first_picture=shard.first_picture,
        pictures=shard.pictures,
        excluded=shard.excluded,
        state=state,
        attempts=attempts,
        waiting_since_ms=now_ms,
        rank_s=shard.rank_s,
        rank_step_s=shard.rank_step_s,
    )


def next_number(transaction: Transaction, job_id: str, count: int = 1) -> int:
    """Draws `count` numbers for further shards of the job; the first of them."""
    query = (
        update(JOBS)
        .where(JOBS.c.job_id == job_id)
        .values(shard_count=JOBS.c.shard_count + count)
        .returning(JOBS.c.shard_count)
    )
    drawn: int = transaction.execute(query).scalar_one()
    return drawn - count


def of_job(reader: Reader, job_id: str) -> list[Shard]:
    """All of the job's, in the order of their pictures."""
    return [shard_of(row) for row in reader.execute(_OF_JOB, {"the_job": job_id}).mappings()]


_LOCKED: Final = Prepared(
    select(*columns_of(SHARDS, Shard))
    .where(SHARDS.c.job_id == bindparam("the_job"), SHARDS.c.number == bindparam("the_number"))
    .with_for_update()
)


def locked(transaction: Transaction, job_id: str, number: int) -> Shard | None:
    """One shard, for a change of it."""
    row = transaction.execute(_LOCKED, {"the_job": job_id, "the_number": number}).mappings().one_or_none()
    return None if row is None else shard_of(row)


_WAIT_AGAIN: Final = Prepared(
    update(SHARDS)
    .where(SHARDS.c.job_id == bindparam("the_job"), SHARDS.c.number == bindparam("the_number"))
    .values(
        state=bindparam("new_state"),
        lease_id=None,
        excluded=bindparam("without", type_=SHARDS.c.excluded.type),
        waiting_since_ms=bindparam("now"),
    )
)


def put_back(
    transaction: Transaction, shard: Shard, *, without: str | None, now_ms: int, state: ShardState = ShardState.WAITING
) -> None:
    """The shard waits again, and `without` shall not have it; it keeps its place in the queue. Where its job's client
    has cancelled, it is cancelled instead."""
    asked = transaction.execute(_CANCEL_REQUESTED, {"the_job": shard.job_id}).scalar_one()
    if asked is not None:
        state = ShardState.CANCELLED
    excluded = shard.excluded if without is None or without in shard.excluded else [*shard.excluded, without]
    transaction.execute(
        _WAIT_AGAIN,
        {
            "the_job": shard.job_id,
            "the_number": shard.number,
            "new_state": state,
            "without": excluded,
            "now": now_ms,
        },
    )
    if state == ShardState.WAITING:
        transaction.announce(WAITING_TOPIC)


_CANCEL_REQUESTED: Final = Prepared(select(JOBS.c.cancel_requested_at_ms).where(JOBS.c.job_id == bindparam("the_job")))
