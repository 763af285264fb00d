"""Validators propose, approve and execute: a quorum for everything, f + 1 for a pause, and nothing without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives import modules
from chain.primitives.certificate import faulty_bound, quorum, validators_hash
from chain.primitives.consent import sign_consent
from chain.primitives.modules import (
    ADD_ISSUER,
    APPROVE_PROPOSAL,
    APPROVED_EVENT,
    EXECUTE,
    EXECUTED_EVENT,
    GOVERNANCE,
    MINTER,
    PAUSE,
    PAUSED,
    PROPOSE,
    PROPOSED_EVENT,
    REGISTRY,
    REMOVE_ATTESTER,
    REMOVE_ISSUER,
    SCHEDULE_UPGRADE,
    SET_ATTESTER,
    SET_ATTESTER_ALLOWANCE,
    SET_PARAMETER,
    TOKEN,
    UNPAUSE,
)
from chain.primitives.parameters import PARAMETER_BOUNDS, Parameters
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import MAX_UINT256, ZERO_ADDRESS, Address
from chain.rules.governance import MAX_CALL_DATA_BYTES, MAX_OPEN_PROPOSALS
from chain.rules.governed import MAX_ISSUERS

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import Chain, MakeChain

INVALID = RejectionReason.INVALID_CHANGE
SIZES = [1, 4, 7]


def propose(chain: Chain, sender: str, call_data: bytes, target: Address = GOVERNANCE, **fields: int) -> Transaction:
    return chain.call(sender, GOVERNANCE, PROPOSE, target, call_data, **fields)


def approve(chain: Chain, sender: str, number: int, **fields: int) -> Transaction:
    return chain.call(sender, GOVERNANCE, APPROVE_PROPOSAL, number, **fields)


def execute(chain: Chain, sender: str, number: int, **fields: int) -> Transaction:
    return chain.call(sender, GOVERNANCE, EXECUTE, number, **fields)


def assert_impossible(
    chain: Chain, call_data: bytes, reason: RejectionReason = INVALID, target: Address = GOVERNANCE
) -> None:
    """A quorum proposes and approves the call, but it cannot be executed, and its proposal stays open."""
    *others, last = chain.decision(target, call_data)
    chain.fail(last, reason, after=others)


# Quorums


@pytest.mark.parametrize("count", SIZES)
def test_a_quorum_carries_a_proposal_and_one_fewer_does_not(make_chain: MakeChain, count: int) -> None:
    # Given a proposal that its proposer has approved by proposing
    chain = make_chain(validators=count)
    first, last = chain.validators[0], chain.validators[-1]
    chain.add(propose(chain, first, SET_PARAMETER.encode("account_quota", 77)))
    # When one approval fewer than a quorum is there, then nobody can execute it
    for name in chain.validators[1 : quorum(count) - 1]:
        chain.add(approve(chain, name, 1))
    if count > 1:
        rejection = chain.fail(execute(chain, last, 1), RejectionReason.QUORUM_MISSING)
        assert f"{quorum(count) - 1} of {quorum(count)}" in rejection.message
        chain.fail(execute(chain, first, 1), RejectionReason.QUORUM_MISSING)
        chain.add(approve(chain, chain.validators[quorum(count) - 1], 1))
    # When the quorum is there, then any validator can, also one that did not approve
    assert chain.read().parameters().account_quota == Parameters().account_quota
    chain.add(execute(chain, last, 1))
    assert chain.read().parameters() == Parameters(account_quota=77)
    # And once only
    chain.fail(execute(chain, last, 1), RejectionReason.PROPOSAL_CLOSED)
    chain.fail(approve(chain, last, 1), RejectionReason.PROPOSAL_CLOSED)


@pytest.mark.parametrize("count", SIZES)
def test_fewer_hands_pause_than_unpause(make_chain: MakeChain, count: int) -> None:
    chain = make_chain(validators=count)
    few = faulty_bound(count) + 1
    # f validators cannot pause: they may all be malicious
    chain.add(propose(chain, "validator-0", PAUSE.encode()))
    for name in chain.validators[1 : few - 1]:
        chain.add(approve(chain, name, 1))
    if few > 1:
        chain.fail(execute(chain, "validator-0", 1), RejectionReason.QUORUM_MISSING)
        chain.add(approve(chain, chain.validators[few - 1], 1))
    # f + 1 can
    chain.add(execute(chain, "validator-0", 1))
    assert chain.view(GOVERNANCE, PAUSED) is True
    chain.refuse(chain.mint("courier", "p", 1), RejectionReason.MINTING_PAUSED)
    # f + 1 cannot undo it
    chain.add(propose(chain, "validator-0", UNPAUSE.encode()))
    for name in chain.validators[1 : quorum(count) - 1]:
        chain.add(approve(chain, name, 2))
    if quorum(count) > 1:
        chain.fail(execute(chain, "validator-0", 2), RejectionReason.QUORUM_MISSING)
        chain.add(approve(chain, chain.validators[quorum(count) - 1], 2))
    # A quorum can
    chain.add(execute(chain, "validator-0", 2))
    assert chain.view(GOVERNANCE, PAUSED) is False
    chain.add(chain.mint("courier", "p", 1))


def test_an_old_decision_to_pause_does_not_pause_again(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    chain.add(propose(chain, "validator-0", PAUSE.encode()), approve(chain, "validator-1", 1))
    chain.add(execute(chain, "validator-0", 1))
    chain.govern(GOVERNANCE, UNPAUSE.encode())
    chain.fail(execute(chain, "validator-0", 1), RejectionReason.PROPOSAL_CLOSED)


@pytest.mark.parametrize("count", SIZES)
def test_one_validator_approves_once(make_chain: MakeChain, count: int) -> None:
    chain, again = make_chain(validators=count), RejectionReason.ALREADY_APPROVED
    made = propose(chain, "validator-0", UNPAUSE.encode())
    chain.fail(approve(chain, "validator-0", 1, later=1), again, after=[made])
    chain.add(made)
    chain.fail(approve(chain, "validator-0", 1), again)
    if count > 1:
        first = approve(chain, "validator-1", 1)
        chain.fail(approve(chain, "validator-1", 1, later=1), again, after=[first])
        chain.add(first)
        chain.fail(approve(chain, "validator-1", 1), again)
        proposal = chain.read().proposal(1)
        assert proposal is not None
        assert proposal.approvals == (chain.address("validator-0"), chain.address("validator-1"))


def test_only_validators_have_a_say(make_chain: MakeChain) -> None:
    chain, reason = make_chain(validators=4), RejectionReason.NOT_A_VALIDATOR
    chain.give("alice")
    chain.add(propose(chain, "validator-0", PAUSE.encode()))
    for name in ("alice", "attester"):
        chain.fail(propose(chain, name, PAUSE.encode()), reason)
        chain.fail(approve(chain, name, 1), reason)
        chain.fail(execute(chain, name, 1), reason)
    for transaction in (propose(chain, "x", PAUSE.encode()), approve(chain, "x", 1), execute(chain, "x", 1)):
        chain.refuse(transaction, RejectionReason.NEWCOMER_CALL)


@pytest.mark.parametrize("removed", ["validator-1", "validator-2"])
def test_approvals_of_removed_validators_do_not_count(make_chain: MakeChain, removed: str) -> None:
    # Given three of four approvals
    chain = make_chain(validators=4)
    chain.add(propose(chain, "validator-0", SET_PARAMETER.encode("account_quota", 77)))
    chain.add(approve(chain, "validator-1", 1), approve(chain, "validator-2", 1))
    assert chain.build(execute(chain, "validator-0", 1)).outcome.failures == (None,)
    # When one of the three is replaced by somebody else
    key = chain.key("validator-9")
    consent = sign_consent(key, chain_id=chain.network.chain_id, expires_at_ms=chain.head.time_ms + 60_000)
    values = (chain.address(removed), consent.public_key, consent.expires_at_ms, consent.signature)
    chain.govern(GOVERNANCE, modules.ROTATE_VALIDATOR.encode(*values))
    # Then its approval is gone, and it has no say
    chain.fail(execute(chain, "validator-0", 1), RejectionReason.QUORUM_MISSING)
    chain.refuse(execute(chain, removed, 1), RejectionReason.NEWCOMER_CALL)
    chain.add(approve(chain, "validator-9", 1))
    chain.add(execute(chain, "validator-3", 1))
    assert chain.read().parameters().account_quota == 77


def test_a_header_names_the_validators_of_the_next_block(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    assert chain.build().block.header.next_validators_hash == validators_hash(0, chain.read().validators())


# Proposals


def test_events_and_record_of_a_proposal(make_chain: MakeChain) -> None:
    chain = make_chain(validators=1)
    outcome = chain.govern(GOVERNANCE, PAUSE.encode())
    proposed, approved = outcome.results[0].logs
    assert PROPOSED_EVENT.decode(proposed.topics, proposed.data) == {
        "proposalId": 1,
        "proposer": chain.address("validator-0"),
        "target": GOVERNANCE,
        "callData": PAUSE.selector,
    }
    assert APPROVED_EVENT.decode(approved.topics, approved.data)["proposalId"] == 1
    paused, executed = outcome.results[1].logs
    assert paused.topics == (modules.PAUSED_EVENT.topic,)
    assert EXECUTED_EVENT.decode(executed.topics, executed.data) == {"proposalId": 1}
    proposal = chain.read().proposal(1)
    assert proposal is not None
    assert proposal.executed
    assert (proposal.created_at_ms, proposal.lapses_at_ms) == (1_000, 1_000 + Parameters().proposal_lifetime_ms)


@pytest.mark.parametrize("number", [0, 2, 3, 2**32, 2**63, 2**64 - 1, 2**64, 2**64 + 1, MAX_UINT256])
def test_unknown_proposals(chain: Chain, number: int) -> None:
    chain.add(propose(chain, "validator-0", PAUSE.encode()))
    for transaction in (approve(chain, "validator-0", number), execute(chain, "validator-0", number)):
        chain.fail(transaction, RejectionReason.UNKNOWN_PROPOSAL)


@pytest.mark.parametrize("lifetime_ms", [3_600_000, 86_400_000])
def test_a_proposal_lapses_to_the_millisecond(make_chain: MakeChain, lifetime_ms: int) -> None:
    chain = make_chain(validators=4, proposal_lifetime_ms=lifetime_ms)
    chain.add(propose(chain, "validator-0", PAUSE.encode()), approve(chain, "validator-1", 1))
    last_ms = chain.head.time_ms + lifetime_ms
    for transaction in (approve(chain, "validator-2", 1), execute(chain, "validator-0", 1)):
        assert chain.build(transaction, time_ms=last_ms).outcome.failures == (None,)
        chain.fail(transaction, RejectionReason.PROPOSAL_CLOSED, time_ms=last_ms + 1)


def test_a_longer_lifetime_does_not_bring_back_what_has_lapsed(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4, proposal_lifetime_ms=3_600_000)
    # Given a proposal with two approvals that has lapsed
    chain.add(propose(chain, "validator-0", ADD_ISSUER.encode(chain.address("x"))), approve(chain, "validator-1", 1))
    chain.add(time_ms=chain.head.time_ms + 3_600_001)
    # When proposals get a longer lifetime
    chain.set_parameter("proposal_lifetime_ms", 86_400_000)
    # Then it stays closed
    chain.fail(approve(chain, "validator-2", 1), RejectionReason.PROPOSAL_CLOSED)
    # And a shorter one does not cut off what was promised to those who proposed before
    chain.add(propose(chain, "validator-0", ADD_ISSUER.encode(chain.address("x"))))
    chain.set_parameter("proposal_lifetime_ms", 3_600_000)
    late = chain.head.time_ms + 3_600_000
    assert chain.build(approve(chain, "validator-2", 3), time_ms=late).outcome.failures == (None,)


def test_open_proposals_are_bounded(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4, proposal_lifetime_ms=3_600_000)
    made = [propose(chain, "validator-0", PAUSE.encode(), later=later) for later in range(MAX_OPEN_PROPOSALS + 1)]
    chain.fail(made[-1], RejectionReason.TOO_MANY_PROPOSALS, after=made[:-1])
    chain.add(*made[:-1])
    chain.fail(made[-1], RejectionReason.TOO_MANY_PROPOSALS)
    # Somebody else's are counted apart
    chain.add(propose(chain, "validator-1", UNPAUSE.encode()))
    # One executed makes room for one
    chain.add(approve(chain, "validator-1", 3), execute(chain, "validator-0", 3))
    chain.add(propose(chain, "validator-0", PAUSE.encode()))
    chain.fail(propose(chain, "validator-0", PAUSE.encode()), RejectionReason.TOO_MANY_PROPOSALS)
    # And lapsed ones make room for all
    chain.add(time_ms=chain.head.time_ms + 3_600_001)
    chain.add(*(propose(chain, "validator-0", PAUSE.encode(), later=later) for later in range(MAX_OPEN_PROPOSALS)))
    chain.fail(propose(chain, "validator-0", PAUSE.encode()), RejectionReason.TOO_MANY_PROPOSALS)
    assert len(chain.read().open_proposals(chain.address("validator-0"))) == MAX_OPEN_PROPOSALS


@pytest.mark.parametrize(
    ("target", "call_data", "reason"),
    [
        (GOVERNANCE, PROPOSE.encode(GOVERNANCE, PAUSE.encode()), RejectionReason.UNKNOWN_CALL),
        (GOVERNANCE, APPROVE_PROPOSAL.encode(1), RejectionReason.UNKNOWN_CALL),
        (GOVERNANCE, EXECUTE.encode(1), RejectionReason.UNKNOWN_CALL),
        (GOVERNANCE, PAUSED.encode(), RejectionReason.UNKNOWN_CALL),
        (GOVERNANCE, SET_ATTESTER.encode(bytes(20)), RejectionReason.UNKNOWN_CALL),
        (MINTER, PAUSE.encode(), RejectionReason.UNKNOWN_CALL),
        (MINTER, modules.MINT_WITH_RECEIPT.encode(bytes(20), 1, bytes(32), b""), RejectionReason.UNKNOWN_CALL),
        (TOKEN, modules.TOKEN_TRANSFER.encode(bytes(20), 1), RejectionReason.UNKNOWN_CALL),
        (TOKEN, modules.TOKEN_APPROVE.encode(bytes(20), 1), RejectionReason.UNKNOWN_CALL),
        (REGISTRY, modules.WITHDRAW.encode(), RejectionReason.UNKNOWN_CALL),
        (ZERO_ADDRESS, b"", RejectionReason.UNKNOWN_CALL),
        (GOVERNANCE, b"", RejectionReason.UNKNOWN_CALL),
        (GOVERNANCE, PAUSE.selector[:3], RejectionReason.UNKNOWN_CALL),
        (GOVERNANCE, PAUSE.encode() + b"\0", RejectionReason.NON_CANONICAL),
        (GOVERNANCE, SET_PARAMETER.selector, RejectionReason.MALFORMED),
        (GOVERNANCE, SET_PARAMETER.encode("account_quota", 5) + bytes(32), RejectionReason.NON_CANONICAL),
        (GOVERNANCE, SET_PARAMETER.selector + bytes(MAX_CALL_DATA_BYTES - 3), RejectionReason.TOO_LARGE),
        (GOVERNANCE, SET_PARAMETER.selector + bytes(MAX_CALL_DATA_BYTES - 4), RejectionReason.NON_CANONICAL),
    ],
)
def test_only_calls_that_governance_can_make_are_proposed(
    chain: Chain, target: Address, call_data: bytes, reason: RejectionReason
) -> None:
    chain.fail(propose(chain, "validator-0", call_data, target), reason)


def _governed_calls(chain: Chain) -> list[tuple[Address, bytes]]:
    address = chain.address("x")
    return [
        (GOVERNANCE, SET_PARAMETER.encode("account_quota", 5)),
        (GOVERNANCE, SET_ATTESTER_ALLOWANCE.encode(address, 5, 5)),
        (GOVERNANCE, REMOVE_ATTESTER.encode(address)),
        (GOVERNANCE, PAUSE.encode()),
        (GOVERNANCE, UNPAUSE.encode()),
        (GOVERNANCE, ADD_ISSUER.encode(address)),
        (GOVERNANCE, REMOVE_ISSUER.encode(address)),
        (GOVERNANCE, SCHEDULE_UPGRADE.encode(2, 100)),
        (GOVERNANCE, modules.ADD_VALIDATOR.encode(chain.key("x").public_key, 2**62, bytes(65))),
        (GOVERNANCE, modules.REMOVE_VALIDATOR.encode(chain.address("validator-0"))),
        (GOVERNANCE, modules.ROTATE_VALIDATOR.encode(address, chain.key("x").public_key, 2**62, bytes(65))),
        (GOVERNANCE, modules.FORCE_EPOCH.encode()),
        (MINTER, SET_ATTESTER.encode(address)),
    ]


def test_governed_calls_are_not_made_directly(rich_chain: Chain) -> None:
    chain = rich_chain
    for target, call_data in _governed_calls(chain):
        for sender in ("validator-0", "attester", "alice"):
            transaction = chain.send(sender, target, data=call_data)
            chain.fail(transaction, RejectionReason.NOT_GOVERNANCE)
        chain.refuse(chain.send("newcomer", target, data=call_data), RejectionReason.NEWCOMER_CALL)


def test_what_cannot_be_executed_now_may_be_later(chain: Chain) -> None:
    made, unpause = chain.decision(GOVERNANCE, UNPAUSE.encode())
    chain.fail(unpause, INVALID, after=[made])
    chain.add(made)
    chain.govern(GOVERNANCE, PAUSE.encode())
    chain.add(execute(chain, "validator-0", 1))
    assert chain.view(GOVERNANCE, PAUSED) is False


def test_proposals_of_one_block_do_not_disturb_each_other(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    calls = [PAUSE.encode(), UNPAUSE.encode(), SET_PARAMETER.encode("account_quota", 5)]
    outcome = chain.add(
        *(propose(chain, f"validator-{index}", call_data) for index, call_data in enumerate(calls)),
        approve(chain, "validator-1", 1, later=1),
        execute(chain, "validator-3", 1),
        approve(chain, "validator-0", 2, later=1),
        approve(chain, "validator-2", 2, later=1),
        approve(chain, "validator-0", 3, later=2),
        approve(chain, "validator-1", 3, later=2),
        execute(chain, "validator-3", 3, later=1),
        execute(chain, "validator-3", 2, later=2),
    )
    assert len(outcome.results) == 11
    assert chain.view(GOVERNANCE, PAUSED) is False
    assert chain.read().parameters().account_quota == 5
    assert chain.read().proposal_count() == 3


# Parameters


@pytest.mark.parametrize("name", PARAMETER_BOUNDS)
def test_a_parameter_within_its_bounds(make_chain: MakeChain, name: str) -> None:
    chain = make_chain(attesters={f"a{index}": (1, 1) for index in range(16)})
    lowest, highest = PARAMETER_BOUNDS[name]
    assert_impossible(chain, SET_PARAMETER.encode(name, highest + 1), RejectionReason.OUT_OF_RANGE)
    assert_impossible(chain, SET_PARAMETER.encode(name, MAX_UINT256), RejectionReason.OUT_OF_RANGE)
    if lowest:
        assert_impossible(chain, SET_PARAMETER.encode(name, lowest - 1), RejectionReason.OUT_OF_RANGE)
    # Whatever governance sets within the bounds, it can set back: nothing locks it out.
    default = getattr(Parameters(), name)
    for value in (lowest, highest, default):
        for transaction in chain.decision(GOVERNANCE, SET_PARAMETER.encode(name, value)):
            chain.add(transaction)  # A block for each, since the quota may be 1.
        assert getattr(chain.read().parameters(), name) == value
        assert chain.view(GOVERNANCE, modules.PARAMETER, name) == value


@pytest.mark.parametrize("edge", [0, 1])
def test_governance_acts_with_all_parameters_at_their_edges(make_chain: MakeChain, edge: int) -> None:
    values = {name: bounds[edge] for name, bounds in PARAMETER_BOUNDS.items()}
    chain = make_chain(validators=4, attesters={f"a{index}": (1, 1) for index in range(16)}, **values)
    number = 1
    chain.add(propose(chain, "validator-0", SET_PARAMETER.encode("account_quota", 9)))
    for name in chain.validators[1:3]:
        chain.add(approve(chain, name, number))
    chain.add(execute(chain, "validator-0", number))
    assert chain.read().parameters().account_quota == 9


def test_a_mint_with_the_highest_threshold_fits_the_smallest_block(make_chain: MakeChain) -> None:
    chain = make_chain(
        attesters={f"a{index}": (10**24, 100) for index in range(16)},
        attester_threshold=16,
        max_block_recoveries=32,
        max_block_transactions=1,
        max_block_bytes=64 * 1024,
        account_quota=1,
    )
    signers = [f"a{index}" for index in range(16)]
    chain.add(chain.mint("courier", "p", 5, signers=signers))
    chain.add(chain.split("courier", [(f"p{index}", 1) for index in range(128)], signers=signers))


@pytest.mark.parametrize(
    "name", ["", "Account_quota", "account_quota ", "encode", "__class__", "changed", "\0", "é" * 999]
)
def test_an_unknown_parameter(chain: Chain, name: str) -> None:
    assert_impossible(chain, SET_PARAMETER.encode(name, 5), RejectionReason.UNKNOWN_PARAMETER)


def test_a_change_of_the_period_starts_usage_anew(make_chain: MakeChain) -> None:
    chain = make_chain(attesters={"attester": (10, 100)}, period_ms=50_000)
    chain.add(time_ms=100_000)
    chain.add(chain.mint("courier", "p", 10))
    chain.refuse(chain.mint("courier", "p", 1), RejectionReason.ATTESTER_ALLOWANCE)
    chain.set_parameter("period_ms", 20_000)
    chain.add(chain.mint("courier", "p", 10))


# Attesters


def test_the_threshold_stays_within_the_attesters(make_chain: MakeChain) -> None:
    chain = make_chain(attesters={"a": (1, 1), "b": (1, 1)})
    assert_impossible(chain, SET_PARAMETER.encode("attester_threshold", 3))
    chain.set_parameter("attester_threshold", 2)
    for name in ("a", "b"):
        assert_impossible(chain, REMOVE_ATTESTER.encode(chain.address(name)))
    chain.govern(GOVERNANCE, SET_ATTESTER_ALLOWANCE.encode(chain.address("c"), 1, 1))
    chain.govern(GOVERNANCE, REMOVE_ATTESTER.encode(chain.address("a")))
    assert [attester.address for attester in chain.read().attesters()] == [chain.address("b"), chain.address("c")]
    assert_impossible(chain, REMOVE_ATTESTER.encode(chain.address("a")))
    chain.set_parameter("attester_threshold", 1)
    assert_impossible(chain, REMOVE_ATTESTER.encode(chain.address("stranger")))
    chain.govern(GOVERNANCE, REMOVE_ATTESTER.encode(chain.address("b")))
    assert_impossible(chain, REMOVE_ATTESTER.encode(chain.address("c")))  # The last one.


def test_an_allowance_adds_or_changes_an_attester(chain: Chain) -> None:
    x = chain.address("x")
    assert chain.view(MINTER, modules.IS_ATTESTER, x) is False
    for allowance in ((5, 6), (2**200, 2**63 - 1), (0, 0)):
        outcome = chain.govern(GOVERNANCE, SET_ATTESTER_ALLOWANCE.encode(x, *allowance))
        assert chain.view(MINTER, modules.IS_ATTESTER, x) is True
        assert [attester.address for attester in chain.read().attesters()] == [chain.address("attester"), x]
        entry = chain.read().attester(x)
        assert entry is not None
        assert (entry.atoms_per_period, entry.receipts_per_period) == allowance
        log = outcome.results[-1].logs[0]
        assert modules.ATTESTER_ALLOWANCE_EVENT.decode(log.topics, log.data)["attester"] == x
    assert chain.view(MINTER, modules.ATTESTER) == chain.address("attester")


@pytest.mark.parametrize(("atoms", "receipts"), [(2**200 + 1, 1), (1, 2**63), (MAX_UINT256, 1), (1, MAX_UINT256)])
def test_an_allowance_above_the_bounds(chain: Chain, atoms: int, receipts: int) -> None:
    call_data = SET_ATTESTER_ALLOWANCE.encode(chain.address("x"), atoms, receipts)
    assert_impossible(chain, call_data, RejectionReason.OUT_OF_RANGE)


def test_attesters_are_ordinary_addresses_and_bounded(make_chain: MakeChain) -> None:
    chain = make_chain(attesters={f"a{index}": (1, 1) for index in range(31)})
    for address in (ZERO_ADDRESS, *modules.MODULES.values()):
        assert_impossible(chain, SET_ATTESTER_ALLOWANCE.encode(address, 1, 1))
        assert_impossible(chain, SET_ATTESTER.encode(address), target=MINTER)
    chain.govern(GOVERNANCE, SET_ATTESTER_ALLOWANCE.encode(chain.address("a31"), 1, 1))
    assert_impossible(chain, SET_ATTESTER_ALLOWANCE.encode(chain.address("a32"), 1, 1))
    chain.govern(GOVERNANCE, SET_ATTESTER_ALLOWANCE.encode(chain.address("a31"), 2, 2))  # A change is no addition.


# Pause, issuers, upgrades


def test_pause_and_unpause_need_each_other(chain: Chain) -> None:
    assert_impossible(chain, UNPAUSE.encode())
    chain.govern(GOVERNANCE, PAUSE.encode())
    assert_impossible(chain, PAUSE.encode())
    chain.govern(GOVERNANCE, UNPAUSE.encode())
    assert state_key(Domain.MINTING_PAUSED) not in chain.state.records
    assert_impossible(chain, UNPAUSE.encode())


def test_issuers(chain: Chain) -> None:
    x = chain.address("x")
    assert_impossible(chain, REMOVE_ISSUER.encode(x))
    for address in (ZERO_ADDRESS, *modules.MODULES.values()):
        assert_impossible(chain, ADD_ISSUER.encode(address))
    chain.govern(GOVERNANCE, ADD_ISSUER.encode(x))
    assert chain.view(GOVERNANCE, modules.IS_ISSUER, x) is True
    assert_impossible(chain, ADD_ISSUER.encode(x))
    chain.govern(GOVERNANCE, REMOVE_ISSUER.encode(x))
    assert chain.view(GOVERNANCE, modules.IS_ISSUER, x) is False
    assert state_key(Domain.ISSUERS) not in chain.state.records
    for index in range(MAX_ISSUERS):
        chain.govern(GOVERNANCE, ADD_ISSUER.encode(chain.address(f"issuer-{index}")))
    assert_impossible(chain, ADD_ISSUER.encode(x))


def test_an_upgrade_is_the_next_version_at_a_height_ahead(chain: Chain) -> None:
    height = chain.head.height + 1  # Of the block that executes it.
    for version, at in (
        (2, height),
        (2, height - 1),
        (2, 0),
        (2, 2**62),
        (2, MAX_UINT256),
        (0, height + 5),
        (1, height + 5),
        (3, height + 5),
        (MAX_UINT256, height + 5),
    ):
        assert_impossible(chain, SCHEDULE_UPGRADE.encode(version, at))
    chain.govern(GOVERNANCE, SCHEDULE_UPGRADE.encode(2, height + 5))
    assert [chain.read().upgrade().version_at(at) for at in (height, height + 4, height + 5)] == [1, 1, 2]
    # As long as it has not come, its height can be moved.
    chain.govern(GOVERNANCE, SCHEDULE_UPGRADE.encode(2, 2**62 - 1))
    assert chain.read().upgrade().version_at(height + 5) == 1
    assert_impossible(chain, SCHEDULE_UPGRADE.encode(3, 2**61))


def test_every_governed_call_is_reachable_only_by_a_quorum(make_chain: MakeChain) -> None:
    """Three malicious validators of seven (one more than f) can pause, and nothing else."""
    chain = make_chain(validators=7)
    chain.govern(GOVERNANCE, ADD_ISSUER.encode(chain.address("x")))
    for target, call_data in _governed_calls(chain):
        number = chain.read().proposal_count() + 1
        attack: list[Any] = [
            propose(chain, "validator-4", call_data, target),
            approve(chain, "validator-5", number),
            approve(chain, "validator-6", number),
        ]
        last = execute(chain, "validator-4", number, later=1)
        if call_data == PAUSE.encode():
            assert chain.build(*attack, last).outcome.failures[-1] is None
        else:
            chain.fail(last, RejectionReason.QUORUM_MISSING, after=attack)
