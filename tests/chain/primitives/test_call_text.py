"""Calls for people: what is shown is what would be done, and nothing in it can write on a terminal."""

from chain.primitives.call_text import describe_call
from chain.primitives.modules import (
    ADD_VALIDATOR,
    FORCE_EPOCH,
    GOVERNANCE,
    MINT_SPLIT,
    MINTER,
    REMOVE_VALIDATOR,
    SET_PARAMETER,
    TOKEN,
)
from chain.primitives.types import Address

ALICE = Address(bytes.fromhex("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"))


def test_every_kind_of_value() -> None:
    address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert describe_call(GOVERNANCE, FORCE_EPOCH.encode()) == "forceEpoch()"
    assert describe_call(GOVERNANCE, REMOVE_VALIDATOR.encode(ALICE)) == f"removeValidator({address})"
    assert describe_call(GOVERNANCE, SET_PARAMETER.encode("x", 2**256 - 1)) == f'setParameter("x", {2**256 - 1})'
    assert describe_call(GOVERNANCE, ADD_VALIDATOR.encode(b"\2\3", 7, b"")) == "addValidator(0x0203, 7, 0x)"
    split = MINT_SPLIT.encode([ALICE, ALICE], [1, 2], b"\5" * 32, b"")
    assert describe_call(MINTER, split) == f"mintSplit([{address}, {address}], [1, 2], 0x{'05' * 32}, 0x)"


def test_text_from_others_is_escaped() -> None:
    shown = describe_call(GOVERNANCE, SET_PARAMETER.encode('\x1b[2J\n"\u202eé\x7f', 1))
    assert shown.isascii()
    assert shown.isprintable()


def test_an_unknown_call_is_its_bytes() -> None:
    assert describe_call(TOKEN, FORCE_EPOCH.encode()) == "0x" + FORCE_EPOCH.selector.hex()
    assert describe_call(ALICE, b"") == "0x"
