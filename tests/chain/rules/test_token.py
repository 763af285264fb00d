"""The token module: what an ERC-20 does, to the atom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chain.primitives import modules
from chain.primitives.modules import (
    APPROVAL_EVENT,
    TOKEN,
    TOKEN_ALLOWANCE,
    TOKEN_APPROVE,
    TOKEN_BALANCE_OF,
    TOKEN_TRANSFER,
    TOKEN_TRANSFER_FROM,
    TRANSFER_EVENT,
)
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import ATOMS_PER_AIT, MAX_UINT256, ZERO_ADDRESS, Address

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import Chain

HELD = 100 * ATOMS_PER_AIT
NOBODY = [ZERO_ADDRESS, *modules.MODULES.values(), Address(TOKEN[:19] + b"\x00")]


def transfer(chain: Chain, sender: str, recipient: Address, amount: int, **fields: int) -> Transaction:
    return chain.call(sender, TOKEN, TOKEN_TRANSFER, recipient, amount, **fields)


def approve(chain: Chain, owner: str, spender: str, amount: int, **fields: int) -> Transaction:
    return chain.call(owner, TOKEN, TOKEN_APPROVE, chain.address(spender), amount, **fields)


def take(chain: Chain, spender: str, owner: str, recipient: str, amount: int, **fields: int) -> Transaction:
    arguments = (chain.address(owner), chain.address(recipient), amount)
    return chain.call(spender, TOKEN, TOKEN_TRANSFER_FROM, *arguments, **fields)


def allowance(chain: Chain, owner: str, spender: str) -> int:
    granted: int = chain.view(TOKEN, TOKEN_ALLOWANCE, chain.address(owner), chain.address(spender))
    return granted


def test_transfer_moves_atoms_and_emits_the_event(rich_chain: Chain) -> None:
    chain = rich_chain
    outcome = chain.add(transfer(chain, "alice", chain.address("carol"), 5))
    assert chain.view(TOKEN, TOKEN_BALANCE_OF, chain.address("carol")) == 5
    assert chain.balance("alice") == HELD - 5
    (log,) = outcome.results[0].logs
    assert log.address == TOKEN
    assert TRANSFER_EVENT.decode(log.topics, log.data) == {
        "from": chain.address("alice"),
        "to": chain.address("carol"),
        "value": 5,
    }


def test_transfer_and_plain_transfer_are_the_same(rich_chain: Chain) -> None:
    chain = rich_chain
    plain = chain.build(chain.transfer("alice", "carol", 5)).outcome
    called = chain.build(transfer(chain, "alice", chain.address("carol"), 5)).outcome
    assert plain.changes == called.changes
    assert plain.results == called.results


def test_transfer_to_the_last_atom(rich_chain: Chain) -> None:
    chain, carol = rich_chain, rich_chain.address("carol")
    for amount in (HELD + 1, 2**255, MAX_UINT256):
        chain.fail(transfer(chain, "alice", carol, amount), RejectionReason.INSUFFICIENT_FUNDS)
    first, second = transfer(chain, "alice", carol, 60 * ATOMS_PER_AIT), chain.transfer("alice", "dave", HELD, later=1)
    chain.refuse(second, RejectionReason.INSUFFICIENT_FUNDS, after=[first])
    chain.fail(transfer(chain, "alice", carol, HELD, later=1), RejectionReason.INSUFFICIENT_FUNDS, after=[first])
    chain.add(transfer(chain, "alice", chain.address("alice"), HELD), transfer(chain, "alice", carol, HELD, later=1))
    assert (chain.balance("alice"), chain.balance("carol")) == (0, HELD)


@pytest.mark.parametrize("recipient", NOBODY)
def test_nothing_goes_to_nobody(rich_chain: Chain, recipient: Address) -> None:
    chain, alice = rich_chain, rich_chain.address("alice")
    chain.add(approve(chain, "alice", "bob", MAX_UINT256))
    for amount in (0, 1, HELD + 1):
        chain.fail(transfer(chain, "alice", recipient, amount), RejectionReason.INVALID_RECIPIENT)
        call = chain.call("bob", TOKEN, TOKEN_TRANSFER_FROM, alice, recipient, amount)
        chain.fail(call, RejectionReason.INVALID_RECIPIENT)


def test_an_approval_is_replaced_not_added_to(rich_chain: Chain) -> None:
    chain = rich_chain
    outcome = chain.add(approve(chain, "alice", "bob", 5))
    (log,) = outcome.results[0].logs
    assert APPROVAL_EVENT.decode(log.topics, log.data) == {
        "owner": chain.address("alice"),
        "spender": chain.address("bob"),
        "value": 5,
    }
    chain.add(approve(chain, "alice", "bob", 3), approve(chain, "alice", "carol", HELD * 9, later=1))
    assert [allowance(chain, "alice", name) for name in ("bob", "carol", "dave")] == [3, HELD * 9, 0]
    assert allowance(chain, "bob", "alice") == 0


def test_an_approval_of_nothing_leaves_no_record(rich_chain: Chain) -> None:
    chain = rich_chain
    key = state_key(Domain.ALLOWANCE, chain.address("alice") + chain.address("bob"))
    assert key not in chain.build(approve(chain, "alice", "bob", 0)).outcome.changes
    both = approve(chain, "alice", "bob", 5), approve(chain, "alice", "bob", 0, later=1)
    assert key not in chain.build(*both).outcome.changes
    chain.add(both[0])
    assert key in chain.state.records
    assert key not in chain.build(approve(chain, "alice", "bob", 5)).outcome.changes
    chain.add(approve(chain, "alice", "bob", 0))
    assert key not in chain.state.records


def test_the_zero_address_cannot_spend(rich_chain: Chain) -> None:
    call = rich_chain.call("alice", TOKEN, TOKEN_APPROVE, ZERO_ADDRESS, 5)
    rich_chain.fail(call, RejectionReason.INVALID_RECIPIENT)


def test_an_allowance_is_used_up_to_the_atom(rich_chain: Chain) -> None:
    chain, short = rich_chain, RejectionReason.INSUFFICIENT_ALLOWANCE
    chain.fail(take(chain, "bob", "alice", "bob", 1), short)
    chain.add(approve(chain, "alice", "bob", 10))
    chain.fail(take(chain, "bob", "alice", "bob", 11), short)
    first = take(chain, "bob", "alice", "carol", 6)
    chain.fail(take(chain, "bob", "alice", "carol", 5, later=1), short, after=[first])
    chain.add(first)
    assert allowance(chain, "alice", "bob") == 4
    chain.fail(take(chain, "bob", "alice", "carol", 5), short)
    chain.add(take(chain, "bob", "alice", "carol", 4))
    assert chain.balance("carol") == 10
    assert allowance(chain, "alice", "bob") == 0
    chain.fail(take(chain, "bob", "alice", "carol", 1), short)


def test_an_allowance_is_no_money(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(approve(chain, "alice", "bob", HELD * 2))
    chain.fail(take(chain, "bob", "alice", "bob", HELD + 1), RejectionReason.INSUFFICIENT_FUNDS)
    chain.add(take(chain, "bob", "alice", "bob", HELD))
    assert (chain.balance("alice"), chain.balance("bob")) == (0, 2 * HELD)
    chain.fail(take(chain, "bob", "alice", "bob", 1), RejectionReason.INSUFFICIENT_FUNDS)
    assert allowance(chain, "alice", "bob") == HELD


def test_an_unlimited_allowance_stays(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(approve(chain, "alice", "bob", MAX_UINT256))
    chain.add(take(chain, "bob", "alice", "carol", 7))
    assert allowance(chain, "alice", "bob") == MAX_UINT256
    chain.add(approve(chain, "alice", "bob", MAX_UINT256 - 1))
    chain.add(take(chain, "bob", "alice", "carol", 7))
    assert allowance(chain, "alice", "bob") == MAX_UINT256 - 8


def test_one_may_not_take_from_oneself_without_an_allowance(rich_chain: Chain) -> None:
    """As OpenZeppelin's ERC-20 has it."""
    chain = rich_chain
    chain.fail(take(chain, "alice", "alice", "bob", 1), RejectionReason.INSUFFICIENT_ALLOWANCE)
    chain.add(approve(chain, "alice", "alice", 2), take(chain, "alice", "alice", "alice", 2, later=1))
    assert (chain.balance("alice"), allowance(chain, "alice", "alice")) == (HELD, 0)


def test_an_approval_and_its_use_in_one_block(rich_chain: Chain) -> None:
    chain = rich_chain
    early = take(chain, "bob", "alice", "bob", 5)
    granted = approve(chain, "alice", "bob", 5)
    chain.fail(early, RejectionReason.INSUFFICIENT_ALLOWANCE)
    chain.add(granted, early)
    assert chain.balance("bob") == HELD + 5


def test_somebody_elses_allowance_is_of_no_use(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.give("mallory")
    chain.add(approve(chain, "alice", "bob", HELD))
    for transaction in (
        take(chain, "mallory", "alice", "mallory", 1),
        take(chain, "mallory", "alice", "bob", 1),
        take(chain, "alice", "bob", "alice", 1),
    ):
        chain.fail(transaction, RejectionReason.INSUFFICIENT_ALLOWANCE)
