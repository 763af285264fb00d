"""The state after a block that is not committed (yet): a proposer's candidate, or a block that waits for finality."""

from collections.abc import Mapping, Sequence
from typing import Final, Union

from chain.primitives.types import Hash32
from chain.storage.rows import StateRow
from chain.storage.tree import TreeUpdate
from chain.storage.view import StateView

_ABSENT: Final = object()


class PendingState:
    """What changes make of the state that they were prepared on. It changes nothing: to abandon it, drop it."""

    def __init__(
        self,
        *,
        changes: Mapping[bytes, bytes | None],
        parent: Union[StateView, "PendingState"],
        base: StateView,
        since_base: Mapping[bytes, bytes | None],
        rows: Sequence[StateRow],
        update: TreeUpdate,
    ) -> None:
        """`since_base`, `rows` and `update` cover all pending states from the committed `base` to this one."""
        self.changes = changes
        self.parent: StateView | PendingState | None = parent
        self.rows = rows
        self.update = update
        self.committed_as: StateView | None = None
        self._base = base
        self._since_base = since_base

    @property
    def state_root(self) -> Hash32:
        """Root of this state."""
        return self.update.root

    def get(self, state_key: bytes) -> bytes | None:
        """The value under a state key in this state."""
        value = self._since_base.get(state_key, _ABSENT)
        return self._base.get(state_key) if value is _ABSENT else value  # type: ignore[return-value]

    def mark_committed(self, view: StateView) -> None:
        """Remembers where it went, and forgets its ancestors so that they can be freed."""
        self.committed_as = view
        self.parent = None
