"""Typed access: what was written is read back, from the same block and from the next, and changes are exactly those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chain.primitives.network import AttesterAllowance
from chain.primitives.parameters import Parameters
from chain.primitives.records import (
    Account,
    Domain,
    Proposal,
    ProviderUsage,
    ReceiptKind,
    ReceiptUse,
    Registration,
    Supply,
    Upgrade,
    Usage,
    ValidatorSet,
    state_key,
)
from chain.primitives.types import MAX_UINT256, Address, Amount, Hash32
from chain.rules.state import State

A, B = Address(b"\x0a" * 20), Address(b"\x0b" * 20)
RECEIPT = Hash32(b"\x11" * 32)
REGISTRATION = Registration(
    active=True,
    endpoint="http://x",
    models=("a", "b"),
    price_per_unit=Amount(2**128),
    unit_type="images",
    vram_mib=2**32 - 1,
    payout=B,
)
PROPOSAL = Proposal(A, B, b"\1\2\3\4", 2**62, 2**62 + 5, (A, B), True)


class CountingReader:
    """A parent state in a dictionary, that counts how often each record is asked for."""

    def __init__(self, records: dict[bytes, bytes] | None = None) -> None:
        self.records = records or {}
        self.asked: list[bytes] = []

    def get(self, state_key: bytes) -> bytes | None:
        """The record, or None."""
        self.asked.append(state_key)
        return self.records.get(state_key)


def after(changes: dict[bytes, bytes | None]) -> State:
    """A state on top of these changes alone."""
    return State(CountingReader({key: record for key, record in changes.items() if record is not None}))


# What is written, how it is read, the value, and the default.
Case = tuple[Callable[[State, Any], None], Callable[[State], Any], Any, Any]
CASES: dict[str, Case] = {
    "supply": (State.set_supply, State.supply, Supply(2**255, 2**200), Supply()),
    "parameters": (State.set_parameters, State.parameters, Parameters(base_fee_atoms=5, period_ms=7_000), Parameters()),
    "attesters": (
        State.set_attesters,
        State.attesters,
        (AttesterAllowance(B, 2**200, 2**63 - 1), AttesterAllowance(A, 0, 0)),
        (),
    ),
    "issuers": (State.set_issuers, State.issuers, (B, A), ()),
    "paused": (State.set_minting_paused, State.minting_paused, True, False),
    "count": (State.set_proposal_count, State.proposal_count, 2**63, 0),
    "upgrade": (State.set_upgrade, State.upgrade, Upgrade(1, 2, 2**62 - 1), Upgrade()),
    "allowance": (
        lambda state, value: state.set_allowance(A, B, value),
        lambda state: state.allowance(A, B),
        MAX_UINT256,
        0,
    ),
    "authorization": (
        lambda state, _: state.use_authorization(A, RECEIPT),
        lambda state: state.authorization_used(A, RECEIPT),
        True,
        False,
    ),
    "receipt": (
        lambda state, value: state.use_receipt(RECEIPT, value),
        lambda state: state.receipt_use(RECEIPT),
        ReceiptUse(ReceiptKind.MINT_SPLIT, Amount(2**200)),
        None,
    ),
    "registration": (
        lambda state, value: state.set_registration(A, value),
        lambda state: state.registration(A),
        REGISTRATION,
        None,
    ),
    "open": (
        lambda state, value: state.set_open_proposals(A, value),
        lambda state: state.open_proposals(A),
        (1, 2**40),
        (),
    ),
    "provider_usage": (
        lambda state, value: state.set_provider_usage(A, value),
        lambda state: state.provider_usage(A, 7),
        ProviderUsage(7, 2**200, 2**40, 2**201, 2**41),
        ProviderUsage(7, 0, 0, 0, 0),
    ),
    "usage": (
        lambda state, value: state.set_usage(Domain.ATTESTER_USAGE, A, value),
        lambda state: state.usage(Domain.ATTESTER_USAGE, A, 7),
        Usage(7, 2**200, 2**40),
        Usage(7, 0, 0),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_record_is_read_back(name: str) -> None:
    write, read, value, default = CASES[name]
    state = State(CountingReader())
    assert read(state) == default
    assert state.changes() == {}
    write(state, value)
    assert read(state) == value
    (key,) = state.changes()
    following = after(state.changes())
    assert read(following) == value
    assert following.changes() == {}
    # Written as it is, it is no change; written as the default, it is one.
    write(following, value)
    assert following.changes() == {}
    if name in ("issuers", "paused", "allowance", "open"):
        write(following, default)
        assert following.changes() == {key: None}
        assert read(following) == default
        write(following, value)
        assert following.changes() == {}


@pytest.mark.parametrize("name", CASES)
def test_writing_without_reading_first_gives_the_same_changes(name: str) -> None:
    write, read, value, _ = CASES[name]
    state = State(CountingReader())
    write(state, value)
    changes = state.changes()
    assert read(after(changes)) == value
    blind = after(changes)
    write(blind, value)
    assert blind.changes() == {}


def test_the_epoch_is_the_parents_and_one_more_however_often_it_begins() -> None:
    state = State(CountingReader())
    assert (state.epoch(), state.validators(), state.changes()) == (0, (), {})
    state.begin_epoch((A, B))
    assert (state.epoch(), state.validators()) == (0, (A, B))  # The genesis state's is the first epoch.
    following = after(state.changes())
    for validators in ((A,), (A, B), (B,)):
        following.begin_epoch(validators)
        assert (following.epoch(), following.validators()) == (1, validators)
    # The same set again is a change: its epoch is another one.
    same = after(state.changes())
    same.begin_epoch((A, B))
    assert same.changes() == {state_key(Domain.VALIDATORS): ValidatorSet(1, (A, B)).encode()}
    assert after(same.changes()).epoch() == 1


def test_who_was_a_validator_is_remembered() -> None:
    state = State(CountingReader())
    assert not state.was_validator(A)
    state.set_was_validator(A)
    following = after(state.changes())
    assert (following.was_validator(A), following.was_validator(B)) == (True, False)
    following.set_was_validator(A)
    assert following.changes() == {}


def test_accounts() -> None:
    key = state_key(Domain.ACCOUNT, A)
    state = State(CountingReader())
    state.credit(A, 10)
    state.debit(A, 3)
    state.increment_nonce(A)
    assert state.account(A) == Account(1, Amount(7))
    assert state.parent_balance(A) == 0
    assert state.changes() == {key: Account(1, Amount(7)).encode()}
    following = after(state.changes())
    following.debit(A, 7)
    assert following.parent_balance(A) == 7
    assert following.changes() == {key: Account(1, Amount(0)).encode()}  # A nonce above 0 keeps an account.
    following.credit(A, 7)
    assert following.changes() == {}


def test_an_account_that_is_emptied_and_never_sent_is_removed() -> None:
    state = State(CountingReader({state_key(Domain.ACCOUNT, A): Account(0, Amount(5)).encode()}))
    state.debit(A, 5)
    assert state.changes() == {state_key(Domain.ACCOUNT, A): None}
    fresh = State(CountingReader())
    fresh.credit(A, 5)
    fresh.debit(A, 5)
    assert fresh.changes() == {}


def test_balances_are_range_checked() -> None:
    state = State(CountingReader())
    state.credit(A, MAX_UINT256)
    for amount in (1, -1):
        with pytest.raises(AssertionError):
            state.credit(A, amount)
        with pytest.raises(AssertionError):
            state.debit(B, amount)
    assert (state.account(A).balance, state.account(B).balance) == (MAX_UINT256, 0)


def test_burning_takes_out_of_an_account_and_of_circulation() -> None:
    state = State(CountingReader())
    state.set_supply(Supply(10, 1))
    state.credit(A, 9)
    state.burn(A, 4)
    assert state.supply() == Supply(10, 5)
    assert state.supply().circulating == state.account(A).balance == 5


def test_usage_of_another_period_is_nothing() -> None:
    state = State(CountingReader())
    state.set_usage(Domain.ATTESTER_USAGE, A, Usage(7, 5, 1))
    assert state.usage(Domain.ATTESTER_USAGE, A, 7) == Usage(7, 5, 1)
    for period in (0, 6, 8, 2**50):
        assert state.usage(Domain.ATTESTER_USAGE, A, period) == Usage(period, 0, 0)
    assert state.usage(Domain.MINT_USAGE, A, 7) == Usage(7, 0, 0)
    assert Usage(7, 5, 1).plus(3) == Usage(7, 8, 2)


def test_a_providers_totals_outlive_the_period() -> None:
    usage = ProviderUsage(7, 5, 1, 50, 10)
    assert usage.within(7) == usage
    assert usage.within(8) == ProviderUsage(8, 0, 0, 50, 10)
    assert usage.within(8).plus(3) == ProviderUsage(8, 3, 1, 53, 11)


def test_proposals_by_number() -> None:
    state = State(CountingReader())
    state.set_proposal_count(1)
    state.set_proposal(1, PROPOSAL)
    assert state.proposal(1) == PROPOSAL
    following = after(state.changes())
    assert following.proposal(1) == PROPOSAL
    for number in (-1, 0, 2, 2**64, MAX_UINT256):
        assert following.proposal(number) is None


def test_an_attester_is_found_by_address() -> None:
    state = State(CountingReader())
    state.set_attesters((AttesterAllowance(A, 1, 2),))
    assert state.attester(A) == AttesterAllowance(A, 1, 2)
    assert state.attester(B) is None


def test_each_record_is_read_once() -> None:
    reader = CountingReader()
    state = State(reader)
    for _ in range(3):
        state.account(A)
        state.supply()
        state.allowance(A, B)
        state.parameters()
        state.set_supply(Supply(1, 0))
    state.changes()
    assert len(reader.asked) == len(set(reader.asked)) == 4


def test_a_block_reads_its_own_writes_and_the_parent_keeps_its_own() -> None:
    reader = CountingReader({state_key(Domain.SUPPLY): Supply(5, 0).encode()})
    first, second = State(reader), State(reader)
    first.set_supply(Supply(6, 0))
    assert (first.supply(), second.supply()) == (Supply(6, 0), Supply(5, 0))


@pytest.mark.parametrize(
    ("upgrade", "versions"),
    [
        (Upgrade(), {0: 1, 1: 1, 2**62: 1}),
        (Upgrade(1, 2, 100), {99: 1, 100: 2, 101: 2}),
        (Upgrade(2, 3, 5), {4: 2, 5: 3}),
    ],
)
def test_the_version_at_a_height(upgrade: Upgrade, versions: dict[int, int]) -> None:
    assert {height: upgrade.version_at(height) for height in versions} == versions


def test_domains_are_apart() -> None:
    assert len({state_key(domain) for domain in Domain}) == len(Domain)
    assert all(state_key(domain, b"x") == bytes((domain,)) + b"x" for domain in Domain)
