"""Looks at results: why and by whom, what was found, and the verdict, which is given once."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Text, bindparam, cast, func, or_, select, update

from hub.store.records import columns_of, made
from hub.store.statements import Prepared
from hub.store.tables.jobs import JOBS
from hub.store.tables.providers import CHECKS
from hub.store.transaction import Reader, Transaction

TOPIC: Final = "checks"
"""Announced when a check was added, or has a verdict."""


class Verdict(StrEnum):
    """What came of it."""

    PASSED = "passed"
    FAILED = "failed"
    DISPUTED = "disputed"
    """Others were asked, and do not agree."""
    ABANDONED = "abandoned"
    """It could not be made, through no fault of the provider's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCheck:
    """A check of the result of `lease_id`, which `provider` made."""

    check_id: str
    job_id: str
    shard: int
    lease_id: str
    provider: str
    kind: str
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(NewCheck):
    """A check as it is."""

    sequence: int
    verdict: Verdict | None
    created_at_ms: int
    ended_at_ms: int | None


_CHECK: Final = select(*columns_of(CHECKS, Check))
_BY_ID: Final = Prepared(_CHECK.where(CHECKS.c.check_id == bindparam("the_check")))
_OPEN_OF_JOB: Final = Prepared(
    select(func.count()).where(CHECKS.c.job_id == bindparam("the_job"), CHECKS.c.verdict.is_(None))
)


def _check_of(row: Any) -> Check:
    verdict = None if row["verdict"] is None else Verdict(row["verdict"])
    return made(Check, {**row, "verdict": verdict})


def add(transaction: Transaction, check: NewCheck, now_ms: int) -> None:
    """A check that waits; the caller of `Store.write` has AlreadyUsed (`check_id`) where it is there."""
    transaction.insert(
        CHECKS,
        check_id=check.check_id,
        job_id=check.job_id,
        shard=check.shard,
        lease_id=check.lease_id,
        provider=check.provider,
        kind=check.kind,
        evidence=check.evidence,
        created_at_ms=now_ms,
    )
    transaction.announce(TOPIC)


def decide(transaction: Transaction, check_id: str, verdict: Verdict, evidence: dict[str, Any], now_ms: int) -> bool:
    """The verdict, for good, with what was found beside what was known; False where there is one."""
    query = select(CHECKS.c.evidence).where(CHECKS.c.check_id == check_id, CHECKS.c.verdict.is_(None)).with_for_update()
    known = transaction.execute(query).scalar_one_or_none()
    if known is None:
        return False
    change = update(CHECKS).where(CHECKS.c.check_id == check_id)
    transaction.execute(change.values(evidence={**known, **evidence}, verdict=verdict, ended_at_ms=now_ms))
    transaction.announce(TOPIC)
    return True


def get(reader: Reader, check_id: str) -> Check | None:
    """One of them."""
    row = reader.execute(_BY_ID, {"the_check": check_id}).mappings().one_or_none()
    return None if row is None else _check_of(row)


def of_job(reader: Reader, job_id: str) -> list[Check]:
    """The job's, oldest first."""
    query = _CHECK.where(CHECKS.c.job_id == job_id).order_by(CHECKS.c.sequence)
    return [_check_of(row) for row in reader.execute(query).mappings()]


def open_of_job(reader: Reader, job_id: str) -> int:
    """How many of the job's have no verdict."""
    count: int = reader.execute(_OPEN_OF_JOB, {"the_job": job_id}).scalar_one()
    return count


_LAST_OF_OWNER: Final = (
    select(JOBS.c.job_id)
    .where(JOBS.c.owner == bindparam("the_owner"), JOBS.c.pictures_done > 0)
    .order_by(JOBS.c.sequence.desc())
    .limit(bindparam("jobs"))
    .subquery()
)
_SUSPECTED_OF_OWNER: Final = Prepared(
    select(func.count())
    .join_from(_LAST_OF_OWNER, CHECKS, CHECKS.c.job_id == _LAST_OF_OWNER.c.job_id)
    .where(
        or_(CHECKS.c.verdict == Verdict.PASSED, CHECKS.c.verdict.is_(None)),
        cast(CHECKS.c.evidence, Text).like(bindparam("a_word")),
    )
)


def suspected_of_owner(reader: Reader, owner: str, suspicion: str, *, jobs: int) -> int:
    """How many answers for this client's last jobs, of those that have any, are looked at because of this suspicion (a
    word of `evidence`) or were found to be right."""
    which = {"the_owner": owner, "jobs": jobs, "a_word": f'%"{suspicion}"%'}
    count: int = reader.execute(_SUSPECTED_OF_OWNER, which).scalar_one()
    return count


def open_checks(reader: Reader, *, limit: int = 1_000) -> list[Check]:
    """Those without a verdict, oldest first: what a process that starts takes up again."""
    query = _CHECK.where(CHECKS.c.verdict.is_(None)).order_by(CHECKS.c.sequence).limit(limit)
    return [_check_of(row) for row in reader.execute(query).mappings()]
