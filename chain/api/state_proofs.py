"""Proofs of what the state holds, now or some blocks ago, against the state root of a header."""

from typing import Final

from chain.governance_answers import OtherLeafView, StateProofPath, StateProofView
from chain.node.ledger import Ledger
from chain.primitives.block import Header, header_of_trusted
from chain.primitives.hexadecimal import to_hex
from chain.primitives.state_proof import OtherLeaf, StateProof
from chain.storage.errors import HistoryPruned
from chain.storage.past import PastState

MAX_CHANGES: Final = 2_000
"""Keys changed since a past state that is proven: the tree of then is put together again, while commits wait."""


def prove_newest(ledger: Ledger, state_key: bytes) -> StateProofView:
    """Against the newest final block."""
    head, value, proof = ledger.store.prove(state_key)
    assert head is not None
    return _view(head.header, state_key, value, proof)


def prove_at(ledger: Ledger, height: int, state_key: bytes) -> StateProofView:
    """Against the block at a height; raises HistoryPruned where it is too long ago, or too much has changed since."""
    past: PastState = ledger.store.state_at(height)
    if len(past.old_values) > MAX_CHANGES:
        raise HistoryPruned(
            f"Too much has changed since height {height} to prove anything of then: ask for the newest."
        )
    value, proof = past.prove(state_key)
    encoded = past.view.block_at(height)
    assert encoded is not None
    return _view(header_of_trusted(encoded), state_key, value, proof)


def _view(header: Header, state_key: bytes, value: bytes | None, proof: StateProof) -> StateProofView:
    other = proof.other_leaf
    return StateProofView(
        height=header.height,
        block_hash=to_hex(header.hash),
        state_root=to_hex(header.state_root),
        state_key=to_hex(state_key),
        value=to_hex(value) if value is not None else None,
        proof=StateProofPath(
            siblings=[to_hex(sibling) for sibling in proof.siblings],
            other_leaf=None if other is None else _other_leaf_view(other),
        ),
        finalized=True,
    )


def _other_leaf_view(leaf: OtherLeaf) -> OtherLeafView:
    return OtherLeafView(tree_key=to_hex(leaf.tree_key), value_hash=to_hex(leaf.value_hash))
