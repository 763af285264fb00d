"""Engines with one rule broken each. A simulator proves itself by catching them.

A mutant is the source of chain.consensus with some passages replaced; if a passage is gone, making it fails loudly.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec

import chain.consensus
from chain.consensus.simplex import SimplexEngine

_FOLDER: Final = Path(chain.consensus.__file__).parent
_SHARED: Final = ("__init__", "effects", "messages")
"""Mutants speak to the same driver in the same words."""
PACKAGE_PREFIX: Final = "mutant_of_consensus_"


class Change(msgspec.Struct, frozen=True):
    """A passage of a module, and what stands there instead."""

    module: str
    passage: str
    replacement: str


class _Source(Loader):
    def __init__(self, text: str, name: str) -> None:
        self._code = compile(text, f"<{name}>", "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


class _Finder(MetaPathFinder):
    """Finds the modules of mutated packages."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        text = self.sources.get(fullname)
        if text is None:
            return None
        return spec_from_loader(fullname, _Source(text, fullname), is_package="." not in fullname)


_finder: Final = _Finder()


def engine_class(name: str, changes: Sequence[Change]) -> type[SimplexEngine]:
    """The mutant's engine. Raises ValueError where a passage does not stand exactly once in its module."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    package = PACKAGE_PREFIX + name
    sources = {
        path.stem: path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.py")) if path.stem not in _SHARED
    }
    for change in changes:
        count = sources[change.module].count(change.passage)
        if count != 1:
            raise ValueError(
                f"mutant {name}: in {change.module}.py this passage stands {count} times:\n{change.passage}"
            )
        sources[change.module] = sources[change.module].replace(change.passage, change.replacement)
    _finder.sources[package] = ""
    for module, text in sources.items():
        for other in sources:
            text = text.replace(f"from chain.consensus.{other} import", f"from {package}.{other} import")  # noqa: PLW2901
        _finder.sources[f"{package}.{module}"] = text
    for loaded in [key for key in sys.modules if key == package or key.startswith(package + ".")]:
        del sys.modules[loaded]
    __import__(f"{package}.simplex")
    mutated: type[SimplexEngine] = sys.modules[f"{package}.simplex"].SimplexEngine
    return mutated
