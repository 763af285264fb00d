"""Proofs of the state: against the newest block, and against one of a while ago as long as little has changed since."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chain.api.state_proofs import MAX_CHANGES, prove_at, prove_newest
from chain.primitives.hexadecimal import parse_hash, parse_hex, to_hex
from chain.primitives.records import Account, Domain, state_key
from chain.primitives.state_proof import StateProof, verify_state_proof
from chain.primitives.types import Address
from chain.storage.errors import HistoryPruned

if TYPE_CHECKING:
    from chain.governance_answers import StateProofView
    from tests.chain.conftest import Chain

SENDERS = ("ann", "bob", "carl", "dora", "eve")


def value_of(answer: StateProofView) -> bytes | None:
    value = None if answer.value is None else parse_hex(answer.value)
    other = answer.proof.other_leaf
    proof = StateProof.from_object(
        {
            "siblings": answer.proof.siblings,
            "other_leaf": other and {"tree_key": other.tree_key, "value_hash": other.value_hash},
        }
    )
    assert verify_state_proof(parse_hash(answer.state_root), parse_hex(answer.state_key), value, proof)
    return value


def test_now_and_then(chain: Chain) -> None:
    chain.fund("ann", atoms=10**15)
    then = chain.head.height
    ann = state_key(Domain.ACCOUNT, chain.people.address("ann"))
    chain.add_block(chain.people.transfer("ann", "bob", 1, nonce=1))
    newest = prove_newest(chain.ledger, ann)
    assert (newest.height, newest.block_hash) == (then + 1, to_hex(chain.head.block_hash))
    assert Account.decode(value_of(newest) or b"") == Account(
        2, chain.state().account(chain.people.address("ann")).balance
    )
    past = prove_at(chain.ledger, then, ann)
    assert (past.height, Account.decode(value_of(past) or b"").nonce) == (then, 1)
    assert prove_at(chain.ledger, then + 1, ann) == newest
    assert value_of(prove_at(chain.ledger, 0, ann)) is None
    with pytest.raises(HistoryPruned):
        prove_at(chain.ledger, then + 2, ann)


def test_too_much_has_changed(chain: Chain) -> None:
    chain.fund(*SENDERS, atoms=10**18)
    then, ann = chain.head.height, state_key(Domain.ACCOUNT, chain.people.address("ann"))
    each = MAX_CHANGES // len(SENDERS) + 1
    recipients = iter(range(1, 10**6))
    chain.add_block(
        *(
            chain.people.send(name, Address(next(recipients).to_bytes(20, "little")), nonce=nonce, value=1)
            for name in SENDERS
            for nonce in range(1, each + 1)
        )
    )
    with pytest.raises(HistoryPruned, match="ask for the newest"):
        prove_at(chain.ledger, then, ann)
    assert Account.decode(value_of(prove_newest(chain.ledger, ann)) or b"").nonce == each + 1
