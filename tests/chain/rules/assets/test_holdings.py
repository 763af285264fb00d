"""What a holding of an asset means: standing on the chain, and one way in which anything moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chain.primitives.market import BURN_ASSET
from chain.primitives.modules import (
    HTLC,
    MARKET,
    TOKEN,
    TOKEN_TRANSFER,
    TRANSFER_EVENT,
    TREASURY,
)
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address
from chain.rules.admission import Lane, check_admission, special_roles
from chain.rules.assets.holdings import (
    balance_of,
    check_asset,
    check_balance,
    check_may_trade,
    held_at_parent,
    issued_asset,
    move,
)
from chain.rules.call import Call
from chain.rules.state import State

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.assets.conftest import Issuance
    from tests.chain.rules.conftest import Chain


def call_in(chain: Chain) -> Call:
    """A call in the next block, by alice."""
    return Call(State(chain.state), chain.next_block, chain.address("alice"), MARKET)


def lane_of(chain: Chain, transaction: Transaction) -> Lane:
    """Why the mempool would take it."""
    state = chain.read()
    roles = special_roles(state)
    nonce = transaction.nonce
    return check_admission(state, transaction, chain.next_block, next_nonce=lambda _: nonce, roles=roles).lane


def held_count(state: State, holder: Address) -> bytes | None:
    """The record as it would be kept."""
    return state.changes().get(state_key(Domain.ASSETS_HELD, holder))


def test_ait_and_assets_move_alike(issued: Issuance) -> None:
    issued.mint(alice=50)
    chain, alice, bob = issued.chain, issued.chain.address("alice"), issued.chain.address("bob")
    for asset, others in ((TOKEN, 100 * 10**18), (issued.coin, 0)):
        call = call_in(chain)
        held = balance_of(call.state, asset, alice)
        move(call, asset, alice, bob, 7)
        move(call, asset, bob, TREASURY, 3)
        move(call, asset, bob, alice, 0)
        balances = [balance_of(call.state, asset, holder) for holder in (alice, bob, TREASURY)]
        assert balances == [held - 7, others + 4, 3]
        logs = [(log.address, TRANSFER_EVENT.decode(log.topics, log.data)) for log in call.logs]
        assert logs == [
            (asset, {"from": alice, "to": bob, "value": 7}),
            (asset, {"from": bob, "to": TREASURY, "value": 3}),
        ]


def test_what_moves_to_and_fro_leaves_no_trace(issued: Issuance) -> None:
    issued.mint(alice=50)
    call, alice, bob = call_in(issued.chain), issued.chain.address("alice"), issued.chain.address("bob")
    for asset in (TOKEN, issued.coin):
        move(call, asset, alice, bob, 50)
        move(call, asset, bob, alice, 50)
        move(call, asset, alice, alice, 50)
    assert call.state.changes() == {}


def test_nothing_is_ever_below_zero(issued: Issuance) -> None:
    issued.mint(alice=50)
    for asset in (TOKEN, issued.coin):
        call = call_in(issued.chain)
        with pytest.raises(AssertionError):
            move(call, asset, issued.chain.address("bob"), issued.chain.address("alice"), 10**30)


def test_how_many_assets_somebody_holds(issued: Issuance) -> None:
    chain, alice, bob = issued.chain, issued.chain.address("alice"), issued.chain.address("bob")
    other = issued.issue("issuer", symbol="OTHER")
    issued.mint(alice=50)
    call = call_in(chain)
    assert (held_at_parent(call.state, alice), held_at_parent(call.state, bob)) == (True, False)
    move(call, issued.coin, alice, bob, 20)
    assert (held_count(call.state, alice), held_count(call.state, bob)) == (None, b"\1")
    assert not held_at_parent(call.state, bob)
    move(call, issued.coin, alice, bob, 30)
    assert state_key(Domain.ASSETS_HELD, alice) in call.state.changes()
    assert (held_count(call.state, alice), held_count(call.state, bob)) == (None, b"\1")
    assert held_at_parent(call.state, alice)
    move(call, issued.coin, bob, HTLC, 50)
    assert held_count(call.state, bob) is held_count(call.state, HTLC) is None
    assert balance_of(call.state, other, alice) == 0


def test_whoever_holds_an_asset_is_no_newcomer(issued: Issuance) -> None:
    """As of the parent state, to the atom."""
    chain = issued.chain
    spend = issued.token("dave", TOKEN_TRANSFER, "alice", 1)
    chain.refuse(spend, RejectionReason.NEWCOMER_CALL)
    issued.mint(alice=1)
    give = issued.token("alice", TOKEN_TRANSFER, "dave", 1)
    chain.refuse(spend, RejectionReason.NEWCOMER_CALL, after=[give])
    chain.add(give)
    assert lane_of(chain, spend) is Lane.MEMBER
    again = issued.token("dave", TOKEN_TRANSFER, "alice", 1, nonce=1)
    chain.fail(again, RejectionReason.INSUFFICIENT_FUNDS, after=[spend])  # Still a member in this block.
    chain.add(spend)
    chain.refuse(again, RejectionReason.NEWCOMER_CALL)


def test_while_there_is_a_fee_only_ait_pays_it(issued: Issuance) -> None:
    chain = issued.chain
    issued.mint(dave=5)
    chain.set_parameter("base_fee_atoms", 1)
    chain.refuse(issued.token("dave", TOKEN_TRANSFER, "alice", 1, max_fee=1), RejectionReason.NEWCOMER_CALL)
    assert lane_of(chain, chain.mint("dave", "dave", 5)) is Lane.MINT
    chain.set_parameter("base_fee_atoms", 0)
    assert lane_of(chain, issued.token("dave", TOKEN_TRANSFER, "alice", 1)) is Lane.MEMBER


def test_an_asset_in_a_newcomers_pocket_does_not_keep_it_from_minting(issued: Issuance) -> None:
    chain = issued.chain
    issued.mint(dave=1)
    chain.add(chain.mint("dave", "dave", 5 * 10**18))
    assert chain.balance("dave") == 5 * 10**18


def test_modules_hold_without_standing(issued: Issuance) -> None:
    issued.mint(alice=5)
    call = call_in(issued.chain)
    move(call, issued.coin, issued.chain.address("alice"), MARKET, 5)
    assert balance_of(call.state, issued.coin, MARKET) == 5
    assert held_count(call.state, MARKET) is None
    assert state_key(Domain.ASSETS_HELD, MARKET) not in call.state.changes()


def test_burning_the_last_atom_ends_a_standing(issued: Issuance) -> None:
    chain = issued.chain
    issued.mint(issuer=5)
    assert held_at_parent(chain.read(), chain.address("issuer"))
    chain.add(issued.call("issuer", BURN_ASSET, issued.coin, 5))
    assert not held_at_parent(chain.read(), chain.address("issuer"))


def test_what_is_an_asset(issued: Issuance) -> None:
    state = issued.chain.read()
    check_asset(state, TOKEN)
    check_asset(state, issued.coin)
    for other in (ZERO_ADDRESS, MARKET, issued.chain.address("alice"), Address(issued.coin[:19] + b"\2")):
        for ask in (check_asset, issued_asset):
            with pytest.raises(Rejected) as caught:
                ask(state, other)
            assert caught.value.reason is RejectionReason.UNKNOWN_ASSET
        with pytest.raises(Rejected) as caught:
            check_may_trade(state, other, issued.chain.address("alice"))
        assert caught.value.reason is RejectionReason.UNKNOWN_ASSET
    for asset in (TOKEN, issued.coin):
        with pytest.raises(Rejected) as caught:
            check_balance(state, asset, issued.chain.address("stranger"), 1)
        assert caught.value.reason is RejectionReason.INSUFFICIENT_FUNDS
