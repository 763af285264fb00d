"""Promises of service and what attesters saw: who may record what, once per piece of evidence; and what mints count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.hashing import keccak256
from chain.primitives.modules import (
    BREACH_RECORDED_EVENT,
    OUTCOME_RECORDED_EVENT,
    PUBLISH_SLA,
    RECORD_BREACH,
    RECORD_OUTCOME,
    REGISTER,
    REGISTRY,
    REPUTATION,
    SLA_PUBLISHED_EVENT,
    WITHDRAW,
)
from chain.primitives.records import Domain, ProviderUsage, state_key
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS, Hash32
from chain.rules.reputation import MAX_RECORDED, NO_SLA

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import Chain, MakeChain

AMOUNT = 3 * ATOMS_PER_AIT
SLA, LATER_SLA = keccak256(b"promise"), keccak256(b"another promise")
EVIDENCE, MORE_EVIDENCE = keccak256(b"evidence"), keccak256(b"more evidence")


@pytest.fixture
def served_chain(chain: Chain) -> Chain:
    """A registered provider that has promised SLA."""
    chain.add(register(chain, "provider"))
    chain.add(publish(chain, "provider", SLA))
    return chain


def register(chain: Chain, name: str, **fields: int) -> Transaction:
    return chain.call(name, REGISTRY, REGISTER, "", ["tiny-sd"], 1, "images", 0, ZERO_ADDRESS, **fields)


def publish(chain: Chain, name: str, sla_hash: Hash32, **fields: int) -> Transaction:
    return chain.call(name, REGISTRY, PUBLISH_SLA, sla_hash, **fields)


def outcome(
    chain: Chain, sender: str = "attester", *, failures: int = 2, disputes: int = 1, evidence: Hash32 = EVIDENCE
) -> Transaction:
    arguments = (chain.address("provider"), failures, disputes, evidence)
    return chain.call(sender, REGISTRY, RECORD_OUTCOME, *arguments)


def breach(
    chain: Chain, sender: str = "attester", *, sla_hash: Hash32 = SLA, evidence: Hash32 = EVIDENCE
) -> Transaction:
    return chain.call(sender, REGISTRY, RECORD_BREACH, chain.address("provider"), sla_hash, evidence)


def reputation(chain: Chain, name: str = "provider") -> tuple[Any, ...]:
    return REPUTATION.decode_output(chain.raw_view(REGISTRY, REPUTATION.encode(chain.address(name))))


# What mints count


def test_mints_count_receipts_and_atoms_for_life(make_chain: MakeChain) -> None:
    chain = make_chain(period_ms=10_000)
    chain.add(chain.mint("courier", "provider", AMOUNT))
    chain.add(chain.split("courier", [("provider", 5), ("other", 7)]))
    chain.add(chain.mint("courier", "provider", 0))  # A free job is a receipt too.
    assert reputation(chain) == (3, AMOUNT + 5, 0, 0, 0, NO_SLA)
    assert reputation(chain, "other") == (1, 7, 0, 0, 0, NO_SLA)
    # The next period forgets what was used of the cap, and nothing else.
    chain.add(chain.mint("courier", "provider", 11), time_ms=25_000)
    assert chain.read().provider_usage(chain.address("provider"), 2) == ProviderUsage(2, 11, 1, AMOUNT + 16, 4)
    assert chain.read().provider_usage(chain.address("provider"), 3) == ProviderUsage(3, 0, 0, AMOUNT + 16, 4)
    assert reputation(chain) == (4, AMOUNT + 16, 0, 0, 0, NO_SLA)


def test_counting_touches_no_further_record(chain: Chain) -> None:
    provider = chain.address("provider")
    changed = set(chain.add(chain.mint("courier", "provider", AMOUNT)).changes)
    assert {key for key in changed if key.endswith(provider)} == {
        state_key(Domain.ACCOUNT, provider),
        state_key(Domain.PROVIDER_USAGE, provider),
    }


def test_whom_nobody_knows(chain: Chain) -> None:
    assert reputation(chain, "nobody") == (0, 0, 0, 0, 0, NO_SLA)


# Promises


def test_a_promise_is_published_replaced_and_taken_back(chain: Chain) -> None:
    chain.add(register(chain, "provider"))
    (log,) = chain.add(publish(chain, "provider", SLA)).results[0].logs
    assert log.address == REGISTRY
    expected = {"provider": chain.address("provider"), "slaHash": SLA}
    assert SLA_PUBLISHED_EVENT.decode(log.topics, log.data) == expected
    assert reputation(chain)[-1] == SLA
    chain.add(publish(chain, "provider", LATER_SLA))
    assert reputation(chain)[-1] == LATER_SLA
    chain.add(publish(chain, "provider", NO_SLA))
    assert reputation(chain)[-1] == NO_SLA


def test_only_an_active_provider_promises(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.refuse(publish(chain, "provider", SLA), RejectionReason.NOT_REGISTERED)
    chain.fail(publish(chain, "alice", SLA), RejectionReason.NOT_REGISTERED)
    chain.add(register(chain, "alice"))
    chain.add(chain.call("alice", REGISTRY, WITHDRAW))
    chain.fail(publish(chain, "alice", SLA), RejectionReason.NOT_REGISTERED)


def test_a_newcomers_promises_count_towards_the_quota(make_chain: MakeChain) -> None:
    chain = make_chain(registration_quota=2)
    chain.add(register(chain, "provider"))
    chain.add(publish(chain, "provider", SLA))
    chain.refuse(publish(chain, "provider", LATER_SLA), RejectionReason.REGISTRATION_QUOTA)


# What attesters saw


def test_outcomes_add_up(served_chain: Chain) -> None:
    chain = served_chain
    (log,) = chain.add(outcome(chain)).results[0].logs
    assert OUTCOME_RECORDED_EVENT.decode(log.topics, log.data) == {
        "provider": chain.address("provider"),
        "attester": chain.address("attester"),
        "failures": 2,
        "disputes": 1,
        "evidenceHash": EVIDENCE,
    }
    chain.add(outcome(chain, failures=0, disputes=MAX_RECORDED, evidence=MORE_EVIDENCE))
    assert reputation(chain) == (0, 0, 2, 1 + MAX_RECORDED, 0, SLA)


def test_a_breach_of_any_promise_ever_made(served_chain: Chain) -> None:
    chain = served_chain
    (log,) = chain.add(breach(chain)).results[0].logs
    assert BREACH_RECORDED_EVENT.decode(log.topics, log.data) == {
        "provider": chain.address("provider"),
        "attester": chain.address("attester"),
        "slaHash": SLA,
        "evidenceHash": EVIDENCE,
    }
    # Another promise, none at all, or a withdrawal does not make the old one undone.
    chain.add(publish(chain, "provider", LATER_SLA))
    chain.add(publish(chain, "provider", NO_SLA))
    chain.add(chain.call("provider", REGISTRY, WITHDRAW))
    chain.add(breach(chain, evidence=MORE_EVIDENCE))
    assert reputation(chain) == (0, 0, 0, 0, 2, NO_SLA)


@pytest.mark.parametrize("sla_hash", [LATER_SLA, NO_SLA])
def test_a_breach_of_what_was_never_promised(served_chain: Chain, sla_hash: Hash32) -> None:
    served_chain.fail(breach(served_chain, sla_hash=sla_hash), RejectionReason.UNKNOWN_SLA)


@pytest.mark.parametrize(
    ("failures", "disputes"), [(0, 0), (MAX_RECORDED + 1, 0), (0, MAX_RECORDED + 1), (2**64 - 1, 2**64 - 1)]
)
def test_records_are_bounded(served_chain: Chain, failures: int, disputes: int) -> None:
    served_chain.fail(outcome(served_chain, failures=failures, disputes=disputes), RejectionReason.OUT_OF_RANGE)


def test_evidence_counts_once(served_chain: Chain) -> None:
    chain = served_chain
    chain.add(outcome(chain))
    chain.fail(outcome(chain, failures=1), RejectionReason.EVIDENCE_USED)
    chain.fail(breach(chain), RejectionReason.EVIDENCE_USED)
    assert reputation(chain) == (0, 0, 2, 1, 0, SLA)
    # About another provider, the same evidence is another record.
    chain.add(register(chain, "other"))
    arguments = (chain.address("other"), 1, 0, EVIDENCE)
    chain.add(chain.call("attester", REGISTRY, RECORD_OUTCOME, *arguments))
    assert reputation(chain, "other")[2] == 1


def test_only_attesters_record(served_chain: Chain) -> None:
    chain = served_chain
    chain.give("alice")
    for sender in ("alice", "validator-0"):
        chain.fail(outcome(chain, sender), RejectionReason.NOT_AN_ATTESTER)
        chain.fail(breach(chain, sender), RejectionReason.NOT_AN_ATTESTER)
    chain.refuse(outcome(chain, "provider"), RejectionReason.NEWCOMER_CALL)


def test_only_of_providers(chain: Chain) -> None:
    chain.fail(outcome(chain), RejectionReason.NOT_REGISTERED)
    chain.fail(breach(chain), RejectionReason.NOT_REGISTERED)
