"""What a home knows of a key that is in a Ledger: where the device derives it, and its address. The key stays there.

It is a file beside the keystores, and nothing in it is secret. The device itself: `wallet.ledger`.
"""

from pathlib import Path
from typing import Literal

import msgspec

from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.rejection import Rejected
from chain.primitives.strict_json import count_containers
from chain.primitives.types import Address
from wallet.derivation import format_path, parse_path
from wallet.keystore import KeystoreError, read_closed_file, write_new_file


class LedgerAccount(msgspec.Struct, frozen=True):
    """A checked file."""

    path: Path
    derivation_path: str
    address: Address


class _File(msgspec.Struct):
    """Its JSON form."""

    version: Literal[1]
    kind: Literal["ledger"]
    path: str
    address: str


class _Kind(msgspec.Struct):
    kind: str | None = None


def write_ledger_account(path: Path, *, derivation_path: str, address: Address) -> None:
    """Writes a new file, 0600; raises KeystoreError where there is one, Rejected for a path that is none."""
    file = _File(1, "ledger", format_path(parse_path(derivation_path)), to_checksum_address(address))
    write_new_file(path, msgspec.json.format(msgspec.json.encode(file)) + b"\n")


def read_ledger_account(path: Path) -> LedgerAccount | None:
    """None where the file is something else, such as a keystore; raises KeystoreError where it is damaged."""
    text = read_closed_file(path)
    # It is one object and has no other; decoding a deeper one could exhaust the stack.
    if count_containers(text) != 1:
        return None
    try:
        if msgspec.json.decode(text, type=_Kind).kind is None:
            return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    try:
        file = msgspec.json.decode(text, type=_File)
        return LedgerAccount(path, format_path(parse_path(file.path)), parse_address(file.address))
    except (msgspec.DecodeError, Rejected) as error:
        raise KeystoreError(f"{path} is damaged: {error}") from None
