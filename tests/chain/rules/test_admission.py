"""Who may send what: newcomers, members and roles, the quota of registrations, fees, and what the mempool asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chain.primitives import modules
from chain.primitives.keys import recover_address
from chain.primitives.market import ADD_AUTHORITY
from chain.primitives.modules import GOVERNANCE, MARKET, MINTER, REGISTRY, TOKEN
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS
from chain.rules.admission import (
    Admission,
    Lane,
    check_admission,
    check_envelope,
    check_nonce,
    special_roles,
    total_cost,
)
from chain.rules.call import BlockContext
from chain.rules.state import State

if TYPE_CHECKING:
    from tests.chain.rules.conftest import Chain, MakeChain

MIN_HOLDING = 10**12
OFFER = ("http://p.example", ["tiny-sd"], 5, "gpu_seconds", 8_192)


def register(chain: Chain, name: str, **fields: int) -> Transaction:
    """A registration that would succeed."""
    return chain.call(name, REGISTRY, modules.REGISTER, *OFFER, ZERO_ADDRESS, **fields)


def admit(chain: Chain, transaction: Transaction, *, waiting: int = 0) -> Admission:
    """What the mempool asks on the head, where `waiting` of the sender's transactions wait already."""
    state = State(chain.state)
    block = BlockContext(chain.network.chain_id, chain.head.height + 1, chain.head.time_ms + 1_000, recover_address)
    admission = check_admission(
        state,
        transaction,
        block,
        next_nonce=lambda sender: state.account(sender).nonce + waiting,
        roles=special_roles(state),
    )
    assert state.changes() == {}
    return admission


def assert_not_admitted(chain: Chain, transaction: Transaction, reason: RejectionReason, *, waiting: int = 0) -> None:
    """The mempool refuses it for this reason."""
    with pytest.raises(Rejected) as caught:
        admit(chain, transaction, waiting=waiting)
    assert caught.value.reason is reason, caught.value.message


# Newcomers


def test_a_newcomer_may_only_mint_or_register(chain: Chain) -> None:
    other = chain.address("other")
    for transaction in (
        chain.transfer("new", "other", 0),
        chain.transfer("new", "new", 0),
        chain.call("new", TOKEN, modules.TOKEN_TRANSFER, other, 0),
        chain.call("new", TOKEN, modules.TOKEN_APPROVE, other, 5),
        chain.call("new", TOKEN, modules.TOKEN_TRANSFER_FROM, other, other, 0),
        chain.call("new", REGISTRY, modules.SET_PAYOUT, other, other),
        chain.call("new", GOVERNANCE, modules.PROPOSE, GOVERNANCE, modules.PAUSE.encode()),
        chain.call("new", GOVERNANCE, modules.APPROVE_PROPOSAL, 1),
        chain.call("new", GOVERNANCE, modules.EXECUTE, 1),
        chain.call("new", GOVERNANCE, modules.PAUSE),
        chain.call("new", MINTER, modules.SET_ATTESTER, other),
    ):
        chain.refuse(transaction, RejectionReason.NEWCOMER_CALL)
        assert_not_admitted(chain, transaction, RejectionReason.NEWCOMER_CALL)


def test_a_newcomers_mint_is_in_a_block_only_if_it_succeeds(chain: Chain) -> None:
    good, receipt = chain.receipt_hash(), chain.receipt_hash()
    for transaction, reason in (
        (chain.mint("new", "new", 5, signers=["new"]), RejectionReason.NOT_AN_ATTESTER),
        (chain.mint("new", "new", 5, signers=[]), RejectionReason.SIGNATURE_COUNT),
        (chain.mint("new", "new", 2**200, signers=["attester"]), RejectionReason.RECEIPT_CEILING),
        (chain.split("new", [("a", 1), ("a", 1)]), RejectionReason.INVALID_SPLIT),
        (chain.split("new", [("a", 1), ("b", 1)], signers=["new"]), RejectionReason.NOT_AN_ATTESTER),
    ):
        chain.refuse(transaction, reason)
        assert_not_admitted(chain, transaction, reason)
    first = chain.mint("new", "new", 5, receipt)
    chain.refuse(chain.mint("other", "new", 5, receipt), RejectionReason.RECEIPT_USED, after=[first])
    assert admit(chain, first).lane is Lane.MINT
    chain.add(first, chain.mint("third", "third", 5, good))
    late = chain.mint("other", "new", 5, receipt)
    chain.refuse(late, RejectionReason.RECEIPT_USED)
    assert_not_admitted(chain, late, RejectionReason.RECEIPT_USED)


def test_the_same_call_of_a_member_is_included_and_fails(rich_chain: Chain) -> None:
    transaction = rich_chain.mint("alice", "alice", 5, signers=["bob"])
    rich_chain.fail(transaction, RejectionReason.NOT_AN_ATTESTER)
    # Nevertheless the mempool does not take it: it would keep the provider's own mint for that receipt waiting.
    assert_not_admitted(rich_chain, transaction, RejectionReason.NOT_AN_ATTESTER)


def test_a_newcomer_may_mint_for_somebody_else(chain: Chain) -> None:
    outcome = chain.add(chain.mint("courier", "provider", ATOMS_PER_AIT))
    assert (chain.balance("provider"), chain.balance("courier"), chain.nonce("courier")) == (ATOMS_PER_AIT, 0, 1)
    assert outcome.senders == (chain.address("courier"),)


def test_a_newcomers_registration_must_succeed(chain: Chain) -> None:
    for transaction, reason in (
        (chain.call("new", REGISTRY, modules.WITHDRAW), RejectionReason.NOT_REGISTERED),
        (chain.call("new", REGISTRY, modules.UPDATE, *OFFER), RejectionReason.NOT_REGISTERED),
        (
            chain.call("new", REGISTRY, modules.REGISTER, "ftp://x", *OFFER[1:], ZERO_ADDRESS),
            RejectionReason.INVALID_REGISTRATION,
        ),
    ):
        chain.refuse(transaction, reason)
        assert_not_admitted(chain, transaction, reason)
    assert admit(chain, register(chain, "new")).lane is Lane.REGISTRATION
    chain.add(register(chain, "new"))
    chain.refuse(register(chain, "new"), RejectionReason.ALREADY_REGISTERED)


def test_registrations_of_newcomers_have_a_global_quota(make_chain: MakeChain) -> None:
    # Given a quota of 3 per period, and one provider who holds something
    period_ms = 10_000
    chain = make_chain(registration_quota=3, period_ms=period_ms)
    chain.give("alice")
    # When newcomers use it up, by registrations and by updates
    update = chain.call("b", REGISTRY, modules.UPDATE, *OFFER, later=1)
    chain.add(register(chain, "a"), register(chain, "b"), update)
    # Then no newcomer can register in this period, within a block or over blocks
    chain.refuse(register(chain, "c"), RejectionReason.REGISTRATION_QUOTA)
    assert_not_admitted(chain, register(chain, "c"), RejectionReason.REGISTRATION_QUOTA)
    withdraw = chain.call("a", REGISTRY, modules.WITHDRAW)
    chain.refuse(withdraw, RejectionReason.REGISTRATION_QUOTA)
    # And a member still can, without touching the quota
    assert admit(chain, register(chain, "alice")).lane is Lane.MEMBER
    chain.add(register(chain, "alice"))
    # And in the next period newcomers can again
    chain.refuse(withdraw, RejectionReason.REGISTRATION_QUOTA, time_ms=period_ms - 1)
    chain.add(withdraw, register(chain, "c"), register(chain, "d"), time_ms=period_ms)
    chain.refuse(register(chain, "e"), RejectionReason.REGISTRATION_QUOTA)


def test_a_refused_registration_uses_no_quota(make_chain: MakeChain) -> None:
    chain = make_chain(registration_quota=1)
    bad = chain.call("a", REGISTRY, modules.WITHDRAW)
    chain.refuse(bad, RejectionReason.NOT_REGISTERED)
    proposal = chain.build(bad, register(chain, "b"), register(chain, "c"))
    assert [why.reason for _, why in proposal.rejected] == [
        RejectionReason.NOT_REGISTERED,
        RejectionReason.REGISTRATION_QUOTA,
    ]
    chain.adopt(proposal)


def test_what_newcomers_can_add_to_the_state_is_bounded(make_chain: MakeChain) -> None:
    """Strangers with any number of keys leave what the quota allows and what attesters signed for, nothing else."""
    chain = make_chain(registration_quota=5, attesters={"attester": (10**24, 3)})
    candidates = [register(chain, f"new-{index}") for index in range(20)]
    candidates += [chain.transfer(f"poor-{index}", f"else-{index}", 0) for index in range(20)]
    candidates += [chain.mint(f"miner-{index}", f"miner-{index}", 1) for index in range(20)]
    candidates += [chain.mint(f"liar-{index}", f"liar-{index}", 1, signers=["liar"]) for index in range(20)]
    proposal = chain.build(*candidates)
    by_domain = [key[0] for key in proposal.outcome.changes]
    assert by_domain.count(Domain.REGISTRATION) == 5
    assert by_domain.count(Domain.RECEIPT) == 3
    assert by_domain.count(Domain.ACCOUNT) == 8


# Membership


def test_the_holding_that_counts_is_the_parent_states(chain: Chain) -> None:
    # Given a newcomer and a mint of just enough
    mint = chain.mint("new", "new", MIN_HOLDING)
    spend = chain.transfer("new", "other", 1, later=1)
    # When it spends in the same block, then it is a newcomer still
    chain.refuse(spend, RejectionReason.NEWCOMER_CALL, after=[mint])
    # When it spends in the next block, then it may
    chain.add(mint)
    assert admit(chain, spend).lane is Lane.MEMBER
    chain.add(spend)
    # And now it holds one atom too little again
    chain.refuse(chain.transfer("new", "other", 1), RejectionReason.NEWCOMER_CALL)


def test_a_transfer_within_the_block_makes_no_member_and_unmakes_none(rich_chain: Chain) -> None:
    chain = rich_chain
    gift = chain.transfer("alice", "new", ATOMS_PER_AIT)
    chain.refuse(chain.transfer("new", "other", 1), RejectionReason.NEWCOMER_CALL, after=[gift])
    spend_all = chain.transfer("alice", "bob", 100 * ATOMS_PER_AIT)
    failing = chain.call("alice", TOKEN, modules.TOKEN_TRANSFER, chain.address("bob"), 1, later=1)
    chain.fail(failing, RejectionReason.INSUFFICIENT_FUNDS, after=[spend_all])
    chain.add(spend_all)
    chain.refuse(failing, RejectionReason.NEWCOMER_CALL)


@pytest.mark.parametrize("min_holding", [1, MIN_HOLDING, 10**20])
def test_the_minimum_holding_to_the_atom(make_chain: MakeChain, min_holding: int) -> None:
    chain = make_chain(min_holding_atoms=min_holding)
    chain.add(chain.mint("below", "below", min_holding - 1), chain.mint("enough", "enough", min_holding))
    chain.refuse(chain.transfer("below", "other", 0), RejectionReason.NEWCOMER_CALL)
    chain.add(chain.transfer("enough", "other", 0))


def test_who_holds_nothing_is_never_a_member(make_chain: MakeChain) -> None:
    chain = make_chain(min_holding_atoms=1)
    chain.refuse(chain.transfer("new", "other", 0), RejectionReason.NEWCOMER_CALL)


def test_roles_need_no_holding(chain: Chain) -> None:
    chain.govern(GOVERNANCE, modules.ADD_ISSUER.encode(chain.address("issuer")))
    chain.govern(MARKET, ADD_AUTHORITY.encode(chain.address("authority")))
    names = ("validator-0", "attester", "issuer", "authority")
    for name in names:
        assert chain.balance(name) == 0
        assert admit(chain, chain.transfer(name, "other", 0)).lane is Lane.ROLE
        chain.add(chain.transfer(name, "other", 0))
    assert special_roles(chain.read()) == {chain.address(name) for name in names}
    chain.govern(GOVERNANCE, modules.REMOVE_ISSUER.encode(chain.address("issuer")))
    chain.refuse(chain.transfer("issuer", "other", 0), RejectionReason.NEWCOMER_CALL)


def test_a_role_given_in_a_block_counts_from_the_next(chain: Chain) -> None:
    decision = chain.decision(GOVERNANCE, modules.ADD_ISSUER.encode(chain.address("issuer")))
    transfer = chain.transfer("issuer", "other", 0)
    chain.refuse(transfer, RejectionReason.NEWCOMER_CALL, after=decision)
    chain.add(*decision)
    chain.add(transfer)


def test_a_holding_that_nobody_has_leaves_roles_able_to_undo_it(chain: Chain) -> None:
    chain.give("alice")
    chain.set_parameter("min_holding_atoms", 2**200)
    chain.refuse(chain.transfer("alice", "bob", 1), RejectionReason.NEWCOMER_CALL)
    chain.add(chain.mint("alice", "alice", 1))  # As a newcomer does.
    chain.set_parameter("min_holding_atoms", 1)
    chain.add(chain.transfer("alice", "bob", 1))


# Fees


def test_a_base_fee_that_nobody_can_pay_can_be_voted_down(make_chain: MakeChain) -> None:
    chain = make_chain(validators=4)
    chain.give("alice", "validator-1")
    chain.set_parameter("base_fee_atoms", 10**18)
    transfer = chain.transfer("alice", "bob", 1, max_fee=10**18)
    chain.refuse(transfer, RejectionReason.INSUFFICIENT_FUNDS)
    chain.set_parameter("base_fee_atoms", 0)
    chain.add(transfer)


def test_dust_does_not_keep_a_newcomer_from_minting(make_chain: MakeChain) -> None:
    # Given a base fee, and a provider to whom somebody sent more than the minimum holding but less than a fee
    chain = make_chain(base_fee_atoms=10**9)
    chain.give("alice")
    chain.add(chain.transfer("alice", "new", MIN_HOLDING, max_fee=10**9))
    chain.refuse(chain.transfer("new", "other", 1, max_fee=10**9), RejectionReason.INSUFFICIENT_FUNDS)
    # When it mints or registers, then it is treated as a newcomer, who pays nothing
    mint = chain.mint("new", "new", ATOMS_PER_AIT)
    assert admit(chain, mint) == Admission(chain.address("new"), Lane.MINT, admit(chain, mint).call, 0)
    chain.add(mint, register(chain, "other"))
    assert chain.balance("new") == MIN_HOLDING + ATOMS_PER_AIT
    # When it holds enough for the fee, then it pays like anybody
    second = chain.mint("new", "new", ATOMS_PER_AIT)
    chain.refuse(second, RejectionReason.FEE_TOO_LOW)
    paying = chain.mint("new", "new", ATOMS_PER_AIT, max_fee=10**9)
    assert admit(chain, paying).fee == paying.gas_used * 10**9
    chain.add(paying)
    assert chain.balance("new") == MIN_HOLDING + 2 * ATOMS_PER_AIT - paying.gas_used * 10**9


def test_who_cannot_pay_the_fee_can_do_nothing_else(make_chain: MakeChain) -> None:
    chain = make_chain(base_fee_atoms=10**9)
    chain.add(chain.mint("poor", "poor", 21_000 * 10**9 - 1), chain.mint("enough", "enough", 21_000 * 10**9))
    for transaction in (
        chain.transfer("poor", "other", 0, max_fee=10**9),
        chain.call("poor", TOKEN, modules.TOKEN_APPROVE, chain.address("other"), 5, max_fee=10**9),
    ):
        chain.refuse(transaction, RejectionReason.INSUFFICIENT_FUNDS)
        assert_not_admitted(chain, transaction, RejectionReason.INSUFFICIENT_FUNDS)
    chain.add(chain.transfer("enough", "other", 0, max_fee=10**9))
    assert chain.balance("enough") == 0


def test_total_cost_is_value_and_fee(make_chain: MakeChain) -> None:
    chain = make_chain(base_fee_atoms=10**9)
    chain.give("alice")
    transaction = chain.transfer("alice", "bob", 7, max_fee=10**10)
    assert total_cost(transaction, admit(chain, transaction)) == 7 + 21_000 * 10**9


# What the mempool asks


def test_a_nonce_within_what_waits_is_a_replacement(rich_chain: Chain) -> None:
    chain = rich_chain
    for later in range(4):
        admit(chain, chain.transfer("alice", "bob", 1, later=later), waiting=3)
    too_high = chain.transfer("alice", "bob", 1, later=4)
    assert_not_admitted(chain, too_high, RejectionReason.NONCE_TOO_HIGH, waiting=3)
    too_low = chain.transfer("alice", "bob", 1, nonce=0)
    assert_not_admitted(chain, too_low, RejectionReason.NONCE_TOO_LOW, waiting=3)


def test_admission_judges_the_envelope_first(rich_chain: Chain) -> None:
    chain = rich_chain
    for transaction, reason in (
        (chain.transfer("alice", "bob", 1, chain_id=1), RejectionReason.WRONG_CHAIN_ID),
        (chain.send("alice", TOKEN, data=b"\1\2\3\4"), RejectionReason.UNKNOWN_CALL),
        (chain.send("alice", ZERO_ADDRESS, value=1), RejectionReason.INVALID_RECIPIENT),
        (chain.transfer("alice", "bob", 10**30), RejectionReason.INSUFFICIENT_FUNDS),
    ):
        assert_not_admitted(chain, transaction, reason)
    assert check_envelope(chain.transfer("alice", "bob", 1), chain.network.chain_id) is None
    with pytest.raises(Rejected) as caught:
        check_envelope(chain.transfer("alice", "bob", 1), chain.network.chain_id + 1)
    assert caught.value.values["field"] == "chain_id"


def test_check_nonce_says_which_nonce_is_next(chain: Chain) -> None:
    for nonce, reason in ((4, RejectionReason.NONCE_TOO_LOW), (6, RejectionReason.NONCE_TOO_HIGH)):
        with pytest.raises(Rejected) as caught:
            check_nonce(chain.transfer("a", "b", 1, nonce=nonce), 5)
        assert caught.value.reason is reason
        assert "next nonce 5" in caught.value.message
    check_nonce(chain.transfer("a", "b", 1, nonce=5), 5)


def test_what_is_admitted_alone_can_be_in_the_next_block(rich_chain: Chain) -> None:
    chain = rich_chain
    for transaction in (
        chain.transfer("alice", "bob", 1),
        chain.mint("new", "new", 5),
        chain.split("new", [("new", 5), ("other", 6)]),
        register(chain, "new"),
        chain.call("alice", TOKEN, modules.TOKEN_APPROVE, chain.address("bob"), 5),
        chain.call("validator-0", GOVERNANCE, modules.PROPOSE, GOVERNANCE, modules.PAUSE.encode()),
    ):
        admit(chain, transaction)
        assert chain.build(transaction).rejected == ()
    assert state_key(Domain.SUPPLY) in chain.state.records
