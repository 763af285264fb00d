"""A job's progress, as its client hears of it: numbered 1, 2, 3 … without gaps, in the order of the commits."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select, update

from hub.store.records import columns_of, made
from hub.store.statements import Prepared
from hub.store.tables.jobs import EVENTS, JOBS
from hub.store.transaction import Reader, Transaction

_COUNT: Final = Prepared(
    update(JOBS)
    .where(JOBS.c.job_id == bindparam("the_job"))
    .values(event_count=JOBS.c.event_count + 1)
    .returning(JOBS.c.event_count)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One of them."""

    sequence: int
    at_ms: int
    kind: str
    data: dict[str, Any]


_AFTER: Final = Prepared(
    select(*columns_of(EVENTS, Event))
    .where(EVENTS.c.job_id == bindparam("the_job"), EVENTS.c.sequence > bindparam("after"))
    .order_by(EVENTS.c.sequence)
    .limit(bindparam("most"))
)


def topic(job_id: str) -> str:
    """What is announced when the job has a new event."""
    return f"job/{job_id}"


def end_topic(job_id: str) -> str:
    """What is announced when the job has ended: who waits for that alone is woken once."""
    return f"end/{job_id}"


def append(transaction: Transaction, job_id: str, kind: str, data: dict[str, Any], now_ms: int) -> None:
    """The job's next event; nothing where there is no such job. Locks the job's row until the commit, so that numbers
    are given out in the order in which readers come to see them."""
    sequence = transaction.execute(_COUNT, {"the_job": job_id}).scalar_one_or_none()
    if sequence is not None:
        keep(transaction, job_id, sequence, kind, data, now_ms)


def keep(transaction: Transaction, job_id: str, sequence: int, kind: str, data: dict[str, Any], now_ms: int) -> None:
    """An event whose number a statement on the job's row has given out already."""
    transaction.insert(EVENTS, job_id=job_id, sequence=sequence, at_ms=now_ms, kind=kind, data=data)
    transaction.announce(topic(job_id))


def after(reader: Reader, job_id: str, sequence: int, limit: int = 1_000) -> list[Event]:
    """What came after the event of that number, oldest first."""
    rows = reader.execute(_AFTER, {"the_job": job_id, "after": sequence, "most": limit}).mappings()
    return [made(Event, row) for row in rows]
