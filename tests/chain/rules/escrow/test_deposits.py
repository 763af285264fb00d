"""What clients put aside: each refusal, every second that matters, and who gets at it without standing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.escrow import (
    DEPOSIT_OF,
    DEPOSIT_REFUNDED_EVENT,
    DEPOSITED_EVENT,
    DEPOSITS_OF,
    MAX_DEPOSIT_S,
    MAX_DEPOSITS,
    NOTICE_S,
    WITHDRAWAL_REQUESTED_EVENT,
    WITHDRAWN_EVENT,
    audience_hash,
)
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.modules import ESCROW, TRANSFER_EVENT
from chain.primitives.records import Domain
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import ATOMS_PER_AIT
from chain.rules.escrow.deposits import read_audiences, read_deposit
from tests.chain.rules.escrow.paid_jobs import (
    DEPOSITED,
    HUB,
    LASTS_S,
    ask,
    deposit,
    held,
    now_s,
    refund,
    send,
    settlement,
    withdraw,
)
from tests.chain.rules.escrow.paid_jobs import request as client_request

if TYPE_CHECKING:
    from tests.chain.rules.conftest import Chain, MakeChain

HELD = 100 * ATOMS_PER_AIT


def deposit_of(chain: Chain, client: str = "alice", audience: str = HUB) -> tuple[Any, ...]:
    """balance, deadline, withdrawal, withdrawableFrom"""
    return DEPOSIT_OF.decode_output(chain.raw_view(ESCROW, DEPOSIT_OF.encode(chain.address(client), audience)))


def audiences_of(chain: Chain, client: str = "alice") -> list[str]:
    audiences: list[str] = chain.view(ESCROW, DEPOSITS_OF, chain.address(client))
    return audiences


# Putting aside


def test_a_deposit_is_held_by_the_module(rich_chain: Chain) -> None:
    chain = rich_chain
    deadline = now_s(chain) + LASTS_S
    outcome = chain.add(deposit(chain, deadline=deadline))
    transfer, deposited = outcome.results[0].logs
    assert TRANSFER_EVENT.decode(transfer.topics, transfer.data) == {
        "from": chain.address("alice"),
        "to": ESCROW,
        "value": DEPOSITED,
    }
    assert deposited.address == ESCROW
    assert DEPOSITED_EVENT.decode(deposited.topics, deposited.data) == {
        "client": chain.address("alice"),
        "hub": audience_hash(HUB),
        "audience": HUB,
        "value": DEPOSITED,
        "balance": DEPOSITED,
        "deadline": deadline,
    }
    assert (held(chain), chain.balance("alice")) == (DEPOSITED, HELD - DEPOSITED)
    assert deposit_of(chain) == (DEPOSITED, deadline, 0, 0)
    assert audiences_of(chain) == [HUB]


def test_more_is_added_and_the_deadline_only_moves_on(rich_chain: Chain) -> None:
    chain = rich_chain
    deadline = now_s(chain) + LASTS_S
    chain.add(deposit(chain, deadline=deadline))
    chain.fail(deposit(chain, value=1, deadline=deadline - 1), RejectionReason.INVALID_DEADLINE)
    outcome = chain.add(deposit(chain, value=7, deadline=deadline))
    assert DEPOSITED_EVENT.decode(outcome.results[0].logs[1].topics, outcome.results[0].logs[1].data)["value"] == 7
    outcome = chain.add(deposit(chain, value=0, deadline=deadline + 5))
    (deposited,) = outcome.results[0].logs  # Nothing was transferred.
    assert DEPOSITED_EVENT.decode(deposited.topics, deposited.data)["balance"] == DEPOSITED + 7
    assert deposit_of(chain) == (DEPOSITED + 7, deadline + 5, 0, 0)
    assert (held(chain), audiences_of(chain)) == (DEPOSITED + 7, [HUB])


def test_a_lapsed_deposit_can_be_renewed(rich_chain: Chain) -> None:
    chain = rich_chain
    deadline = now_s(chain) + 100
    chain.add(deposit(chain, deadline=deadline))
    chain.add(deposit(chain, value=0, deadline=deadline + 500), time_ms=(deadline + 50) * 1_000)
    chain.fail(refund(chain, "alice", "alice"), RejectionReason.DEADLINE_AHEAD)


def test_each_client_and_each_audience_has_its_own(rich_chain: Chain) -> None:
    chain = rich_chain
    provider = to_checksum_address(chain.address("provider"))
    chain.add(
        deposit(chain, value=3),
        deposit(chain, value=4, audience=provider, later=1),
        deposit(chain, value=5, audience="HUB.example", later=2),
        deposit(chain, "bob", value=6),
    )
    assert [deposit_of(chain, *of)[0] for of in (("alice",), ("alice", provider), ("alice", "HUB.example"))] == [
        3,
        4,
        5,
    ]
    assert (deposit_of(chain, "bob")[0], deposit_of(chain, "carol")) == (6, (0, 0, 0, 0))
    assert audiences_of(chain) == [HUB, provider, "HUB.example"]
    assert held(chain) == 18


@pytest.mark.parametrize("ahead_s", [-(2**31), -1, 0, MAX_DEPOSIT_S + 1, 2**63])
def test_a_deadline_behind_or_too_far_ahead_is_refused(rich_chain: Chain, ahead_s: int) -> None:
    deadline = max(0, now_s(rich_chain) + ahead_s)
    rich_chain.fail(deposit(rich_chain, deadline=deadline), RejectionReason.INVALID_DEADLINE)


@pytest.mark.parametrize("ahead_s", [1, MAX_DEPOSIT_S])
def test_the_nearest_and_the_farthest_deadline(rich_chain: Chain, ahead_s: int) -> None:
    rich_chain.add(deposit(rich_chain, deadline=now_s(rich_chain) + ahead_s))
    assert held(rich_chain) == DEPOSITED


@pytest.mark.parametrize("audience", ["", "-hub", "a hub", "x" * 65, "hüb", "\0", "hub\n"])
def test_no_audience(rich_chain: Chain, audience: str) -> None:
    rich_chain.fail(deposit(rich_chain, audience=audience), RejectionReason.MALFORMED)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0, RejectionReason.OUT_OF_RANGE),
        (HELD + 1, RejectionReason.INSUFFICIENT_FUNDS),
        (2**256 - 1, RejectionReason.INSUFFICIENT_FUNDS),
    ],
)
def test_too_little_or_too_much(rich_chain: Chain, value: int, reason: RejectionReason) -> None:
    rich_chain.fail(deposit(rich_chain, value=value), reason)


def test_a_client_has_so_many_audiences_at_a_time(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(*(deposit(chain, value=1, audience=f"hub-{index}", later=index) for index in range(MAX_DEPOSITS)))
    chain.fail(deposit(chain, value=1, audience="one-more"), RejectionReason.TOO_MANY_DEPOSITS)
    chain.add(deposit(chain, value=1, audience="hub-3"), deposit(chain, "bob", value=1, audience="one-more"))
    chain.add(ask(chain, "alice", 1, audience="hub-0"))
    chain.add(withdraw(chain, "alice", audience="hub-0"), time_ms=chain.head.time_ms + NOTICE_S * 1_000)
    chain.add(deposit(chain, value=1, audience="one-more"))
    assert audiences_of(chain) == [*(f"hub-{index}" for index in range(1, MAX_DEPOSITS)), "one-more"]


def test_a_deposit_needs_standing(chain: Chain) -> None:
    chain.refuse(deposit(chain, value=1), RejectionReason.NEWCOMER_CALL)


# Withdrawing


def test_a_withdrawal_after_its_notice(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(deposit(chain))
    asked_s = now_s(chain)
    outcome = chain.add(ask(chain, "alice", 20))
    (requested,) = outcome.results[0].logs
    assert WITHDRAWAL_REQUESTED_EVENT.decode(requested.topics, requested.data) == {
        "client": chain.address("alice"),
        "hub": audience_hash(HUB),
        "value": 20,
        "withdrawableFrom": asked_s + NOTICE_S,
    }
    assert deposit_of(chain)[2:] == (20, asked_s + NOTICE_S)
    last_ms = (asked_s + NOTICE_S) * 1_000 - 1
    chain.fail(withdraw(chain, "alice"), RejectionReason.NOTICE_PERIOD)
    chain.fail(withdraw(chain, "alice"), RejectionReason.NOTICE_PERIOD, time_ms=last_ms)
    outcome = chain.add(withdraw(chain, "alice"), time_ms=last_ms + 1)
    transfer, withdrawn = outcome.results[0].logs
    assert TRANSFER_EVENT.decode(transfer.topics, transfer.data) == {
        "from": ESCROW,
        "to": chain.address("alice"),
        "value": 20,
    }
    assert WITHDRAWN_EVENT.decode(withdrawn.topics, withdrawn.data) == {
        "client": chain.address("alice"),
        "hub": audience_hash(HUB),
        "value": 20,
    }
    assert deposit_of(chain)[::2] == (DEPOSITED - 20, 0)
    assert (held(chain), chain.balance("alice")) == (DEPOSITED - 20, HELD - DEPOSITED + 20)
    chain.fail(withdraw(chain, "alice"), RejectionReason.NO_WITHDRAWAL)


def test_asking_again_begins_anew(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(deposit(chain))
    first_s = now_s(chain)
    chain.add(ask(chain, "alice", 20))
    chain.add(ask(chain, "alice", 10), time_ms=(first_s + 100) * 1_000)
    assert deposit_of(chain)[2:] == (10, first_s + 100 + NOTICE_S)
    chain.fail(withdraw(chain, "alice"), RejectionReason.NOTICE_PERIOD, time_ms=(first_s + NOTICE_S + 99) * 1_000)
    chain.add(ask(chain, "alice", 0))
    assert deposit_of(chain)[2:] == (0, 0)
    chain.fail(withdraw(chain, "alice"), RejectionReason.NO_WITHDRAWAL, time_ms=(first_s + 2 * NOTICE_S) * 1_000)


def test_no_more_can_be_asked_for_than_there_is(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.fail(ask(chain, "alice", 1), RejectionReason.UNKNOWN_DEPOSIT)
    chain.add(deposit(chain))
    chain.fail(ask(chain, "alice", DEPOSITED + 1), RejectionReason.INSUFFICIENT_DEPOSIT)
    chain.fail(ask(chain, "alice", 2**256 - 1), RejectionReason.INSUFFICIENT_DEPOSIT)
    chain.add(ask(chain, "alice", DEPOSITED))


def test_what_comes_in_later_needs_a_notice_of_its_own(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(deposit(chain, value=20))
    asked_s = now_s(chain)
    chain.add(ask(chain, "alice", 20))
    # The hub is paid 15 of what was asked for, and the client adds 60.
    chain.add(send(chain, "courier", settlement(chain, client_request(chain), [("provider", 15)])))
    assert deposit_of(chain)[2] == 5
    chain.add(deposit(chain, value=60))
    chain.add(withdraw(chain, "alice"), time_ms=(asked_s + NOTICE_S) * 1_000)
    assert deposit_of(chain)[::2] == (60, 0)


def test_what_was_asked_for_and_then_settled_is_gone(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(deposit(chain, value=20))
    chain.add(ask(chain, "alice", 20))
    chain.add(send(chain, "courier", settlement(chain, client_request(chain), [("provider", 20)])))
    assert (deposit_of(chain), audiences_of(chain)) == ((0, 0, 0, 0), [])
    chain.fail(withdraw(chain, "alice"), RejectionReason.UNKNOWN_DEPOSIT, time_ms=chain.head.time_ms + NOTICE_S * 1_000)
    chain.add(deposit(chain, value=9, deadline=now_s(chain) + 1))  # Another deposit: it may be for a shorter time.
    assert deposit_of(chain)[2:] == (0, 0)


def test_nobody_else_can_ask_or_withdraw(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(deposit(chain))
    chain.add(ask(chain, "alice", 5))
    later_ms = chain.head.time_ms + NOTICE_S * 1_000
    chain.fail(ask(chain, "bob", 5), RejectionReason.UNKNOWN_DEPOSIT)
    chain.fail(withdraw(chain, "bob"), RejectionReason.UNKNOWN_DEPOSIT, time_ms=later_ms)
    chain.fail(withdraw(chain, "alice", audience="other"), RejectionReason.UNKNOWN_DEPOSIT, time_ms=later_ms)


# The deadline


def test_from_the_deadline_on_anybody_refunds_the_client(rich_chain: Chain) -> None:
    chain = rich_chain
    deadline = now_s(chain) + 1_000
    chain.add(deposit(chain, deadline=deadline))
    chain.add(ask(chain, "alice", 3))
    chain.fail(refund(chain, "alice", "alice"), RejectionReason.DEADLINE_AHEAD, time_ms=deadline * 1_000 - 1)
    bob = chain.balance("bob")
    outcome = chain.add(refund(chain, "bob", "alice"), time_ms=deadline * 1_000)
    transfer, refunded = outcome.results[0].logs
    assert TRANSFER_EVENT.decode(transfer.topics, transfer.data)["to"] == chain.address("alice")
    assert DEPOSIT_REFUNDED_EVENT.decode(refunded.topics, refunded.data) == {
        "client": chain.address("alice"),
        "hub": audience_hash(HUB),
        "value": DEPOSITED,
    }
    assert (held(chain), chain.balance("alice"), chain.balance("bob")) == (0, HELD, bob)
    assert (read_deposit(chain.read(), chain.address("alice"), HUB), audiences_of(chain)) == (None, [])
    assert read_audiences(chain.read(), chain.address("alice")) == ()
    assert not {key[0] for key in chain.state.records} & {Domain.DEPOSIT, Domain.DEPOSITS}
    chain.fail(refund(chain, "bob", "alice"), RejectionReason.UNKNOWN_DEPOSIT)


# Who has put everything aside


def test_who_deposited_everything_gets_it_back_at_the_deadline(chain: Chain) -> None:
    chain.give("alice", amount=DEPOSITED)
    deadline = now_s(chain) + 1_000
    chain.add(deposit(chain, deadline=deadline))
    assert chain.balance("alice") == 0
    chain.refuse(refund(chain, "alice", "alice"), RejectionReason.DEADLINE_AHEAD)
    chain.refuse(refund(chain, "carol", "alice"), RejectionReason.NEWCOMER_CALL, time_ms=deadline * 1_000)
    chain.add(refund(chain, "alice", "alice"), time_ms=deadline * 1_000)
    assert chain.balance("alice") == DEPOSITED


def test_who_deposited_everything_can_ask_for_it_once_at_a_time(chain: Chain) -> None:
    chain.give("alice", amount=DEPOSITED)
    chain.add(deposit(chain))
    chain.refuse(ask(chain, "alice", 0), RejectionReason.NEWCOMER_CALL)
    chain.refuse(ask(chain, "alice", DEPOSITED + 1), RejectionReason.INSUFFICIENT_DEPOSIT)
    chain.refuse(withdraw(chain, "alice"), RejectionReason.NO_WITHDRAWAL)
    chain.refuse(ask(chain, "carol", 1), RejectionReason.NEWCOMER_CALL)
    chain.refuse(withdraw(chain, "carol"), RejectionReason.NEWCOMER_CALL)
    asking = ask(chain, "alice", 7)
    chain.refuse(ask(chain, "alice", 8, later=1), RejectionReason.NEWCOMER_CALL, after=[asking])
    chain.add(asking)
    chain.refuse(ask(chain, "alice", 8), RejectionReason.NEWCOMER_CALL)
    chain.refuse(withdraw(chain, "alice"), RejectionReason.NOTICE_PERIOD)
    chain.add(withdraw(chain, "alice"), time_ms=chain.head.time_ms + NOTICE_S * 1_000)
    assert chain.balance("alice") == 7


def test_it_costs_nothing_where_a_fee_is_asked(make_chain: MakeChain) -> None:
    chain = make_chain(base_fee_atoms=3)
    chain.give("alice")
    fee = deposit(chain).gas_used * 3
    deadline = now_s(chain) + 1_000
    chain.add(deposit(chain, value=HELD - fee, deadline=deadline, max_fee=3, gas_limit=10**6))
    assert chain.balance("alice") == 0
    chain.add(refund(chain, "alice", "alice"), time_ms=deadline * 1_000)
    assert chain.balance("alice") == HELD - fee
