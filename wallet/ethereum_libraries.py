"""The one place where eth-account and eth-keyfile are loaded: late, and without what they do to the interpreter.

Loading them takes most of a second. And both import py_ecc, which raises the recursion limit to 100,000: in a process
that has done that, nested JSON from anybody overflows the C stack, a crash where there was a RecursionError.
"""

import importlib
import sys
from types import ModuleType


def load_library(name: str) -> ModuleType:
    """The module of this name, with the interpreter's recursion limit as it was before."""
    limit = sys.getrecursionlimit()
    try:
        return importlib.import_module(name)
    finally:
        sys.setrecursionlimit(limit)
