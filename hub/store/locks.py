"""In which order rows are locked: a job, then its shards, then their leases, results and receipts.

Whoever changes a shard that waits or is leased, or a lease, holds the job's row before, as whoever ends a job or
withdraws its receipt does. So no two units of work wait for one another over one job: the second waits for the first
at the job's row. Of several jobs the smallest id comes first, where one unit knows them all beforehand;
and whoever looks for work waits for no job at all, but takes what is free.

Units that are committed together hold what they have locked until all of them are done. So each may say what it locks
first (`Store.write(…, first=…)`), and a batch does them in that order: a client's quota for the day before anything
else, then what says nothing, then jobs by their ids. What is left, such as a result that casts doubt on other jobs, may
still meet another process's in the other order: PostgreSQL ends one of the two after a second, and it is done again
(`hub.store.writing`).

SQLite has one writer at a time and needs none of this. Rows that only refer to a job need not wait for who holds it
(FOR NO KEY UPDATE): nobody deletes a job that is open, or changes its id.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import bindparam, select

from hub.store.tables.jobs import JOBS, LEASES
from hub.store.transaction import Transaction

ANYTHING: Final = "b"
"""What a unit locks first that does not say it."""

_ONE: Final = select(JOBS.c.ended_at_ms).where(JOBS.c.job_id == bindparam("the_job")).with_for_update(key_share=True)
_SEVERAL: Final = (
    select(JOBS.c.job_id)
    .where(JOBS.c.job_id.in_(bindparam("the_jobs", expanding=True)))
    .order_by(JOBS.c.job_id)
    .with_for_update(key_share=True)
)
_FREE: Final = (
    select(JOBS.c.job_id)
    .where(JOBS.c.job_id.in_(bindparam("the_jobs", expanding=True)))
    .with_for_update(key_share=True, skip_locked=True)
)
JOB_OF_LEASE: Final = (
    select(JOBS.c.job_id)
    .where(
        JOBS.c.job_id == select(LEASES.c.job_id).where(LEASES.c.lease_id == bindparam("the_lease")).scalar_subquery()
    )
    .with_for_update(key_share=True)
)
"""Holds the job of a lease; for a statement that needs it held before it goes on."""


def quota(key: str) -> str:
    """A unit locks this key's quota first."""
    return f"a/{key}"


def job(job_id: str) -> str:
    """A unit locks this job first."""
    return f"c/{job_id}"


def hold_open_job(transaction: Transaction, job_id: str) -> bool:
    """Holds the job's row to the commit, so that it is either attested or disputed; False where it has ended."""
    row = transaction.execute(_ONE, {"the_job": job_id}).one_or_none()
    return row is not None and row.ended_at_ms is None


def hold_jobs(transaction: Transaction, job_ids: Collection[str]) -> None:
    """Before shards or leases of these are changed."""
    if job_ids and not transaction.is_sqlite:
        transaction.execute(_SEVERAL, {"the_jobs": sorted(set(job_ids))}).all()


def hold_free_jobs(transaction: Transaction, job_ids: Collection[str]) -> list[str]:
    """Those that nobody else holds at the moment, for who can do without the others."""
    if not job_ids or transaction.is_sqlite:
        return list(job_ids)
    return [str(row.job_id) for row in transaction.execute(_FREE, {"the_jobs": sorted(set(job_ids))})]


def hold_job_of_lease(transaction: Transaction, lease_id: str) -> None:
    """Before this lease or its shard is changed."""
    if not transaction.is_sqlite:
        transaction.execute(JOB_OF_LEASE, {"the_lease": lease_id}).all()
