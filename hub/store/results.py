"""What providers delivered: one result counts for a shard, whoever else was asked for it, so nobody is paid twice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import bindparam, case, exists, func, or_, select, update

from hub.store import events, leases, locks, shards
from hub.store.errors import AlreadyServed, WrongState
from hub.store.leases import IS_ACTIVE, Lease, LeaseState, lease_of
from hub.store.records import Row, columns_of, made
from hub.store.shards import ShardState
from hub.store.statements import Prepared
from hub.store.tables.jobs import JOBS, LEASES, PICTURES, RESULTS, SHARDS
from hub.store.tables.providers import CHECKS
from hub.store.tables.receipts import RECEIPTS
from hub.store.transaction import Reader, Transaction


class ResultState(StrEnum):
    """What is held of it."""

    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPicture:
    """A picture whose bytes are in the artifact store; `picture` counts from 0 over the whole job."""

    picture: int
    sha256: str
    bytes: int
    width: int
    height: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture(NewPicture):
    """A picture that counts, and whose it is."""

    lease_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewResult:
    """What a provider signed for its shard; `amount` in atoms."""

    lease_id: str
    receipt_hash: str
    receipt_json: str
    provider_signature: str
    prompt_salt: str
    micro_units: int
    amount: int
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(NewResult):
    """A result as it is."""

    job_id: str
    number: int
    provider: str
    state: ResultState
    refusal: str | None
    delivered_at_ms: int
    judged_at_ms: int | None


_RESULT: Final = select(*columns_of(RESULTS, Result))
_BY_LEASE: Final = Prepared(_RESULT.where(RESULTS.c.lease_id == bindparam("the_lease")))
_PLACE: Final = Prepared(
    select(SHARDS.c.lease_id, SHARDS.c.state)
    .join_from(LEASES, SHARDS, (LEASES.c.job_id == SHARDS.c.job_id) & (LEASES.c.number == SHARDS.c.number))
    .where(LEASES.c.lease_id == bindparam("the_lease"))
)
_END_LEASES: Final = Prepared(
    update(LEASES)
    .where(
        LEASES.c.job_id == bindparam("the_job"),
        LEASES.c.number == bindparam("the_number"),
        or_(LEASES.c.lease_id == bindparam("the_lease"), IS_ACTIVE),
    )
    .values(
        state=case((LEASES.c.lease_id == bindparam("the_lease"), LeaseState.DELIVERED), else_=LeaseState.SUPERSEDED),
        outcome=case((LEASES.c.lease_id == bindparam("the_lease"), "ok"), else_="superseded"),
        ended_at_ms=bindparam("now"),
    )
    .returning(*columns_of(LEASES, Lease))
)
_PICTURES_DONE: Final = Prepared(
    update(JOBS)
    .where(JOBS.c.job_id == bindparam("the_job"))
    .values(pictures_done=JOBS.c.pictures_done + bindparam("more"), event_count=JOBS.c.event_count + 1)
    .returning(JOBS.c.event_count, JOBS.c.pictures_done)
)


_PLACING: Final = (
    update(SHARDS)
    .where(
        LEASES.c.lease_id == bindparam("the_lease"),
        SHARDS.c.job_id == LEASES.c.job_id,
        SHARDS.c.number == LEASES.c.number,
        SHARDS.c.lease_id.is_(None),
        SHARDS.c.state.in_((ShardState.LEASED, ShardState.WAITING)),
        SHARDS.c.pictures == LEASES.c.pictures,
        SHARDS.c.pictures == bindparam("picture_count"),
        SHARDS.c.first_picture == bindparam("first"),
    )
    .values(state=ShardState.DELIVERED, lease_id=bindparam("the_lease"))
    .returning(SHARDS.c.job_id, SHARDS.c.number)
)
_PLACED: Final = Prepared(_PLACING)
_HELD: Final = locks.JOB_OF_LEASE.cte("held")
_PLACED_HOLDING_JOB: Final = Prepared(_PLACING.where(SHARDS.c.job_id == _HELD.c.job_id))
"""In one statement, as it is done for every result (`hub.store.locks`)."""


def deliver(transaction: Transaction, result: NewResult, pictures: Sequence[NewPicture], now_ms: int) -> list[Lease]:
    """Keeps a shard's result, its lease's end, and the event `pictures` of the job, together; the twins that it made
    needless. The same result again changes nothing.

    Raises AlreadyServed where the shard has another result, and WrongState where there is no such lease, the shard is
    cancelled, or its pictures are not those that were leased (a lapsed shard may have been cut otherwise meanwhile).
    """
    if not _are_consecutive(pictures):
        raise WrongState("the pictures are not consecutive")
    first = {"the_lease": result.lease_id, "picture_count": len(pictures), "first": pictures[0].picture}
    row = transaction.execute(_PLACED if transaction.is_sqlite else _PLACED_HOLDING_JOB, first).mappings().one_or_none()
    if row is None:
        _explain(transaction, result)
        return []
    place = {"the_job": row["job_id"], "the_number": row["number"], "the_lease": result.lease_id}
    ended = transaction.execute(_END_LEASES, {**place, "now": now_ms}).mappings().all()
    (ours,) = (lease for lease in ended if lease["lease_id"] == result.lease_id)
    job = transaction.execute(_PICTURES_DONE, {"the_job": row["job_id"], "more": len(pictures)}).one()
    progress = {"pictures": [item.picture for item in pictures], "pictures_done": job.pictures_done}
    events.keep(transaction, row["job_id"], job.event_count, "pictures", progress, now_ms)
    _insert(transaction, ours, result, pictures, now_ms)
    if len(ended) > 1:
        transaction.announce(leases.TOPIC)
    return [lease_of(lease) for lease in ended if lease["lease_id"] != result.lease_id]


def _are_consecutive(pictures: Sequence[NewPicture]) -> bool:
    numbers = [item.picture for item in pictures]
    return bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _explain(transaction: Transaction, result: NewResult) -> None:
    """Why a result has no place; returns where it is the very result that the shard has."""
    row = transaction.execute(_PLACE, {"the_lease": result.lease_id}).mappings().one_or_none()
    if row is None:
        raise WrongState("there is no such lease")
    if row["lease_id"] is not None:
        kept = transaction.execute(_BY_LEASE, {"the_lease": row["lease_id"]}).mappings().one()
        if (kept["lease_id"], kept["receipt_hash"]) == (result.lease_id, result.receipt_hash):
            return
        raise AlreadyServed("the shard has a result already")
    if row["state"] not in (ShardState.LEASED, ShardState.WAITING):
        raise WrongState(f"the shard is {row['state']}")
    raise WrongState("the pictures are not those of the shard as it is now")


def _insert(
    transaction: Transaction,
    row: Row,
    result: NewResult,
    pictures: Sequence[NewPicture],
    now_ms: int,
) -> None:
    transaction.insert(
        RESULTS,
        lease_id=result.lease_id,
        job_id=row["job_id"],
        number=row["number"],
        provider=row["provider"],
        state=ResultState.DELIVERED,
        receipt_hash=result.receipt_hash,
        receipt_json=result.receipt_json,
        provider_signature=result.provider_signature,
        prompt_salt=result.prompt_salt,
        micro_units=result.micro_units,
        amount=result.amount,
        facts=result.facts,
        delivered_at_ms=now_ms,
    )
    for item in pictures:
        transaction.insert(
            PICTURES,
            lease_id=result.lease_id,
            picture=item.picture,
            job_id=row["job_id"],
            sha256=item.sha256,
            bytes=item.bytes,
            width=item.width,
            height=item.height,
            media_type=item.media_type,
        )


_TO_JUDGED: Final = (
    update(RESULTS)
    .where(RESULTS.c.lease_id == bindparam("the_lease"))
    .values(state=bindparam("to_state"), refusal=bindparam("why"), judged_at_ms=bindparam("now"))
    .returning(RESULTS.c.job_id, RESULTS.c.number, RESULTS.c.provider)
)
_ACCEPT: Final = Prepared(_TO_JUDGED.where(RESULTS.c.state == ResultState.DELIVERED))
_REFUSE: Final = Prepared(_TO_JUDGED.where(RESULTS.c.state.in_((ResultState.DELIVERED, ResultState.ACCEPTED))))
_ACCEPTED: Final = Prepared(
    (update(SHARDS).where(SHARDS.c.lease_id == bindparam("the_lease"), SHARDS.c.job_id == bindparam("the_job"))).values(
        state=ShardState.ACCEPTED
    )
)


def accept(transaction: Transaction, lease_id: str, now_ms: int) -> bool:
    """The result has passed; False where it was judged before."""
    step = {
        "the_lease": lease_id,
        "to_state": ResultState.ACCEPTED,
        "why": None,
        "now": now_ms,
    }
    row = transaction.execute(_ACCEPT, step).one_or_none()
    if row is None:
        return False
    transaction.execute(_ACCEPTED, {"the_lease": lease_id, "the_job": row.job_id})
    return True


def refuse(transaction: Transaction, lease_id: str, reason: str, now_ms: int, *, again: bool = True) -> bool:
    """The result has not passed: its shard waits again for another provider, unless `again` is False. A result that was
    accepted may still be refused while its job is open. False where it was refused before, or counts no more."""
    step = {
        "the_lease": lease_id,
        "to_state": ResultState.REFUSED,
        "why": reason,
        "now": now_ms,
    }
    row = transaction.execute(_REFUSE, step).one_or_none()
    if row is None:
        return False
    shard = shards.locked(transaction, row.job_id, row.number)
    assert shard is not None and shard.lease_id == lease_id
    state = ShardState.WAITING if again else ShardState.REFUSED
    shards.put_back(transaction, shard, without=row.provider, now_ms=now_ms, state=state)
    less = {"the_job": row.job_id, "more": -shard.pictures}
    job = transaction.execute(_PICTURES_DONE, less).one()
    numbers = list(range(shard.first_picture, shard.first_picture + shard.pictures))
    progress = {"pictures": numbers, "pictures_done": job.pictures_done}
    events.keep(transaction, row.job_id, job.event_count, "pictures_refused", progress, now_ms)
    return True


_COUNTS: Final = _RESULT.join_from(
    RESULTS, SHARDS, (RESULTS.c.lease_id == SHARDS.c.lease_id) & (RESULTS.c.job_id == SHARDS.c.job_id)
).order_by(SHARDS.c.first_picture)
_OF_JOB: Final = Prepared(_COUNTS.where(RESULTS.c.job_id == bindparam("the_job")))
_PICTURES: Final = Prepared(
    select(*columns_of(PICTURES, Picture))
    .join_from(PICTURES, SHARDS, (PICTURES.c.lease_id == SHARDS.c.lease_id) & (PICTURES.c.job_id == SHARDS.c.job_id))
    .where(PICTURES.c.job_id == bindparam("the_job"))
    .order_by(PICTURES.c.picture)
)


def _result_of(row: Row) -> Result:
    return made(Result, {**row, "state": ResultState(row["state"])})


def get(reader: Reader, lease_id: str) -> Result | None:
    """What came of a lease."""
    row = reader.execute(_BY_LEASE, {"the_lease": lease_id}).mappings().one_or_none()
    return None if row is None else _result_of(row)


def of_job(reader: Reader, job_id: str) -> list[Result]:
    """Those that count, in the order of their pictures."""
    return [_result_of(row) for row in reader.execute(_OF_JOB, {"the_job": job_id}).mappings()]


def of_file(reader: Reader, job_id: str, picture: int, sha256: str) -> tuple[Result, int] | None:
    """The one that brought this file as this picture, whether it counts or was refused; and which of its own it is."""
    named = (PICTURES.c.job_id == job_id, PICTURES.c.picture == picture, PICTURES.c.sha256 == sha256)
    query = _RESULT.join_from(RESULTS, PICTURES, RESULTS.c.lease_id == PICTURES.c.lease_id).where(*named)
    row = reader.execute(query.order_by(RESULTS.c.delivered_at_ms).limit(1)).mappings().one_or_none()
    if row is None:
        return None
    result = _result_of(row)
    first = select(func.min(PICTURES.c.picture)).where(PICTURES.c.lease_id == result.lease_id)
    return result, picture - reader.execute(first).scalar_one()


def unchecked_of_provider(reader: Reader, provider: str, *, limit: int) -> list[Result]:
    """Those that count for open jobs, that nobody has looked at again, and whose receipt is not attested."""
    query = (
        _RESULT.join_from(
            RESULTS, SHARDS, (RESULTS.c.lease_id == SHARDS.c.lease_id) & (RESULTS.c.job_id == SHARDS.c.job_id)
        )
        .join(JOBS, JOBS.c.job_id == RESULTS.c.job_id)
        .where(
            RESULTS.c.provider == provider,
            JOBS.c.ended_at_ms.is_(None),
            ~exists().where(CHECKS.c.lease_id == RESULTS.c.lease_id, CHECKS.c.job_id == RESULTS.c.job_id),
            ~exists().where(RECEIPTS.c.job_id == RESULTS.c.job_id, RECEIPTS.c.attested_at_ms.is_not(None)),
        )
        .order_by(RESULTS.c.delivered_at_ms)
        .limit(limit)
    )
    return [_result_of(row) for row in reader.execute(query).mappings()]


def pictures(reader: Reader, job_id: str) -> list[Picture]:
    """The job's pictures that count, in their order."""
    return [made(Picture, row) for row in reader.execute(_PICTURES, {"the_job": job_id}).mappings()]
