"""Hash-time-locked transfers: each refusal, the newcomers that must not be locked out, and the atoms put aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chain.primitives import market
from chain.primitives.hashing import keccak256, sha256
from chain.primitives.market import AssetFlag, asset_address
from chain.primitives.modules import ADD_ISSUER, GOVERNANCE, HTLC, MARKET, TOKEN, TRANSFER_EVENT
from chain.primitives.records import Domain
from chain.primitives.rejection import RejectionReason
from chain.primitives.swap_records import SwapStatus
from chain.primitives.swaps import (
    CLAIM,
    CLAIMED_EVENT,
    LOCK,
    LOCKED_EVENT,
    MAX_LOCK_S,
    REFUND,
    REFUNDED_EVENT,
    SWAP,
    swap_id,
)
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS, Address, Hash32
from chain.rules.assets.holdings import balance_of
from chain.rules.swaps import read_swap

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import Chain, MakeChain

SECRET = bytes(range(32))
HASH = sha256(SECRET)
VALUE = 7 * ATOMS_PER_AIT
LOCKED_S = 1_000
COIN = asset_address(1)


def now_s(chain: Chain) -> int:
    """The next block's time in whole seconds."""
    return chain.next_block.time_ms // 1_000


def lock(chain: Chain, sender: str = "alice", recipient: str | Address = "bob", **changes: Any) -> Transaction:
    terms = {
        "hash": HASH,
        "recipient": chain.address(recipient) if isinstance(recipient, str) else recipient,
        "asset": TOKEN,
        "value": VALUE,
        "deadline": now_s(chain) + LOCKED_S,
    }
    later = changes.pop("later", 0)
    return chain.call(sender, HTLC, LOCK, *{**terms, **changes}.values(), later=later)


def claim(chain: Chain, sender: str, id_: Hash32, secret: bytes = SECRET, **fields: int) -> Transaction:
    return chain.call(sender, HTLC, CLAIM, id_, secret, **fields)


def refund(chain: Chain, sender: str, id_: Hash32, **fields: int) -> Transaction:
    return chain.call(sender, HTLC, REFUND, id_, **fields)


def lock_one(chain: Chain, **changes: Any) -> tuple[Hash32, int]:
    """A swap from alice to bob in a block of its own; its id and deadline."""
    deadline = now_s(chain) + LOCKED_S
    chain.add(lock(chain, deadline=deadline, **changes))
    id_ = swap_id(
        HASH,
        chain.address("alice"),
        chain.address("bob"),
        changes.get("asset", TOKEN),
        changes.get("value", VALUE),
        deadline,
    )
    return id_, deadline


def status_of(chain: Chain, id_: Hash32) -> int:
    status: int = SWAP.decode_output(chain.raw_view(HTLC, SWAP.encode(id_)))[6]
    return status


def held(chain: Chain, asset: Address = TOKEN) -> int:
    return balance_of(chain.read(), asset, HTLC)


# From lock to claim or refund


def test_a_claimed_swap_pays_its_recipient_and_shows_the_secret(rich_chain: Chain) -> None:
    chain = rich_chain
    before = chain.balance("bob")
    deadline = now_s(chain) + LOCKED_S
    outcome = chain.add(lock(chain, deadline=deadline))
    id_ = swap_id(HASH, chain.address("alice"), chain.address("bob"), TOKEN, VALUE, deadline)
    transfer, locked = outcome.results[0].logs
    assert TRANSFER_EVENT.decode(transfer.topics, transfer.data) == {
        "from": chain.address("alice"),
        "to": HTLC,
        "value": VALUE,
    }
    assert LOCKED_EVENT.decode(locked.topics, locked.data) == {
        "id": id_,
        "sender": chain.address("alice"),
        "recipient": chain.address("bob"),
        "asset": TOKEN,
        "value": VALUE,
        "hash": HASH,
        "deadline": deadline,
    }
    assert (held(chain), status_of(chain, id_)) == (VALUE, SwapStatus.OPEN)

    outcome = chain.add(claim(chain, "bob", id_))
    transfer, claimed = outcome.results[0].logs
    assert TRANSFER_EVENT.decode(transfer.topics, transfer.data) == {
        "from": HTLC,
        "to": chain.address("bob"),
        "value": VALUE,
    }
    assert claimed.address == HTLC
    assert CLAIMED_EVENT.decode(claimed.topics, claimed.data) == {"id": id_, "secret": SECRET}
    assert (held(chain), chain.balance("bob")) == (0, before + VALUE)
    assert SWAP.decode_output(chain.raw_view(HTLC, SWAP.encode(id_))) == (
        chain.address("alice"),
        chain.address("bob"),
        TOKEN,
        VALUE,
        HASH,
        deadline,
        SwapStatus.CLAIMED,
        SECRET,
    )


def test_a_refunded_swap_pays_its_sender_back(rich_chain: Chain) -> None:
    chain = rich_chain
    before = chain.balance("alice")
    id_, deadline = lock_one(chain)
    outcome = chain.add(refund(chain, "alice", id_), time_ms=deadline * 1_000)
    _transfer, refunded = outcome.results[0].logs
    assert REFUNDED_EVENT.decode(refunded.topics, refunded.data) == {"id": id_}
    assert (held(chain), chain.balance("alice"), status_of(chain, id_)) == (0, before, SwapStatus.REFUNDED)
    swap = read_swap(chain.read(), id_)
    assert swap is not None and swap.secret == b""


def test_anybody_may_claim_and_refund_for_whom_the_swap_names(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.give("carol")
    first, deadline = lock_one(chain)
    chain.add(lock(chain, deadline=deadline, value=VALUE + 1))
    second = swap_id(HASH, chain.address("alice"), chain.address("bob"), TOKEN, VALUE + 1, deadline)
    alice, bob, carol = (chain.balance(name) for name in ("alice", "bob", "carol"))
    chain.add(claim(chain, "carol", first))
    chain.add(refund(chain, "carol", second), time_ms=deadline * 1_000)
    assert [chain.balance(name) for name in ("alice", "bob", "carol")] == [alice + VALUE + 1, bob + VALUE, carol]


# The deadline, to the second


def test_the_last_second_is_the_claimants_and_the_next_the_senders(rich_chain: Chain) -> None:
    chain = rich_chain
    id_, deadline = lock_one(chain)
    last_ms = deadline * 1_000 - 1
    chain.fail(refund(chain, "alice", id_), RejectionReason.DEADLINE_AHEAD, time_ms=last_ms)
    chain.fail(claim(chain, "bob", id_), RejectionReason.DEADLINE_PASSED, time_ms=last_ms + 1)
    assert chain.build(claim(chain, "bob", id_), time_ms=last_ms).outcome.results[0].status == 1
    assert chain.build(refund(chain, "alice", id_), time_ms=last_ms + 1).outcome.results[0].status == 1


@pytest.mark.parametrize("ahead_s", [-(2**31), -1, 0, MAX_LOCK_S + 1, 2**63])
def test_a_deadline_behind_or_too_far_ahead_is_refused(rich_chain: Chain, ahead_s: int) -> None:
    deadline = max(0, now_s(rich_chain) + ahead_s)
    rich_chain.fail(lock(rich_chain, deadline=deadline), RejectionReason.INVALID_DEADLINE)


@pytest.mark.parametrize("ahead_s", [1, MAX_LOCK_S])
def test_the_nearest_and_the_farthest_deadline(rich_chain: Chain, ahead_s: int) -> None:
    rich_chain.add(lock(rich_chain, deadline=now_s(rich_chain) + ahead_s))
    assert held(rich_chain) == VALUE


# Bad input


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": 0}, RejectionReason.OUT_OF_RANGE),
        ({"value": 100 * ATOMS_PER_AIT + 1}, RejectionReason.INSUFFICIENT_FUNDS),
        ({"value": 2**256 - 1}, RejectionReason.INSUFFICIENT_FUNDS),
        ({"recipient": ZERO_ADDRESS}, RejectionReason.INVALID_RECIPIENT),
        ({"recipient": HTLC}, RejectionReason.INVALID_RECIPIENT),
        ({"recipient": MARKET}, RejectionReason.INVALID_RECIPIENT),
        ({"recipient": COIN}, RejectionReason.INVALID_RECIPIENT),
        ({"asset": COIN}, RejectionReason.UNKNOWN_ASSET),
        ({"asset": ZERO_ADDRESS}, RejectionReason.UNKNOWN_ASSET),
        ({"asset": HTLC}, RejectionReason.UNKNOWN_ASSET),
    ],
)
def test_bad_terms_are_refused(rich_chain: Chain, changes: dict[str, Any], reason: RejectionReason) -> None:
    rich_chain.fail(lock(rich_chain, **changes), reason)


def test_all_that_one_holds_can_be_locked(rich_chain: Chain) -> None:
    lock_one(rich_chain, value=100 * ATOMS_PER_AIT)
    assert (rich_chain.balance("alice"), held(rich_chain)) == (0, 100 * ATOMS_PER_AIT)


def test_terms_are_used_once_for_ever(rich_chain: Chain) -> None:
    chain = rich_chain
    id_, deadline = lock_one(chain)
    same: dict[str, Any] = {"deadline": deadline}
    chain.fail(lock(chain, **same), RejectionReason.SWAP_EXISTS)
    chain.add(claim(chain, "bob", id_))
    chain.fail(lock(chain, **same), RejectionReason.SWAP_EXISTS)
    chain.add(lock(chain, value=VALUE + 1, **same))  # Others than these, with the same hash, are another swap.


def test_a_swap_is_closed_once(rich_chain: Chain) -> None:
    chain = rich_chain
    id_, deadline = lock_one(chain)
    chain.fail(claim(chain, "bob", id_, later=1), RejectionReason.SWAP_CLOSED, after=[claim(chain, "bob", id_)])
    chain.add(claim(chain, "bob", id_))
    chain.fail(claim(chain, "bob", id_), RejectionReason.SWAP_CLOSED)
    chain.fail(refund(chain, "alice", id_), RejectionReason.SWAP_CLOSED, time_ms=deadline * 1_000)


def test_a_refunded_swap_cannot_be_claimed(rich_chain: Chain) -> None:
    chain = rich_chain
    id_, deadline = lock_one(chain)
    chain.add(refund(chain, "alice", id_), time_ms=deadline * 1_000)
    chain.fail(refund(chain, "alice", id_), RejectionReason.SWAP_CLOSED)
    chain.fail(claim(chain, "bob", id_), RejectionReason.SWAP_CLOSED)


@pytest.mark.parametrize("secret", [bytes(32), HASH, SECRET[:31] + b"\0"])
def test_a_wrong_secret_opens_nothing(rich_chain: Chain, secret: bytes) -> None:
    id_, _deadline = lock_one(rich_chain)
    rich_chain.fail(claim(rich_chain, "bob", id_, secret), RejectionReason.WRONG_SECRET)


def test_an_unknown_swap(rich_chain: Chain) -> None:
    unknown = keccak256(b"no swap")
    rich_chain.fail(claim(rich_chain, "bob", unknown), RejectionReason.UNKNOWN_SWAP)
    rich_chain.fail(refund(rich_chain, "bob", unknown), RejectionReason.UNKNOWN_SWAP)
    nothing = (ZERO_ADDRESS, ZERO_ADDRESS, ZERO_ADDRESS, 0, bytes(32), 0, SwapStatus.NONE, bytes(32))
    assert SWAP.decode_output(rich_chain.raw_view(HTLC, SWAP.encode(unknown))) == nothing


# Newcomers


def test_who_holds_nothing_claims_what_was_locked_for_him(chain: Chain) -> None:
    chain.give("alice")
    id_, deadline = lock_one(chain)
    # Not for others, not with a wrong secret, not too late: a newcomer's call must succeed.
    chain.refuse(claim(chain, "carol", id_), RejectionReason.NEWCOMER_CALL)
    chain.refuse(claim(chain, "bob", id_, bytes(32)), RejectionReason.WRONG_SECRET)
    chain.refuse(claim(chain, "bob", id_), RejectionReason.DEADLINE_PASSED, time_ms=deadline * 1_000)
    chain.refuse(refund(chain, "bob", id_), RejectionReason.NEWCOMER_CALL, time_ms=deadline * 1_000)
    chain.refuse(claim(chain, "bob", keccak256(b"no swap")), RejectionReason.NEWCOMER_CALL)
    chain.add(claim(chain, "bob", id_))
    assert chain.balance("bob") == VALUE


def test_who_locked_everything_gets_it_back(chain: Chain) -> None:
    chain.give("alice", amount=VALUE)
    id_, deadline = lock_one(chain)
    assert chain.balance("alice") == 0
    chain.refuse(refund(chain, "alice", id_), RejectionReason.DEADLINE_AHEAD)
    chain.refuse(refund(chain, "carol", id_), RejectionReason.NEWCOMER_CALL, time_ms=deadline * 1_000)
    chain.add(refund(chain, "alice", id_), time_ms=deadline * 1_000)
    assert chain.balance("alice") == VALUE


def test_a_newcomers_claim_costs_nothing_where_a_fee_is_asked(make_chain: MakeChain) -> None:
    chain = make_chain(base_fee_atoms=3)
    chain.give("alice")
    deadline = now_s(chain) + LOCKED_S
    terms = (HASH, chain.address("bob"), TOKEN, VALUE, deadline)
    chain.add(chain.call("alice", HTLC, LOCK, *terms, max_fee=3, gas_limit=1_000_000))
    chain.add(claim(chain, "bob", swap_id(HASH, chain.address("alice"), *terms[1:])))
    assert chain.balance("bob") == VALUE


def test_a_lock_needs_standing(chain: Chain) -> None:
    chain.refuse(lock(chain, value=1), RejectionReason.NEWCOMER_CALL)


# Issued assets


@pytest.fixture
def coin_chain(rich_chain: Chain) -> Chain:
    """COIN exists, with every flag; alice and bob are authorised, and alice holds 100 of it."""
    chain = rich_chain
    chain.give("issuer")
    chain.govern(GOVERNANCE, ADD_ISSUER.encode(chain.address("issuer")))
    flags = AssetFlag.AUTHORIZATION_REQUIRED | AssetFlag.FREEZABLE | AssetFlag.CLAWBACK
    chain.add(chain.call("issuer", MARKET, market.ISSUE_ASSET, "Coin", "COIN", 6, 0, flags, bytes(32)))
    for name in ("alice", "bob"):
        chain.add(chain.call("issuer", MARKET, market.SET_AUTHORIZED, COIN, chain.address(name), True))
    chain.add(chain.call("issuer", MARKET, market.MINT_ASSET, COIN, chain.address("alice"), 100))
    return chain


def freeze(chain: Chain, name: str, frozen: bool = True) -> None:
    chain.add(chain.call("issuer", MARKET, market.SET_FROZEN, COIN, chain.address(name), frozen))


def coins(chain: Chain, name: str) -> int:
    return balance_of(chain.read(), COIN, chain.address(name))


def test_an_issued_asset_is_swapped_alike(coin_chain: Chain) -> None:
    chain = coin_chain
    id_, _deadline = lock_one(chain, asset=COIN, value=60)
    assert (coins(chain, "alice"), held(chain, COIN), held(chain)) == (40, 60, 0)
    outcome = chain.add(claim(chain, "bob", id_))
    assert [log.address for log in outcome.results[0].logs] == [COIN, HTLC]
    assert (coins(chain, "bob"), held(chain, COIN)) == (60, 0)
    chain.fail(lock(chain, asset=COIN, value=41), RejectionReason.INSUFFICIENT_FUNDS)


def test_both_ends_must_be_allowed_to_hold_it(coin_chain: Chain) -> None:
    chain = coin_chain
    chain.fail(lock(chain, recipient="carol", asset=COIN, value=1), RejectionReason.NOT_AUTHORIZED)
    for name in ("alice", "bob"):
        freeze(chain, name)
        chain.fail(lock(chain, asset=COIN, value=1), RejectionReason.ASSET_FROZEN)
        freeze(chain, name, False)


def test_a_frozen_recipient_cannot_claim_and_a_frozen_sender_is_refunded(coin_chain: Chain) -> None:
    chain = coin_chain
    id_, deadline = lock_one(chain, asset=COIN, value=60)
    freeze(chain, "alice")
    freeze(chain, "bob")
    chain.fail(claim(chain, "bob", id_), RejectionReason.ASSET_FROZEN)
    freeze(chain, "bob", False)
    assert chain.build(claim(chain, "bob", id_)).outcome.results[0].status == 1
    chain.add(refund(chain, "alice", id_), time_ms=deadline * 1_000)
    assert coins(chain, "alice") == 100


# Whatever is sent


PEOPLE = ("alice", "bob", "carol", "dave")
SECRETS = [sha256(bytes((number,))) for number in range(3)]


class Swapping(RuleBasedStateMachine):
    """Locks, claims and refunds in any order, against a model on paper."""

    make_chain: MakeChain

    def __init__(self) -> None:
        super().__init__()
        self.chain = self.make_chain(min_holding_atoms=5)
        self.chain.give("alice", "bob", amount=1_000)
        self.balances = {"alice": 1_000, "bob": 1_000, "carol": 0, "dave": 0}
        self.swaps: dict[Hash32, tuple[str, str, int, bytes, int]] = {}
        self.open: set[Hash32] = set()
        self.time_ms = self.chain.next_block.time_ms

    def send(self, sender: str, transaction: Transaction, valid: bool, stands: bool) -> bool:
        """Whether it was done, as the model says: refused where the sender has no standing, else failed."""
        proposal = self.chain.build(transaction, time_ms=self.time_ms)
        stands = stands or self.balances[sender] >= 5
        assert [status.status for status in proposal.outcome.results] == ([int(valid)] if valid or stands else [])
        self.chain.adopt(proposal)
        self.time_ms = max(self.time_ms, self.chain.next_block.time_ms)
        return valid

    @rule(milliseconds=st.sampled_from([1, 999, 1_000, 5_000, 20_000]))
    def wait(self, milliseconds: int) -> None:
        self.time_ms += milliseconds

    @rule(
        sender=st.sampled_from(PEOPLE),
        recipient=st.sampled_from(PEOPLE),
        value=st.sampled_from([0, 1, 5, 300, 1_000]),
        ahead_s=st.sampled_from([0, 1, 5, 20]),
        secret=st.sampled_from(SECRETS),
    )
    def lock(self, sender: str, recipient: str, value: int, ahead_s: int, secret: bytes) -> None:
        deadline = self.time_ms // 1_000 + ahead_s
        terms = (sha256(secret), self.chain.address(recipient), TOKEN, value, deadline)
        id_ = swap_id(terms[0], self.chain.address(sender), *terms[1:])
        valid = 0 < value <= self.balances[sender] and ahead_s > 0 and id_ not in self.swaps
        valid = valid and self.balances[sender] >= 5
        if self.send(sender, self.chain.call(sender, HTLC, LOCK, *terms), valid, stands=False):
            self.balances[sender] -= value
            self.swaps[id_] = (sender, recipient, value, secret, deadline)
            self.open.add(id_)

    @rule(sender=st.sampled_from(PEOPLE), place=st.integers(0, 9), secret=st.sampled_from(SECRETS), right=st.booleans())
    def claim(self, sender: str, place: int, secret: bytes, right: bool) -> None:
        for id_ in list(self.swaps)[-1 - place :][:1]:
            _owner, recipient, value, its_secret, deadline = self.swaps[id_]
            secret = its_secret if right else secret
            stands = self.balances[sender] >= 5 or sender == recipient
            valid = id_ in self.open and secret == its_secret and self.time_ms // 1_000 < deadline and stands
            if self.send(sender, claim(self.chain, sender, id_, secret), valid, stands=False):
                self.balances[recipient] += value
                self.open.remove(id_)

    @rule(sender=st.sampled_from(PEOPLE), place=st.integers(0, 9))
    def refund(self, sender: str, place: int) -> None:
        for id_ in list(self.swaps)[-1 - place :][:1]:
            owner, _recipient, value, _secret, deadline = self.swaps[id_]
            stands = self.balances[sender] >= 5 or sender == owner
            valid = id_ in self.open and self.time_ms // 1_000 >= deadline and stands
            if self.send(sender, refund(self.chain, sender, id_), valid, stands=False):
                self.balances[owner] += value
                self.open.remove(id_)

    @invariant()
    def the_module_holds_what_the_open_swaps_lock(self) -> None:
        state = self.chain.read()
        assert held(self.chain) == sum(self.swaps[id_][2] for id_ in self.open)
        assert {name: self.chain.balance(name) for name in PEOPLE} == self.balances
        assert state.supply().circulating == held(self.chain) + sum(self.balances.values()) == 2_000
        records = {key[1:] for key in self.chain.state.records if key[0] == Domain.SWAP}
        assert records == set(self.swaps)
        for id_ in self.swaps:
            swap = read_swap(state, Hash32(id_))
            assert swap is not None
            assert (swap.status is SwapStatus.OPEN) == (id_ in self.open)


def test_whatever_is_sent_the_module_holds_what_is_open(make_chain: MakeChain) -> None:
    class Machine(Swapping):
        pass

    Machine.make_chain = staticmethod(make_chain)
    quick = settings(
        max_examples=40,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    Machine.TestCase.settings = quick
    Machine.TestCase("runTest").debug()
