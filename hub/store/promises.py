"""What of clients' deposits is promised to jobs: never more than the chain holds for them, however many processes ask.

The chain knows nothing of jobs that run. So whoever accepts one sets its maximum aside here, in the same transaction.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import and_, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from chain.primitives.hexadecimal import format_ait
from hub.store.column_types import sum_atoms
from hub.store.errors import AlreadyUsed, StoreError
from hub.store.records import columns_of, made
from hub.store.tables.attesting import DEPOSITORS, PROMISES
from hub.store.tables.jobs import JOBS
from hub.store.tables.receipts import RECEIPTS
from hub.store.transaction import Reader, Transaction


class PromiseState(StrEnum):
    """What became of it."""

    HELD = "held"
    """Its job runs, or its receipt waits to be settled."""
    SETTLED = "settled"
    """The chain has paid; a view of the deposit from before that still counts the money."""
    RELEASED = "released"
    """Nothing will be paid: no receipt, or too late for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Atoms that a job may take from its client's deposit; `until_s` in Unix seconds."""

    job_id: str
    client: str
    """Address, in EIP-55 form."""
    request_hash: str
    amount: int
    until_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPromise(Promise):
    """As it is."""

    state: PromiseState
    settled_height: int | None
    made_at_ms: int


class Underfunded(StoreError):
    """The deposit does not cover this job beside those under way; amounts in atoms."""

    def __init__(self, wanted: int, left: int) -> None:
        amounts = f"the job may cost {format_ait(wanted)} AIT, and {format_ait(left)} AIT of the deposit"
        super().__init__(f"{amounts} are not promised already")
        self.wanted = wanted
        self.left = left


_PROMISE: Final = select(*columns_of(PROMISES, KeptPromise))


def _promise_of(row: Any) -> KeptPromise:
    return made(KeptPromise, {**row, "state": PromiseState(row["state"])})


def reserve(transaction: Transaction, promise: Promise, *, secured_atoms: int, height: int, now_ms: int) -> None:
    """Sets a job's maximum aside, or raises Underfunded; the same again is fine, another AlreadyUsed (`job_id`).

    `secured_atoms` is what the chain held for the client after the block of `height`, which its client cannot take back
    until `promise.until_s` (`DepositView.secured_atoms`). Settlements since that block are not in it yet.
    """
    begin = sqlite.insert if transaction.is_sqlite else postgresql.insert
    transaction.execute(
        begin(DEPOSITORS).values(client=promise.client).on_conflict_do_nothing(index_elements=["client"])
    )
    # One process at a time promises a client's money: from here to the commit.
    transaction.execute(select(DEPOSITORS.c.client).where(DEPOSITORS.c.client == promise.client).with_for_update())
    known = get(transaction, promise.job_id)
    if known is not None:
        if (known.client, known.request_hash, known.amount) != (promise.client, promise.request_hash, promise.amount):
            raise AlreadyUsed("job_id")
        return
    left = secured_atoms - promised(transaction, promise.client, height)
    if promise.amount > left:
        raise Underfunded(promise.amount, max(0, left))
    transaction.execute(
        insert(PROMISES).values(
            job_id=promise.job_id,
            client=promise.client,
            request_hash=promise.request_hash,
            amount=promise.amount,
            until_s=promise.until_s,
            state=PromiseState.HELD,
            made_at_ms=now_ms,
        )
    )


def promised(reader: Reader, client: str, height: int) -> int:
    """Atoms that a view of the deposit from after the block of `height` must be lowered by."""
    is_counted = or_(
        PROMISES.c.state == PromiseState.HELD,
        and_(PROMISES.c.state == PromiseState.SETTLED, PROMISES.c.settled_height > height),
    )
    total = reader.execute(select(sum_atoms(PROMISES.c.amount)).where(PROMISES.c.client == client, is_counted)).scalar()
    return int(total or 0)


def get(reader: Reader, job_id: str) -> KeptPromise | None:
    """The job's."""
    row = reader.execute(_PROMISE.where(PROMISES.c.job_id == job_id)).mappings().one_or_none()
    return None if row is None else _promise_of(row)


def settle(transaction: Transaction, job_id: str, height: int) -> bool:
    """The chain has paid for the job in this block, finally; False where that is known, or nothing was promised."""
    settled = transaction.execute(
        update(PROMISES)
        .where(PROMISES.c.job_id == job_id, PROMISES.c.state != PromiseState.SETTLED)
        .values(state=PromiseState.SETTLED, settled_height=height)
    )
    return settled.rowcount == 1


def release(transaction: Transaction, job_id: str) -> bool:
    """Nothing will be paid for the job; False where nothing was held."""
    released = transaction.execute(
        update(PROMISES)
        .where(PROMISES.c.job_id == job_id, PROMISES.c.state == PromiseState.HELD)
        .values(state=PromiseState.RELEASED)
    )
    return released.rowcount == 1


def sweep(transaction: Transaction, chain_time_s: int, *, limit: int = 500) -> int:
    """Releases promises that nothing can come of: their job has ended without an attested receipt, or the block time
    `chain_time_s` (Unix) is past the last second in which they could be settled. How many those were."""
    is_lost = and_(JOBS.c.ended_at_ms.is_not(None), RECEIPTS.c.attested_at_ms.is_(None))
    lost = (
        select(PROMISES.c.job_id)
        .outerjoin(JOBS, JOBS.c.job_id == PROMISES.c.job_id)
        .outerjoin(RECEIPTS, RECEIPTS.c.job_id == PROMISES.c.job_id)
        .where(PROMISES.c.state == PromiseState.HELD, or_(PROMISES.c.until_s < chain_time_s, is_lost))
        .limit(limit)
    )
    found = transaction.execute(lost).scalars().all()
    return sum(release(transaction, job_id) for job_id in found)
