"""From a seed to the key at a path (BIP-32), at the paths where Ethereum wallets look (BIP-44): m/44'/60'/0'/0/i."""

import re
from typing import Final

from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected, RejectionReason
from wallet.ethereum_libraries import load_library

HARDENED: Final = 1 << 31
"""Added to an index that stands with an apostrophe."""
MAX_INDEX: Final = HARDENED - 1
_MAX_DEPTH: Final = 10  # A Ledger takes no longer path; BIP-44 has 5 steps.
_STEP: Final = re.compile(r"(0|[1-9][0-9]{0,9})(['hH]?)")


def account_path(index: int) -> str:
    """Where MetaMask, Ledger and Foundry keep their account of this index, beginning with 0."""
    assert 0 <= index <= MAX_INDEX
    return f"m/44'/60'/0'/0/{index}"


def parse_path(text: str) -> tuple[int, ...]:
    """The indices of `m/44'/60'/…`, those with an apostrophe (or h) with HARDENED added; raises Rejected."""
    root, *steps = text.split("/", _MAX_DEPTH + 1)
    matches = [_STEP.fullmatch(step) for step in steps]
    if root != "m" or not 1 <= len(steps) <= _MAX_DEPTH:
        raise _malformed(f"it begins with m/ and has 1 to {_MAX_DEPTH} steps")
    indices: list[int] = []
    for match in matches:
        if match is None or int(match[1]) > MAX_INDEX:
            raise _malformed(f"each step is a number up to {MAX_INDEX}, with or without an apostrophe")
        indices.append(int(match[1]) + (HARDENED if match[2] else 0))
    return tuple(indices)


def format_path(indices: tuple[int, ...]) -> str:
    """The one way in which this wallet writes a path."""
    steps = (f"{index - HARDENED}'" if index >= HARDENED else str(index) for index in indices)
    return "/".join(("m", *steps))


def derive_key(seed: bytes, path: str) -> PrivateKey:
    """The key at a path; raises Rejected where the path is none."""
    library = load_library("eth_account.hdaccount.deterministic")
    return PrivateKey(library.HDPath(format_path(parse_path(path))).derive(seed))


def _malformed(rule: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"not a derivation path such as {account_path(0)}: {rule}", field="path")
