"""The queue: what waits, lowest rank first; and taking from it, cutting a shard where a provider takes only a part.

On PostgreSQL several processes take at once: each locks the rows that it looks at and skips those that others hold.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from sqlalchemy import bindparam, func, or_, select, text, tuple_, update

from hub.store import events, leases, locks, shards
from hub.store.jobs import Job, JobState, job_of
from hub.store.leases import NewLease
from hub.store.records import columns_of
from hub.store.shards import Shard, ShardState, shard_of
from hub.store.statements import Prepared
from hub.store.tables.jobs import JOBS, SHARDS
from hub.store.transaction import Reader, Transaction

IS_WAITING: Final = text("shards.state = 'waiting'")
"""Spelled out, as the partial index is: a database would not use it for a parameter."""

_SHARD_COLUMNS: Final = columns_of(SHARDS, Shard)
_SHARD_NAMES: Final = tuple(field.name for field in fields(Shard))
_JOB_COLUMNS: Final = tuple(column.label(f"job_of_{column.key}") for column in columns_of(JOBS, Job))
_JOB_NAMES: Final = tuple(field.name for field in fields(Job))


@dataclass(frozen=True, slots=True)
class WaitingShard:
    """A shard that waits, and its job."""

    shard: Shard
    job: Job


@dataclass(frozen=True, slots=True)
class Taken:
    """A lease that was given, and the shard that it is for."""

    lease: NewLease
    shard: Shard


_WAITING: Final = (
    select(*_SHARD_COLUMNS, *_JOB_COLUMNS)
    .join_from(SHARDS, JOBS, SHARDS.c.job_id == JOBS.c.job_id)
    .where(IS_WAITING)
    .order_by(SHARDS.c.rank_s, SHARDS.c.job_id, SHARDS.c.number)
)
_PAGE: Final = _WAITING.limit(bindparam("most")).offset(bindparam("from_place"))
_PAGE_FOR: Final = _PAGE.where(or_(JOBS.c.model.is_(None), JOBS.c.model.in_(bindparam("models", expanding=True))))
_COUNTS: Final = Prepared(select(func.count(), func.coalesce(func.sum(SHARDS.c.pictures), 0)).where(IS_WAITING))


def _waiting_of(row: Any) -> WaitingShard:
    shard = {name: row[name] for name in _SHARD_NAMES}
    job = {name: row[f"job_of_{name}"] for name in _JOB_NAMES}
    return WaitingShard(shard_of(shard), job_of(job))


def look(
    reader: Reader, *, limit: int = 256, offset: int = 0, models: Collection[str] | None = None
) -> list[WaitingShard]:
    """What waits, in its order; with `models`, only what they could serve. Taken by nobody yet."""
    page = {"most": limit, "from_place": offset}
    if models is None:
        rows = reader.execute(_PAGE, page)
    else:
        rows = reader.execute(_PAGE_FOR, {**page, "models": sorted(models)})
    return [_waiting_of(row) for row in rows.mappings()]


def counts(reader: Reader) -> tuple[int, int]:
    """Shards and pictures that wait."""
    row = reader.execute(_COUNTS).one()
    return int(row[0]), int(row[1])


_OF_JOBS: Final = (
    select(*_SHARD_COLUMNS)
    .where(IS_WAITING, SHARDS.c.job_id.in_(bindparam("the_jobs", expanding=True)))
    .with_for_update(skip_locked=True)
)


def take(transaction: Transaction, wanted: Sequence[NewLease], *, process: str, now_ms: int) -> list[Taken | None]:
    """Leases these, in their order; None for each whose pictures do not wait any more, or whose job another process is
    at: two that look at the same moment would else wait for one another's commits, and the second always for nothing.

    A shard may be cut several times: each next lease of it begins where the one before it ends.
    """
    if not wanted:
        return []
    names = locks.hold_free_jobs(transaction, sorted({lease.job_id for lease in wanted}))
    rows = transaction.execute(_OF_JOBS, {"the_jobs": names}).mappings()
    return _lease(transaction, [shard_of(row) for row in rows], wanted, process=process, now_ms=now_ms)


def _lease(
    transaction: Transaction, waiting: Iterable[Shard], wanted: Sequence[NewLease], *, process: str, now_ms: int
) -> list[Taken | None]:
    """Rows are locked. Each lease takes the first pictures of what waits from its own first picture on."""
    by_place = {(shard.job_id, shard.first_picture): shard for shard in waiting}
    there = {(shard.job_id, shard.number): shard.pictures for shard in by_place.values()}
    numbers = _numbers_for_rests(transaction, by_place, wanted)
    taken: list[Taken | None] = []
    rests: dict[tuple[str, int], Shard] = {}
    for lease in wanted:
        shard = by_place.pop((lease.job_id, lease.first_picture), None)
        if shard is None or not 0 < lease.pictures <= shard.pictures:
            taken.append(None)
            continue
        rests.pop((shard.job_id, shard.first_picture), None)
        if lease.pictures < shard.pictures:
            rest = _rest(shard, lease.pictures, numbers[lease.job_id])
            numbers[lease.job_id] += 1
            by_place[rest.job_id, rest.first_picture] = rest
            rests[rest.job_id, rest.first_picture] = rest
        leased = replace(shard, pictures=lease.pictures, state=ShardState.LEASED, attempts=shard.attempts + 1)
        taken.append(Taken(lease, leased))
    given = [item for item in taken if item is not None]
    _keep(transaction, given, list(rests.values()), there, process=process, now_ms=now_ms)
    return taken


def _numbers_for_rests(
    transaction: Transaction, by_place: dict[tuple[str, int], Shard], wanted: Sequence[NewLease]
) -> dict[str, int]:
    """The first free number of every job of which a shard may be cut; as many are drawn as cuts are possible."""
    there = {job_id for job_id, _ in by_place}
    cuts = Counter(lease.job_id for lease in wanted if lease.job_id in there)
    whole = {place: shard.pictures for place, shard in by_place.items()}
    for lease in wanted:
        if whole.get((lease.job_id, lease.first_picture)) == lease.pictures:
            cuts[lease.job_id] -= 1
    return {job_id: shards.next_number(transaction, job_id, count) for job_id, count in cuts.items() if count > 0}


def _rest(shard: Shard, taken: int, number: int) -> Shard:
    return replace(
        shard,
        number=number,
        first_picture=shard.first_picture + taken,
        pictures=shard.pictures - taken,
        rank_s=shard.rank_s + taken * shard.rank_step_s,
        attempts=0,
    )


_LEASED: Final = (
    update(SHARDS)
    .where(tuple_(SHARDS.c.job_id, SHARDS.c.number).in_(bindparam("the_shards", expanding=True)))
    .values(state=ShardState.LEASED, attempts=SHARDS.c.attempts + 1)
)
_CUT: Final = (
    update(SHARDS)
    .where(SHARDS.c.job_id == bindparam("the_job"), SHARDS.c.number == bindparam("the_number"))
    .values(pictures=bindparam("now_pictures"))
)
_RUNNING: Final = (
    update(JOBS)
    .where(JOBS.c.job_id.in_(bindparam("the_jobs", expanding=True)), JOBS.c.state == JobState.QUEUED)
    .values(state=JobState.RUNNING, started_at_ms=bindparam("now"), event_count=JOBS.c.event_count + 1)
    .returning(JOBS.c.job_id, JOBS.c.event_count)
)


def _keep(
    transaction: Transaction,
    given: Sequence[Taken],
    rests: Sequence[Shard],
    there: Mapping[tuple[str, int], int],
    *,
    process: str,
    now_ms: int,
) -> None:
    """`there`: the rows that were there, and how many pictures each had. Statements first, plain inserts last."""
    if not given:
        return
    leased = {(item.shard.job_id, item.shard.number): item.shard.pictures for item in given}
    before = [place for place in leased if place in there]
    transaction.execute(_LEASED, {"the_shards": before})
    cut = [place for place in before if leased[place] != there[place]]
    if cut:
        sizes = [{"the_job": job, "the_number": number, "now_pictures": leased[job, number]} for job, number in cut]
        transaction.execute(_CUT, sizes)
    begun = sorted({item.shard.job_id for item in given})
    for row in transaction.execute(_RUNNING, {"the_jobs": begun, "now": now_ms}).all():
        events.keep(transaction, row.job_id, row.event_count, JobState.RUNNING, {}, now_ms)
    for item in given:
        shard = item.shard
        if (shard.job_id, shard.number) not in there:
            shards.insert_row(
                transaction, shard.job_id, shard, now_ms, state=ShardState.LEASED, attempts=shard.attempts
            )
        leases.insert_row(
            transaction, item.lease, number=shard.number, attempt=shard.attempts, process=process, now_ms=now_ms
        )
    for rest in rests:
        shards.insert_row(transaction, rest.job_id, rest, now_ms)
    transaction.flush()  # Whoever ends a job, or brings a part of it late, at the same moment ends these turns, too.
    if rests:
        transaction.announce(shards.WAITING_TOPIC)
