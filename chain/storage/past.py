"""The state some blocks ago, from the head's state and the undo records in between."""

from typing import Final, Protocol

from chain.primitives.block import header_of_trusted
from chain.primitives.state_proof import StateProof, tree_key
from chain.primitives.types import Hash32
from chain.storage.errors import HistoryPruned
from chain.storage.records import decode_undo
from chain.storage.view import StateView

MAX_PAST_CHANGES: Final = 50_000
"""Changed keys between a past state and the head: five full blocks, or the whole history on a quiet network.

A proof in the past needs the tree as it was, at up to 15 µs per changed key, while commits wait.
"""

_UNCHANGED: Final = object()


class Prover(Protocol):
    """What a past state needs of the store."""

    def prove_at(self, height: int, state_key: bytes) -> tuple[bytes | None, StateProof]:
        """A value and its proof against the state root at a height."""


class PastState:
    """The state after the block at `height`; blocks that come later do not change it. Any thread."""

    def __init__(
        self, height: int, state_root: Hash32, view: StateView, old_values: dict[bytes, bytes | None], prover: Prover
    ) -> None:
        """`old_values`: what the tree keys that changed between `height` and the view's head held at `height`."""
        self.height = height
        self.state_root = state_root
        self.view = view
        self.old_values = old_values
        self._prover = prover

    def get(self, state_key: bytes) -> bytes | None:
        """The value under a state key, None where there was none."""
        value = self.old_values.get(tree_key(state_key), _UNCHANGED)
        return self.view.get(state_key) if value is _UNCHANGED else value  # type: ignore[return-value]

    def value_at(self, path: bytes) -> bytes | None:
        """The value under a tree key."""
        value = self.old_values.get(path, _UNCHANGED)
        return self.view.value_at(path) if value is _UNCHANGED else value  # type: ignore[return-value]

    def prove(self, state_key: bytes) -> tuple[bytes | None, StateProof]:
        """The value and its proof against `state_root`. Raises HistoryPruned once too much has changed since."""
        return self._prover.prove_at(self.height, state_key)


def past_state(view: StateView, height: int, prover: Prover) -> PastState:
    """The state at a height, as far as undo records reach back from the view's head; else raises HistoryPruned."""
    if view.head is None or not 0 <= height <= view.head.height:
        newest = "nothing is committed yet" if view.head is None else f"the newest block is {view.head.height}"
        raise HistoryPruned(f"There is no state at height {height}: {newest}.")
    old_values: dict[bytes, bytes | None] = {}
    for above in range(view.head.height, height, -1):
        record = view.undo_at(above)
        if record is None:
            raise HistoryPruned(f"The state at height {height} is no longer kept: the oldest is {above}.")
        old_values.update(decode_undo(record))
        if len(old_values) > MAX_PAST_CHANGES:
            raise HistoryPruned(f"Too much has changed since height {height}: ask for {above} or later.")
    if height == view.head.height:
        return PastState(height, view.head.state_root, view, {}, prover)
    block = view.block_at(height)
    assert block is not None
    return PastState(height, header_of_trusted(block).state_root, view, old_values, prover)
