"""A swap's file: read back as it was written, and refused with the field's name where it is not one."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.modules import HTLC, TOKEN
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address
from wallet.swaps.terms import MAX_FILE_BYTES, Terms

MAKER, TAKER, CONTRACT, COIN = (to_checksum_address(Address(bytes((number,)) * 20)) for number in (1, 2, 3, 4))
ZERO = to_checksum_address(ZERO_ADDRESS)
FILE: dict[str, Any] = {
    "version": 1,
    "hash": "0x" + "ab" * 32,
    "maker": MAKER,
    "taker": TAKER,
    "first": {
        "chain_id": 7,
        "contract": to_checksum_address(HTLC),
        "asset": to_checksum_address(TOKEN),
        "value": "10",
        "deadline": 2_000,
    },
    "second": {"chain_id": 8, "contract": CONTRACT, "asset": ZERO, "value": "20", "deadline": 1_000},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    file = copy.deepcopy(FILE)
    *folders, name = path.split(".")
    place = file
    for folder in folders:
        place = place[folder]
    place[name] = value
    return file


def refusal(file: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        Terms.from_json(file if isinstance(file, bytes) else json.dumps(file).encode())
    return caught.value


def test_it_is_read_back() -> None:
    terms = Terms.from_json(json.dumps(FILE).encode())
    assert terms.to_object() == FILE
    assert Terms.from_json(terms.to_json()) == terms
    assert (terms.ours, terms.other) == (terms.first, terms.second)
    assert (terms.first.sender, terms.first.recipient) == (terms.maker, terms.taker)
    assert (terms.second.sender, terms.second.recipient) == (terms.taker, terms.maker)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("version", 2, "version"),
        ("version", True, "version"),
        ("hash", "0xab", "hash"),
        ("maker", 5, "maker"),
        ("taker", MAKER, "taker"),
        ("taker", ZERO, "taker"),
        ("first", [], "first"),
        ("first.chain_id", 0, "first.chain_id"),
        ("first.chain_id", 8, "second.chain_id"),
        ("first.chain_id", 2**32, "first.chain_id"),
        ("first.deadline", 1_000, "first.deadline"),
        ("first.deadline", 2**41, "first.deadline"),
        ("first.deadline", "2000", "first.deadline"),
        ("first.deadline", True, "first.deadline"),
        ("first.value", "0", "first.value"),
        ("first.value", "-1", "first.value"),
        ("first.value", 10, "first.value"),
        ("first.value", str(2**256), "first.value"),
        ("first.asset", ZERO, "first.asset"),
        ("first.contract", CONTRACT, "first.contract"),
        ("second.contract", to_checksum_address(HTLC), "first.contract"),
        ("second.more", 1, "second.more"),
        ("secret", "0x00", "swap.secret"),
    ],
)
def test_what_is_no_swap_names_its_field(path: str, value: Any, field: str) -> None:
    assert refusal(changed(path, value)).values["field"] == field


@pytest.mark.parametrize("name", FILE)
def test_every_member_is_needed(name: str) -> None:
    assert refusal({key: value for key, value in FILE.items() if key != name}).values["field"] == f"swap.{name}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b" " * (MAX_FILE_BYTES + 1), RejectionReason.TOO_LARGE),
        (b"\xff\xfe", RejectionReason.MALFORMED),
        (b"[" * 8_000, RejectionReason.TOO_LARGE),
        (b'{"version": 1, "version": 1}', RejectionReason.DUPLICATE_KEY),
        (b"null", RejectionReason.MALFORMED),
    ],
)
def test_what_is_no_json_object(text: bytes, reason: RejectionReason) -> None:
    assert refusal(text).reason is reason
