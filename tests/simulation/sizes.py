"""How much an engine holds: the elements of all containers that can be reached from it."""

from typing import Any, Final

import msgspec

_CONTAINERS: Final = (dict, list, tuple, set, frozenset)
_OURS: Final = ("chain.consensus", "mutant_of_consensus_")


def element_count(root: object) -> int:
    """Elements of every container within objects of the engine's modules; messages and blocks count as one."""
    count = 0
    stack: list[Any] = [root]
    seen: dict[int, Any] = {}
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen[id(item)] = item
        if isinstance(item, dict):
            count += len(item)
            stack += item.values()
        elif isinstance(item, _CONTAINERS):
            count += len(item)
            stack += item
        elif type(item).__module__.startswith(_OURS) and not isinstance(item, msgspec.Struct | type):
            stack += vars(item).values() if hasattr(item, "__dict__") else ()
            for kind in type(item).__mro__:
                stack += [getattr(item, name) for name in getattr(kind, "__slots__", ()) if hasattr(item, name)]
    return count
