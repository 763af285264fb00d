"""Text forms: EIP-55's own vectors, agreement with eth-utils, and every text that must be refused."""

from collections.abc import Callable
from fractions import Fraction

import eth_utils
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.hexadecimal import (
    format_ait,
    parse_address,
    parse_ait,
    parse_amount,
    parse_hash,
    parse_hex,
    to_checksum_address,
    to_hex,
)
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import ATOMS_PER_AIT, MAX_UINT256, Address

ReasonOf = Callable[..., RejectionReason | None]

EIP_55_VECTORS = (
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)


@pytest.mark.parametrize("text", EIP_55_VECTORS)
def test_eip_55_vectors(text: str) -> None:
    assert to_checksum_address(parse_address(text)) == text
    assert parse_address(text.lower()) == parse_address("0x" + text[2:].upper()) == parse_address(text)


@given(st.binary(min_size=20, max_size=20))
def test_checksums_agree_with_eth_utils(octets: bytes) -> None:
    text = to_checksum_address(Address(octets))
    assert text == eth_utils.to_checksum_address(octets)
    assert parse_address(text) == octets


def test_a_mistyped_letter_case_is_noticed(reason_of: ReasonOf) -> None:
    for text in EIP_55_VECTORS[4:]:
        for place in range(2, 42):
            mistyped = text[:place] + text[place].swapcase() + text[place + 1 :]
            if mistyped != text:
                assert reason_of(parse_address, mistyped) is RejectionReason.MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0X00",
        "00",
        "0x0",
        "0x0g",
        "0x 00",
        "0x00 ",
        " 0x00",
        "0x0 0",
        "0x00\n",
        "0x\t00",
        "0x+1",
        "0x0_0",
        "0x\u0660\u0660",
        "0x\ud800",
        "-0x00",
        None,
        7,
        True,
        b"0x00",
        ["0x00"],
    ],
)
def test_what_is_no_hex_string_is_refused(text: object, reason_of: ReasonOf) -> None:
    assert reason_of(parse_hex, text) is RejectionReason.MALFORMED
    assert reason_of(parse_address, text) is RejectionReason.MALFORMED


def test_lengths_are_exact(reason_of: ReasonOf) -> None:
    assert parse_hash("0x" + "Ab" * 32) == b"\xab" * 32
    for length in (0, 31, 33, 10_000):
        assert reason_of(parse_hash, "0x" + "ab" * length) is RejectionReason.MALFORMED
    for length in (0, 19, 21, 32):
        assert reason_of(parse_address, "0x" + "ab" * length) is RejectionReason.MALFORMED


@given(st.binary(max_size=100))
def test_hex_goes_there_and_back(octets: bytes) -> None:
    assert parse_hex(to_hex(octets)) == octets


@given(st.integers(0, MAX_UINT256))
def test_amounts_go_there_and_back(amount: int) -> None:
    assert parse_amount(str(amount)) == amount
    assert parse_ait(format_ait(amount)) == amount
    assert Fraction(format_ait(amount)) * ATOMS_PER_AIT == amount


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", RejectionReason.MALFORMED),
        ("-1", RejectionReason.MALFORMED),
        ("+1", RejectionReason.MALFORMED),
        (" 1", RejectionReason.MALFORMED),
        ("1\n", RejectionReason.MALFORMED),
        ("1.0", RejectionReason.MALFORMED),
        ("1e3", RejectionReason.MALFORMED),
        ("1_000", RejectionReason.MALFORMED),
        ("0x10", RejectionReason.MALFORMED),
        ("²", RejectionReason.MALFORMED),
        ("\u0661", RejectionReason.MALFORMED),
        ("9" * 79, RejectionReason.MALFORMED),
        ("9" * 100_000, RejectionReason.MALFORMED),
        ("00", RejectionReason.NON_CANONICAL),
        ("01", RejectionReason.NON_CANONICAL),
        (str(2**256), RejectionReason.OUT_OF_RANGE),
        (1, RejectionReason.MALFORMED),
        (True, RejectionReason.MALFORMED),
        (1.0, RejectionReason.MALFORMED),
        (None, RejectionReason.MALFORMED),
    ],
)
def test_amounts_have_one_spelling(text: object, reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(parse_amount, text) is reason


@pytest.mark.parametrize(
    ("text", "atoms"),
    [
        ("1.5", 15 * 10**17),
        ("0", 0),
        ("1.", 10**18),
        (".5", 5 * 10**17),
        ("007", 7 * 10**18),
        ("0.000000000000000001", 1),
        ("1.500000000000000000000", 15 * 10**17),
    ],
)
def test_people_write_ait_in_several_ways(text: str, atoms: int) -> None:
    assert parse_ait(text) == atoms


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", RejectionReason.MALFORMED),
        (".", RejectionReason.MALFORMED),
        ("-1", RejectionReason.MALFORMED),
        ("+1", RejectionReason.MALFORMED),
        (" 1", RejectionReason.MALFORMED),
        ("1,5", RejectionReason.MALFORMED),
        ("1e5", RejectionReason.MALFORMED),
        ("1e-999999999", RejectionReason.MALFORMED),
        ("NaN", RejectionReason.MALFORMED),
        ("Infinity", RejectionReason.MALFORMED),
        ("\u0661", RejectionReason.MALFORMED),
        ("1" * 100_000, RejectionReason.MALFORMED),
        ("0.0000000000000000001", RejectionReason.MALFORMED),
        ("2" * 60, RejectionReason.OUT_OF_RANGE),
    ],
)
def test_what_is_no_amount_of_ait_is_refused(text: str, reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(parse_ait, text) is reason


def test_amounts_are_shown_without_trailing_zeros() -> None:
    assert [format_ait(atoms) for atoms in (0, 1, 10**18, 15 * 10**17, 10 * 10**18)] == [
        "0",
        "0.000000000000000001",
        "1",
        "1.5",
        "10",
    ]
