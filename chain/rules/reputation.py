"""The registry's second half: what providers promise, and what attesters saw of them.

A provider publishes the hash of a signed statement of its service level (`chain.primitives.sla`); the statement itself
stays off the chain. Attesters record failures, disputes and breaches, each with the hash of its evidence, which counts
once per provider: so whoever records may repeat a call whose answer was lost. Receipts and units count themselves, in
what a mint writes anyway (`records.ProviderUsage`).
"""

from typing import Any, Final

import msgspec

from chain.primitives import message_pack
from chain.primitives.message_pack import decode_trusted
from chain.primitives.modules import (
    BREACH_RECORDED_EVENT,
    OUTCOME_RECORDED_EVENT,
    PUBLISH_SLA,
    RECORD_BREACH,
    RECORD_OUTCOME,
    REGISTRY,
    REPUTATION,
    SLA_PUBLISHED_EVENT,
)
from chain.primitives.records import Domain, Reputation, decode_flag, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Hash32
from chain.rules.call import Call, Operation, ViewTable
from chain.rules.state import State

MAX_RECORDED: Final = 1_000
"""Failures or disputes in one call: a slip of the hand must not mark a provider for life."""
NO_SLA: Final = Hash32(bytes(32))
"""Published instead of a statement's hash, it takes the promise back."""

_NOTHING_RECORDED: Final = Reputation()


class OutcomePlan(msgspec.Struct, frozen=True):
    """A checked record: the provider's counters after it, and what was seen."""

    provider: Address
    reputation: Reputation
    evidence_hash: Hash32
    seen: tuple[Any, ...]
    """What the event says between attester and evidence."""


def read_reputation(state: State, provider: Address) -> Reputation:
    """What attesters have recorded."""
    return state.read_record(state_key(Domain.REPUTATION, provider), Reputation.decode, _NOTHING_RECORDED)


def read_sla(state: State, provider: Address) -> Hash32:
    """The hash of the statement in force, or NO_SLA."""
    return state.read_record(state_key(Domain.SLA, provider), _decode_hash, NO_SLA)


def _decode_hash(encoded: bytes) -> Hash32:
    return Hash32(decode_trusted(encoded, bytes))


def _is_marked(state: State, domain: Domain, provider: Address, hash_: Hash32) -> bool:
    return state.read_record(state_key(domain, provider + hash_), decode_flag, False)


def _mark(state: State, domain: Domain, provider: Address, hash_: Hash32) -> None:
    state.write_record(state_key(domain, provider + hash_), True, message_pack.encode)


def validate_publish_sla(call: Call, sla_hash: Hash32) -> Hash32:
    """publishSla(slaHash), by an active provider."""
    registration = call.state.registration(call.sender)
    if registration is None or not registration.active:
        raise Rejected(RejectionReason.NOT_REGISTERED, "this address is not registered as a provider")
    return sla_hash


def apply_publish_sla(call: Call, sla_hash: Hash32) -> None:
    """Replaces the promise. The old one stays known: a breach of it can still be recorded."""
    state, provider = call.state, call.sender
    is_promise = sla_hash != NO_SLA
    state.write_record(state_key(Domain.SLA, provider), sla_hash, message_pack.encode if is_promise else None)
    if is_promise:
        _mark(state, Domain.SLA, provider, sla_hash)
    call.emit(REGISTRY, SLA_PUBLISHED_EVENT, provider, sla_hash)


def _check_record(call: Call, provider: Address, evidence_hash: Hash32) -> None:
    if call.state.attester(call.sender) is None:
        raise Rejected(RejectionReason.NOT_AN_ATTESTER, "only attesters record what they saw of a provider")
    if call.state.registration(provider) is None:
        raise Rejected(RejectionReason.NOT_REGISTERED, "this provider never registered")
    if _is_marked(call.state, Domain.EVIDENCE, provider, evidence_hash):
        raise Rejected(RejectionReason.EVIDENCE_USED, "this evidence about the provider has been counted before")


def validate_record_outcome(
    call: Call, provider: Address, failures: int, disputes: int, evidence_hash: Hash32
) -> OutcomePlan:
    """recordOutcome(provider, failures, disputes, evidenceHash), by an attester."""
    _check_record(call, provider, evidence_hash)
    if not failures + disputes > 0 or max(failures, disputes) > MAX_RECORDED:
        raise Rejected(
            RejectionReason.OUT_OF_RANGE, f"a record counts failures or disputes, at most {MAX_RECORDED} of each"
        )
    recorded = read_reputation(call.state, provider)
    reputation = msgspec.structs.replace(
        recorded, failures=recorded.failures + failures, disputes=recorded.disputes + disputes
    )
    return OutcomePlan(provider, reputation, evidence_hash, (failures, disputes))


def validate_record_breach(call: Call, provider: Address, sla_hash: Hash32, evidence_hash: Hash32) -> OutcomePlan:
    """recordBreach(provider, slaHash, evidenceHash), by an attester, of any statement that was ever in force."""
    _check_record(call, provider, evidence_hash)
    if not _is_marked(call.state, Domain.SLA, provider, sla_hash):
        raise Rejected(RejectionReason.UNKNOWN_SLA, "the provider never published this statement")
    recorded = read_reputation(call.state, provider)
    reputation = msgspec.structs.replace(recorded, breaches=recorded.breaches + 1)
    return OutcomePlan(provider, reputation, evidence_hash, (sla_hash,))


def _enter(call: Call, plan: OutcomePlan) -> None:
    call.state.write_record(state_key(Domain.REPUTATION, plan.provider), plan.reputation, Reputation.encode)
    _mark(call.state, Domain.EVIDENCE, plan.provider, plan.evidence_hash)


def apply_record_outcome(call: Call, plan: OutcomePlan) -> None:
    """Adds to the counters."""
    _enter(call, plan)
    call.emit(REGISTRY, OUTCOME_RECORDED_EVENT, plan.provider, call.sender, *plan.seen, plan.evidence_hash)


def apply_record_breach(call: Call, plan: OutcomePlan) -> None:
    """Adds a breach."""
    _enter(call, plan)
    call.emit(REGISTRY, BREACH_RECORDED_EVENT, plan.provider, call.sender, *plan.seen, plan.evidence_hash)


def reputation_of(state: State, provider: Address) -> tuple[int, int, int, int, int, Hash32]:
    """Receipts and atoms ever minted, failures, disputes, breaches, and the statement in force."""
    minted, recorded = state.provider_usage(provider, 0), read_reputation(state, provider)
    return (
        minted.lifetime_receipts,
        minted.lifetime_atoms,
        recorded.failures,
        recorded.disputes,
        recorded.breaches,
        read_sla(state, provider),
    )


OPERATIONS: Final = (
    Operation(
        module=REGISTRY,
        function=PUBLISH_SLA,
        validate=validate_publish_sla,
        apply=apply_publish_sla,
        is_registration=True,
    ),
    Operation(module=REGISTRY, function=RECORD_OUTCOME, validate=validate_record_outcome, apply=apply_record_outcome),
    Operation(module=REGISTRY, function=RECORD_BREACH, validate=validate_record_breach, apply=apply_record_breach),
)
VIEWS: Final[ViewTable] = {
    (REGISTRY, REPUTATION): lambda call, account: reputation_of(call.state, account),
}
