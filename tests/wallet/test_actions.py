"""What a transaction does, in words, for every call that a module defines and for bytes that mean nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.market import ISSUE_ASSET, MINT_ASSET, PLACE_ORDER, OrderKind, Side, asset_address
from chain.primitives.modules import (
    FUNCTIONS,
    HTLC,
    MARKET,
    MINT_SPLIT,
    MINT_WITH_RECEIPT,
    MINTER,
    REGISTER,
    REGISTRY,
    TOKEN,
    TOKEN_APPROVE,
    TOKEN_TRANSFER,
    TOKEN_TRANSFER_FROM,
    TRANSFER_WITH_AUTHORIZATION,
    functions_of,
)
from chain.primitives.swaps import LOCK
from chain.primitives.types import Address
from wallet.actions import describe_action

PERSON = PrivateKey(b"\x01" * 32).address
PERSON_TEXT = to_checksum_address(PERSON)
COIN = asset_address(1)
COIN_TEXT = to_checksum_address(COIN)


def test_both_kinds_of_transfer_read_alike() -> None:
    plain = describe_action(PERSON, 15 * 10**17, b"")
    assert plain.name == "transfer"
    assert dict(plain.details) == {"to": PERSON_TEXT, "amount": "1.5 AIT (1500000000000000000 atoms)"}
    assert describe_action(TOKEN, 0, TOKEN_TRANSFER.encode(PERSON, 15 * 10**17)) == plain


def test_a_note_cannot_steer_the_terminal() -> None:
    assert dict(describe_action(PERSON, 1, b"rent, May").details)["note"] == "rent, May"
    assert dict(describe_action(PERSON, 1, b"\x1b[2Jhi").details)["note"] == "0x1b5b324a6869"


def test_value_that_a_module_would_not_take_is_shown() -> None:
    action = describe_action(TOKEN, 5, TOKEN_TRANSFER.encode(PERSON, 1))
    assert action.details[-1] == ("value", "0.000000000000000005 AIT (5 atoms)")


def test_a_mint() -> None:
    action = describe_action(MINTER, 0, MINT_WITH_RECEIPT.encode(PERSON, 10**18, b"\x05" * 32, b"\x06" * 130))
    assert action.name == "mintWithReceipt"
    assert dict(action.details) == {
        "for": PERSON_TEXT,
        "amount": "1 AIT (1000000000000000000 atoms)",
        "receipt": "0x" + "05" * 32,
        "attestation": "2 signature(s)",
    }


def test_other_calls_show_every_argument() -> None:
    approval = describe_action(TOKEN, 0, TOKEN_APPROVE.encode(PERSON, 5))
    assert dict(approval.details) == {
        "module": "token",
        "spender": PERSON_TEXT,
        "value": "0.000000000000000005 AIT (5 atoms)",
    }
    authorized = TRANSFER_WITH_AUTHORIZATION.encode(PERSON, PERSON, 5, 0, 1_800_000_000, b"\x07" * 32, b"\x06" * 65)
    shown = dict(describe_action(TOKEN, 0, authorized).details)
    assert (shown["owner"], shown["validAfter"], shown["validBefore"]) == (
        PERSON_TEXT,
        "any time",
        "2027-01-15 08:00:00 UTC",
    )
    assert shown["authorization"] == "0x" + "07" * 32
    split = dict(describe_action(MINTER, 0, MINT_SPLIT.encode([PERSON] * 2, [1, 2], b"\x05" * 32, b"")).details)
    assert split["providers"] == f"{PERSON_TEXT}, {PERSON_TEXT}"
    offer = describe_action(REGISTRY, 0, REGISTER.encode("http://x", ["m"], 7, "images", 0, PERSON))
    assert offer.name == "register"
    assert dict(offer.details)["models"] == "m"


def test_an_assets_atoms_are_not_taken_for_ait() -> None:
    sent = describe_action(COIN, 0, TOKEN_TRANSFER.encode(PERSON, 10**18))
    assert (sent.name, sent.details) == (
        "transfer",
        (("asset", COIN_TEXT), ("to", PERSON_TEXT), ("amount", f"{10**18} atoms of the asset")),
    )
    taken = describe_action(COIN, 0, TOKEN_TRANSFER_FROM.encode(PERSON, PERSON, 7))
    assert dict(taken.details) == {
        "asset": COIN_TEXT,
        "owner": PERSON_TEXT,
        "to": PERSON_TEXT,
        "value": "7 atoms of the asset",
    }
    minted = describe_action(MARKET, 0, MINT_ASSET.encode(COIN, PERSON, 10**18))
    assert dict(minted.details)["value"] == f"{10**18} atoms of the asset"
    for asset, value in ((COIN, "5 atoms of the asset"), (TOKEN, "0.000000000000000005 AIT (5 atoms)")):
        locked = describe_action(HTLC, 0, LOCK.encode(b"\x01" * 32, PERSON, asset, 5, 1_800_000_000))
        assert dict(locked.details) == {
            "module": "htlc",
            "hash": "0x" + "01" * 32,
            "recipient": PERSON_TEXT,
            "asset": "AIT" if asset == TOKEN else f"asset {COIN_TEXT}",
            "value": value,
            "deadline": "2027-01-15 08:00:00 UTC",
        }


def test_an_order_in_words() -> None:
    order = PLACE_ORDER.encode(3, Side.SELL, OrderKind.GOOD_TILL_HEIGHT, 250, 4, 1000, 77)
    assert dict(describe_action(MARKET, 0, order).details) == {
        "module": "market",
        "market": "3",
        "side": "sell",
        "kind": "good till height",
        "price": "250 quote atoms per lot",
        "lots": "4",
        "expiryHeight": "1000",
        "clientId": "77",
    }
    unknown = dict(describe_action(MARKET, 0, PLACE_ORDER.encode(3, 2, 255, 250, 4, 0, 0)).details)
    assert (unknown["side"], unknown["kind"]) == ("unknown (2)", "unknown (255)")
    issued = ISSUE_ASSET.encode("Play Money", "PLAY", 6, 500, 5, bytes(32))
    shown = dict(describe_action(MARKET, 0, issued).details)
    assert (shown["flags"], shown["cap"], shown["name"]) == (
        "authorization required, clawback",
        "500 atoms of the asset",
        "Play Money",
    )


@pytest.mark.parametrize(
    ("to", "call_data"),
    [
        (TOKEN, b""),
        (TOKEN, b"\x00" * 4),
        (TOKEN, TOKEN_TRANSFER.selector),
        (TOKEN, TOKEN_TRANSFER.encode(PERSON, 1) + b"\0"),
        (Address(TOKEN[:19] + b"\xff"), b"\x01\x02"),
        (COIN, MINT_WITH_RECEIPT.selector),
        (COIN, TOKEN_TRANSFER.encode(PERSON, 1)[:-1]),
    ],
)
def test_what_no_module_would_understand(to: Address, call_data: bytes) -> None:
    assert describe_action(to, 0, call_data).name == "unknown call"


@given(
    module=st.sampled_from([*sorted(FUNCTIONS), COIN]),
    index=st.integers(0, 20),
    arguments=st.binary(max_size=400),
    value=st.integers(0, 2**256 - 1),
)
def test_any_bytes_are_described_in_printable_words(module: Address, index: int, arguments: bytes, value: int) -> None:
    functions = functions_of(module)
    action = describe_action(module, value, functions[index % len(functions)].selector + arguments)
    assert all(text.isprintable() for line in action.details for text in line)


def test_what_is_not_shown_is_said() -> None:
    """Nobody signs for a fifth provider, or the end of a text, without a sign that there is more."""
    many = dict(describe_action(MINTER, 0, MINT_SPLIT.encode([PERSON] * 9, [1] * 9, b"\x05" * 32, b"")).details)
    assert many["providers"].endswith("… (9 in all)")
    assert many["units"].endswith("… (9 in all)")
    note = dict(describe_action(PERSON, 1, b"x" * 201).details)["note"]
    assert note == "x" * 200 + "… (201 bytes)"
    assert dict(describe_action(PERSON, 1, b"x" * 200).details)["note"] == "x" * 200
