"""An asset at its own address: what an ERC-20 does, to the atom; as a transaction, simulated, and asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives import modules
from chain.primitives.market import ISSUE_ASSET, SET_FROZEN, AssetFlag, asset_address
from chain.primitives.modules import (
    APPROVAL_EVENT,
    ASSET_FUNCTIONS,
    TOKEN,
    TOKEN_ALLOWANCE,
    TOKEN_APPROVE,
    TOKEN_BALANCE_OF,
    TOKEN_DECIMALS,
    TOKEN_NAME,
    TOKEN_SYMBOL,
    TOKEN_TOTAL_SUPPLY,
    TOKEN_TRANSFER,
    TOKEN_TRANSFER_FROM,
    TRANSFER_EVENT,
)
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import MAX_UINT256, ZERO_ADDRESS, Address
from chain.rules.simulation import estimate_gas, simulate_call
from chain.rules.views import is_view

if TYPE_CHECKING:
    from chain.primitives.abi import Function
    from tests.chain.rules.assets.conftest import Issuance, MakeIssuance

NOBODY = [ZERO_ADDRESS, *modules.MODULES.values(), modules.TREASURY, asset_address(0), asset_address(1)]


def ask(issued: Issuance, function: Function, *arguments: Any) -> Any:
    """A view of the coin."""
    return issued.chain.view(issued.coin, function, *issued.named(arguments))


@pytest.fixture
def held(issued: Issuance) -> Issuance:
    """alice holds 100 atoms of the coin."""
    issued.mint(alice=100)
    return issued


def test_a_transfer_moves_atoms_and_emits_the_assets_event(held: Issuance) -> None:
    chain = held.chain
    outcome = chain.add(held.token("alice", TOKEN_TRANSFER, "dave", 40))
    (log,) = outcome.results[0].logs
    assert log.address == held.coin
    expected = {"from": chain.address("alice"), "to": chain.address("dave"), "value": 40}
    assert TRANSFER_EVENT.decode(log.topics, log.data) == expected
    assert [held.balance(name) for name in ("alice", "dave", "bob")] == [60, 40, 0]
    assert [chain.balance(name) for name in ("alice", "dave")] == [100 * 10**18, 0]


def test_assets_do_not_mix(held: Issuance) -> None:
    chain = held.chain
    other = held.issue("issuer", symbol="OTHER")
    for function, *arguments in ((TOKEN_TRANSFER, "bob", 1), (TOKEN_TRANSFER_FROM, "alice", "bob", 1)):
        call = chain.call("alice", other, function, *held.named(tuple(arguments)))
        reason = "INSUFFICIENT_FUNDS" if function is TOKEN_TRANSFER else "INSUFFICIENT_ALLOWANCE"
        chain.fail(call, RejectionReason[reason])
    chain.add(held.token("alice", TOKEN_APPROVE, "bob", 5))
    taken = chain.call("bob", other, TOKEN_TRANSFER_FROM, chain.address("alice"), chain.address("bob"), 1)
    chain.fail(taken, RejectionReason.INSUFFICIENT_ALLOWANCE)
    assert (held.balance("alice", other), held.balance("alice")) == (0, 100)


def test_transfers_to_the_last_atom(held: Issuance) -> None:
    for amount in (101, 2**255, MAX_UINT256):
        held.chain.fail(held.token("alice", TOKEN_TRANSFER, "bob", amount), RejectionReason.INSUFFICIENT_FUNDS)
    to_self, all_of_it = held.token("alice", TOKEN_TRANSFER, "alice", 100), (TOKEN_TRANSFER, "bob", 100)
    held.chain.add(to_self, held.token("alice", *all_of_it, later=1))
    assert (held.balance("alice"), held.balance("bob"), held.supply) == (0, 100, 100)


def test_a_transfer_of_nothing_is_one(held: Issuance) -> None:
    outcome = held.chain.add(held.token("bob", TOKEN_TRANSFER, "alice", 0))
    (log,) = outcome.results[0].logs
    assert (log.address, TRANSFER_EVENT.decode(log.topics, log.data)["value"]) == (held.coin, 0)
    assert not [key for key in outcome.changes if key[0] in (Domain.ASSET_BALANCE, Domain.ASSETS_HELD)]


@pytest.mark.parametrize("recipient", NOBODY)
def test_nothing_goes_to_nobody(held: Issuance, recipient: Address) -> None:
    held.chain.add(held.token("alice", TOKEN_APPROVE, "bob", MAX_UINT256))
    for amount in (0, 1, 101):
        held.chain.fail(held.token("alice", TOKEN_TRANSFER, recipient, amount), RejectionReason.INVALID_RECIPIENT)
        call = held.token("bob", TOKEN_TRANSFER_FROM, "alice", recipient, amount)
        held.chain.fail(call, RejectionReason.INVALID_RECIPIENT)


def test_an_allowance_is_used_up(held: Issuance) -> None:
    chain, alice, bob = held.chain, held.chain.address("alice"), held.chain.address("bob")
    outcome = chain.add(held.token("alice", TOKEN_APPROVE, "bob", 50))
    (log,) = outcome.results[0].logs
    approval = {"owner": alice, "spender": bob, "value": 50}
    assert (log.address, APPROVAL_EVENT.decode(log.topics, log.data)) == (held.coin, approval)
    take = held.token("bob", TOKEN_TRANSFER_FROM, "alice", "carol", 51)
    chain.fail(take, RejectionReason.INSUFFICIENT_ALLOWANCE)
    chain.add(held.token("bob", TOKEN_TRANSFER_FROM, "alice", "carol", 20))
    assert ask(held, TOKEN_ALLOWANCE, "alice", "bob") == 30
    chain.add(held.token("bob", TOKEN_TRANSFER_FROM, "alice", "carol", 30))
    assert state_key(Domain.ASSET_ALLOWANCE, held.coin + alice + bob) not in chain.state.records
    assert (held.balance("alice"), held.balance("carol")) == (50, 50)


def test_an_allowance_above_the_balance_and_without_end(held: Issuance) -> None:
    chain = held.chain
    chain.add(
        held.token("alice", TOKEN_APPROVE, "bob", 1000),
        held.token("alice", TOKEN_APPROVE, "carol", MAX_UINT256, later=1),
    )
    take = held.token("bob", TOKEN_TRANSFER_FROM, "alice", "bob", 101)
    chain.fail(take, RejectionReason.INSUFFICIENT_FUNDS)
    chain.add(held.token("carol", TOKEN_TRANSFER_FROM, "alice", "carol", 100))
    assert (ask(held, TOKEN_ALLOWANCE, "alice", "bob"), ask(held, TOKEN_ALLOWANCE, "alice", "carol")) == (
        1000,
        MAX_UINT256,
    )


def test_allowances_are_replaced_and_nobody_is_no_spender(held: Issuance) -> None:
    chain = held.chain
    chain.add(held.token("alice", TOKEN_APPROVE, "bob", 5), held.token("alice", TOKEN_APPROVE, "bob", 3, later=1))
    assert ask(held, TOKEN_ALLOWANCE, "alice", "bob") == 3
    chain.add(held.token("alice", TOKEN_APPROVE, "bob", 0))
    assert ask(held, TOKEN_ALLOWANCE, "alice", "bob") == 0
    chain.fail(held.token("alice", TOKEN_APPROVE, ZERO_ADDRESS, 1), RejectionReason.INVALID_RECIPIENT)


def test_a_spender_needs_an_allowance_and_nothing_else(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(AssetFlag.FREEZABLE)
    issued.mint(alice=10)
    issued.chain.add(
        issued.token("alice", TOKEN_APPROVE, "bob", 10), issued.call("issuer", SET_FROZEN, issued.coin, "bob", True)
    )
    to_itself = issued.token("bob", TOKEN_TRANSFER_FROM, "alice", "bob", 1)
    issued.chain.fail(to_itself, RejectionReason.ASSET_FROZEN)
    issued.chain.add(issued.token("bob", TOKEN_TRANSFER_FROM, "alice", "carol", 10))
    assert issued.balance("carol") == 10


@pytest.mark.parametrize("number", [0, 2, 256, 2**32 - 1])
def test_an_asset_that_nobody_issued(held: Issuance, number: int) -> None:
    chain, missing = held.chain, asset_address(number)
    alice, bob = chain.address("alice"), chain.address("bob")
    operations = ((TOKEN_TRANSFER, bob, 0), (TOKEN_APPROVE, bob, 1), (TOKEN_TRANSFER_FROM, bob, alice, 0))
    for function, *arguments in operations:
        chain.fail(chain.call("alice", missing, function, *arguments), RejectionReason.UNKNOWN_ASSET)
    for function in ASSET_FUNCTIONS:
        if function.is_view:
            with pytest.raises(Rejected) as caught:
                chain.raw_view(missing, function.selector + bytes(32 * len(function.inputs)))
            assert caught.value.reason is RejectionReason.UNKNOWN_ASSET


def test_what_an_asset_answers(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(name="Play Money (worth nothing)", symbol="PLAY", decimals=2)
    issued.mint(alice=7, bob=5)
    answers = [ask(issued, each) for each in (TOKEN_NAME, TOKEN_SYMBOL, TOKEN_DECIMALS, TOKEN_TOTAL_SUPPLY)]
    assert answers == ["Play Money (worth nothing)", "PLAY", 2, 12]
    assert [ask(issued, TOKEN_BALANCE_OF, name) for name in ("alice", "bob", "carol")] == [7, 5, 0]


def test_an_asset_takes_no_value_and_no_other_modules_calls(held: Issuance) -> None:
    chain = held.chain
    data = TOKEN_TRANSFER.encode(chain.address("bob"), 1)
    chain.refuse(chain.send("alice", held.coin, value=1, data=data), RejectionReason.VALUE_TO_MODULE)
    for value in (0, 1):
        chain.refuse(chain.send("alice", held.coin, value=value), RejectionReason.UNKNOWN_CALL)
    for function in (ISSUE_ASSET, modules.MINT_WITH_RECEIPT, modules.TRANSFER_WITH_AUTHORIZATION, TOKEN_BALANCE_OF):
        chain.refuse(chain.send("alice", held.coin, data=function.selector + bytes(64)), RejectionReason.UNKNOWN_CALL)
    for loose in (data + b"\0", data[:4] + b"\1" + data[5:]):
        chain.refuse(chain.send("alice", held.coin, data=loose), RejectionReason.NON_CANONICAL)
    for function in (modules.DOMAIN_SEPARATOR, modules.USED_RECEIPT):
        assert not is_view(held.coin, function.selector)
    assert not is_view(TOKEN, SET_FROZEN.selector)


def test_simulated_as_it_would_be(held: Issuance) -> None:
    chain = held.chain
    context: dict[str, Any] = {"sender": chain.address("alice"), "to": held.coin}
    data = TOKEN_TRANSFER.encode(chain.address("bob"), 40)
    simulated = simulate_call(chain.state, chain.next_block, data=data, **context)
    gas = estimate_gas(chain.state, chain.next_block, data=data, **context)
    (result,) = chain.build(held.token("alice", TOKEN_TRANSFER, "bob", 40)).outcome.results
    assert (simulated.output, simulated.logs, simulated.gas_used) == ((1).to_bytes(32, "big"), result.logs, gas)
    for ask_for in (simulate_call, estimate_gas):
        with pytest.raises(Rejected) as caught:
            ask_for(chain.state, chain.next_block, data=TOKEN_TRANSFER.encode(chain.address("bob"), 101), **context)
        assert caught.value.reason is RejectionReason.INSUFFICIENT_FUNDS
    asked = TOKEN_BALANCE_OF.encode(chain.address("alice"))
    assert int.from_bytes(simulate_call(chain.state, chain.next_block, data=asked, **context).output, "big") == 100
