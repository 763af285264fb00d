"""What the chain is to be told of providers: failures, disputes and breaches, each counted there once.

Outcomes are put together to records. A record's hash is over the evidence of its outcomes, and the chain counts a hash
once: so a record that may or may not have arrived is simply sent again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import func, insert, select, update

from hub.store.records import columns_of, made
from hub.store.tables.attesting import OUTCOMES
from hub.store.transaction import Reader, Transaction


class OutcomeKind(StrEnum):
    """What the chain counts."""

    FAILURE = "failure"
    DISPUTE = "dispute"
    BREACH = "breach"


class OutcomeState(StrEnum):
    """How far it has come."""

    WAITING = "waiting"
    RECORDING = "recording"
    """It stands in a record, which may have been sent."""
    RECORDED = "recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One of them; `evidence` is canonical JSON without a secret in it."""

    sequence: int
    provider: str
    kind: OutcomeKind
    at_ms: int
    evidence: str
    record_hash: str | None
    state: OutcomeState


_OUTCOME: Final = select(*columns_of(OUTCOMES, Outcome)).order_by(OUTCOMES.c.sequence)


def _outcome_of(row: Any) -> Outcome:
    return made(Outcome, {**row, "kind": OutcomeKind(row["kind"]), "state": OutcomeState(row["state"])})


def add(transaction: Transaction, provider: str, kind: OutcomeKind, evidence: str, now_ms: int) -> None:
    """To be recorded with the provider's others."""
    transaction.execute(
        insert(OUTCOMES).values(
            provider=provider, kind=kind, at_ms=now_ms, evidence=evidence, state=OutcomeState.WAITING
        )
    )


def providers_waiting(reader: Reader, *, limit: int) -> list[str]:
    """Whose outcomes wait, or stand in a record that is not final; the longest waiting first."""
    query = (
        select(OUTCOMES.c.provider)
        .where(OUTCOMES.c.state != OutcomeState.RECORDED)
        .group_by(OUTCOMES.c.provider)
        .order_by(func.min(OUTCOMES.c.sequence))
        .limit(limit)
    )
    return list(reader.execute(query).scalars())


def of_provider(reader: Reader, provider: str, state: OutcomeState, *, limit: int) -> list[Outcome]:
    """Oldest first."""
    query = _OUTCOME.where(OUTCOMES.c.provider == provider, OUTCOMES.c.state == state).limit(limit)
    return [_outcome_of(row) for row in reader.execute(query).mappings()]


def put_together(transaction: Transaction, outcomes: Sequence[Outcome], record_hash: str) -> None:
    """They are one record from here on, also after a crash."""
    transaction.execute(
        update(OUTCOMES)
        .where(OUTCOMES.c.sequence.in_([each.sequence for each in outcomes]), OUTCOMES.c.state == OutcomeState.WAITING)
        .values(record_hash=record_hash, state=OutcomeState.RECORDING)
    )


def recorded(transaction: Transaction, record_hash: str) -> int:
    """The chain has counted the record for good; how many outcomes stood in it."""
    done = transaction.execute(
        update(OUTCOMES).where(OUTCOMES.c.record_hash == record_hash).values(state=OutcomeState.RECORDED)
    )
    return done.rowcount


def records_since(reader: Reader, since_ms: int) -> int:
    """How many records have outcomes of that time or later: what a day's bound is compared with."""
    query = select(func.count(func.distinct(OUTCOMES.c.record_hash))).where(
        OUTCOMES.c.record_hash.is_not(None), OUTCOMES.c.at_ms >= since_ms
    )
    count: int = reader.execute(query).scalar_one()
    return count
