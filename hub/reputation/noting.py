"""An outcome of a provider's work, in the unit in which it happens: score, standing, pause, and the chain's record."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import rfc8785

from hub.reputation.rules import Outcome, Record, Suspicion, noted, score_of, standing_of, suspicion_of
from hub.store import audit, outcomes, providers
from hub.store.outcomes import OutcomeKind
from hub.store.providers import Provider
from hub.store.transaction import Transaction

FACT: Final = "record"
_COUNTED: Final = {
    Outcome.SERVED: "accepted",
    Outcome.LATE: "accepted",
    Outcome.LIED: "refused",
    Outcome.DISPUTED: "refused",
    Outcome.FAILED: "failed",
    Outcome.UNOPENED: "failed",
    Outcome.TIMED_OUT: "timed_out",
}
_ON_CHAIN: Final = {
    Outcome.FAILED: OutcomeKind.FAILURE,
    Outcome.TIMED_OUT: OutcomeKind.FAILURE,
    Outcome.UNOPENED: OutcomeKind.FAILURE,
    Outcome.LIED: OutcomeKind.DISPUTE,
    Outcome.DISPUTED: OutcomeKind.DISPUTE,
}
_MAX_DETAIL_CHARACTERS: Final = 300


def record_of(provider: Provider) -> Record:
    """What is remembered of it."""
    kept = provider.facts.get(FACT)
    return Record(at_ms=provider.score_at_ms) if kept is None else Record.from_object(kept)


def note(
    transaction: Transaction,
    address: str,
    kind: Outcome | str,
    now_ms: int,
    *,
    detail: str = "",
    evidence: Mapping[str, Any] | None = None,
    micro_units: int = 0,
) -> Provider:
    """Counts an outcome, and pauses the provider where the rules say so; the provider as it is then.

    `detail` is a sentence for the provider and the operator, `evidence` what shows it (ids and figures, no prompt):
    its hash goes on the chain with failures and disputes. `micro_units`: of work that was accepted.
    """
    outcome = Outcome(kind)
    suspicions: list[Suspicion] = []

    def counted(known: Provider) -> Provider:
        record = noted(record_of(known), outcome, now_ms)
        suspicions[:] = [found] if (found := suspicion_of(record, outcome)) else []
        name = _COUNTED.get(outcome)
        changed = known if name is None else replace(known, **{name: getattr(known, name) + 1})
        return replace(
            changed,
            score=score_of(record, now_ms),
            score_at_ms=now_ms,
            standing=standing_of(
                known.standing,
                record,
                accepted=changed.accepted,
                first_seen_ms=known.first_seen_at_ms,
                now_ms=now_ms,
            ),
            micro_units=changed.micro_units + micro_units,
            last_seen_at_ms=now_ms,
            facts={**known.facts, FACT: record.to_object()},
        )

    provider = providers.change(transaction, address, counted, now_ms)
    on_chain = _ON_CHAIN.get(outcome)
    if on_chain is not None:
        facts = {**(evidence or {}), "at_ms": now_ms, "kind": outcome.value, "provider": address}
        outcomes.add(transaction, address, on_chain, rfc8785.dumps(facts).decode(), now_ms)
    for suspicion in suspicions:
        _suspend(transaction, provider, suspicion, detail, now_ms)
    return provider


def note_breach(
    transaction: Transaction, address: str, sla_hash: str, evidence: Mapping[str, Any], now_ms: int
) -> None:
    """A promise was broken (`service_levels`): for the chain's record, and the audit log."""
    facts = {**evidence, "at_ms": now_ms, "kind": "breach", "provider": address, "sla_hash": sla_hash}
    outcomes.add(transaction, address, OutcomeKind.BREACH, rfc8785.dumps(facts).decode(), now_ms)
    audit.append(transaction, "breach_noted", address, {"sla_hash": sla_hash}, now_ms)


def _suspend(transaction: Transaction, provider: Provider, suspicion: Suspicion, detail: str, now_ms: int) -> None:
    """Never shortens a pause, such as one that the operator has given."""
    until_ms = None if suspicion.pause_ms is None else now_ms + suspicion.pause_ms
    running_ms = provider.suspended_until_ms or 0
    if until_ms is not None and running_ms >= until_ms:
        return
    words = suspicion.detail if not detail else f"{suspicion.detail}: {detail[:_MAX_DETAIL_CHARACTERS]}"
    providers.suspend(
        transaction, provider.address, until_ms=until_ms, reason=suspicion.reason, detail=words, now_ms=now_ms
    )
