"""The changes of a state in the form that the tree, the batch and the undo record all take."""

from collections.abc import Container, Mapping, Sequence
from hashlib import sha256

import msgspec

from chain.primitives.state_proof import LEAF_TAG
from chain.storage.past import PastState
from chain.storage.view import StateView


class StateRow(msgspec.Struct, frozen=True, gc=False):
    """One state key that changes."""

    state_key: bytes
    path: bytes
    """Its tree key."""

    old_value: bytes | None
    new_value: bytes | None


def rows_of_changes(
    view: StateView, changes: Mapping[bytes, bytes | None], always: Container[bytes] = ()
) -> list[StateRow]:
    """State keys with their new values beside what the view holds; without those that change nothing.

    But with those in `always`: what changes nothing against the view may still change what an uncommitted ancestor did.
    """
    rows: list[StateRow] = []
    for state_key, value in changes.items():
        path, old_value = view.entry(state_key)
        if value != old_value or state_key in always:
            rows.append(StateRow(state_key, path, old_value, value))
    return rows


def rows_of_past(past: PastState) -> list[StateRow]:
    """The changes that lead from a past state's view back to it; state keys are not known, and empty."""
    rows: list[StateRow] = []
    for path, value in past.old_values.items():
        value_now = past.view.value_at(path)
        if value != value_now:
            rows.append(StateRow(b"", path, value_now, value))
    return rows


def leaves_of_rows(rows: Sequence[StateRow]) -> dict[bytes, bytes | None]:
    """Tree key → new leaf hash, or None where the leaf goes."""
    hashed, tag = sha256, LEAF_TAG
    leaves: dict[bytes, bytes | None] = {}
    for row in rows:
        path, value = row.path, row.new_value
        leaves[path] = None if value is None else hashed(tag + path + hashed(value).digest()).digest()
    return leaves
