"""Quantities, data, addresses and blocks: what geth takes is taken, what it refuses is refused."""

from __future__ import annotations

from typing import Any

import pytest

from chain.api.rpc.block_ids import BlockTag, parse_block_id, parse_block_number
from chain.api.rpc.values import parse_address, parse_data, parse_hash, parse_quantity, parse_uint64, quantity
from chain.primitives.rejection import Rejected
from chain.primitives.types import MAX_UINT256

HASH = "0x" + "aB" * 32
NO_STRINGS = [None, True, False, 0, 7, -1, 1.5, [], ["0x1"], {}, {"a": 1}]


@pytest.mark.parametrize("number", [0, 1, 15, 16, 2**63, 2**64 - 1, MAX_UINT256])
def test_quantities_come_back(number: int) -> None:
    assert parse_quantity(quantity(number)) == number
    assert parse_quantity(quantity(number).upper()) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "7",
        "0x",
        "0x00",
        "0x01",
        "0xg",
        "0x-1",
        "-0x1",
        "0x1 ",
        " 0x1",
        "0x1_0",
        "0x1\n",
        "0x" + "1" * 65,
        "0x\u0661",
        "latest",
    ],
)
def test_no_quantities(text: str) -> None:
    with pytest.raises(Rejected):
        parse_quantity(text)


@pytest.mark.parametrize("value", NO_STRINGS)
def test_only_strings_are_values(value: Any) -> None:
    for parse in (parse_quantity, parse_data, parse_address, parse_hash, parse_block_number):
        with pytest.raises(Rejected):
            parse(value)


def test_quantities_are_bounded() -> None:
    assert parse_uint64("0xffffffffffffffff") == 2**64 - 1
    with pytest.raises(Rejected):
        parse_uint64("0x10000000000000000")
    with pytest.raises(Rejected):
        parse_quantity("0x1" + "0" * 64)


def test_data() -> None:
    assert parse_data("0x") == b""
    assert parse_data("0X0aFf") == b"\x0a\xff"
    for text in ("", "0a", "0x0", "0x0g", "0x0a 0b", "0x\n", "0x" + "é" * 2):
        with pytest.raises(Rejected):
            parse_data(text)
    assert parse_data("0x" + "00" * 4, max_bytes=4) == bytes(4)
    with pytest.raises(Rejected):
        parse_data("0x" + "00" * 5, max_bytes=4)


def test_addresses_and_hashes_have_their_length_and_any_case() -> None:
    mixed = "0x" + "aB" * 20  # No right checksum: geth does not look.
    assert parse_address(mixed) == bytes.fromhex("ab" * 20)
    assert parse_hash(HASH) == bytes.fromhex("ab" * 32)
    for parse, text in ((parse_address, mixed), (parse_hash, HASH)):
        for wrong in (text[:-2], text[:-1], text + "0", text[2:], text[:-1] + "g"):
            with pytest.raises(Rejected):
                parse(wrong)


def test_blocks_by_tag_number_and_hash() -> None:
    for tag in BlockTag:
        assert parse_block_id(tag.value) is tag
        assert parse_block_id({"blockNumber": tag.value}) is tag
    assert parse_block_id("0x1f") == 31
    assert parse_block_id({"blockNumber": "0x1f"}) == 31
    assert parse_block_id(HASH) == bytes.fromhex("ab" * 32)
    for canonical in ({}, {"requireCanonical": True}, {"requireCanonical": False}):
        assert parse_block_id({"blockHash": HASH, **canonical}) == bytes.fromhex("ab" * 32)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Latest",
        "newest",
        "7",
        "0x",
        "0x01",
        "0x8000000000000000",
        "0x" + "ab" * 31,
        {},
        {"blockHash": "0x1"},
        {"blockHash": HASH, "blockNumber": "0x1"},
        {"blockHash": HASH, "requireCanonical": "yes"},
        {"blockHash": HASH, "number": "0x1"},
        {"requireCanonical": True},
        {"blockNumber": HASH},
        [HASH],
        12,
        -1,
        True,
    ],
)
def test_no_blocks(value: Any) -> None:
    with pytest.raises(Rejected):
        parse_block_id(value)
