"""Typed data: EIP-712's own example, a second encoder over random types, what is shown, and what is refused."""

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_address, to_hex
from chain.primitives.modules import MINTER, TOKEN
from chain.primitives.rejection import Rejected
from wallet.typed_data import MAX_TYPED_DATA_BYTES, TypedData

# The example of https://eips.ethereum.org/EIPS/eip-712, whose digest its Example.js pins.
MAIL: dict[str, Any] = {
    "types": {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person"},
            {"name": "contents", "type": "string"},
        ],
    },
    "primaryType": "Mail",
    "domain": {
        "name": "Ether Mail",
        "version": "1",
        "chainId": 1,
        "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
    },
    "message": {
        "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
        "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
        "contents": "Hello, Bob!",
    },
}
MAIL_DIGEST = "0xbe609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"


def read(document: object) -> TypedData:
    return TypedData.from_json(json.dumps(document).encode())


def test_the_example_of_the_standard() -> None:
    typed = read(MAIL)
    assert to_hex(keccak256(typed.preimage())) == MAIL_DIGEST
    assert typed.chain_id == 1
    assert typed.verifying_contract == parse_address(MAIL["domain"]["verifyingContract"])
    assert typed.lines() == [
        ("signs", "Mail"),
        ("domain name", "Ether Mail"),
        ("domain version", "1"),
        ("domain chainId", "1"),
        ("domain verifyingContract", "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"),
        ("message.from.name", "Cow"),
        ("message.from.wallet", "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"),
        ("message.to.name", "Bob"),
        ("message.to.wallet", "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"),
        ("message.contents", "Hello, Bob!"),
    ]


def test_spellings_that_mean_the_same() -> None:
    """Libraries leave the domain's type out, write integers as text and addresses in small letters."""
    document = copy.deepcopy(MAIL)
    del document["types"]["EIP712Domain"]
    document["domain"] = dict(reversed(document["domain"].items())) | {"chainId": "0x01"}
    document["message"] = dict(reversed(document["message"].items()))
    document["message"]["to"]["wallet"] = document["message"]["to"]["wallet"].lower()
    document["types"]["Unused"] = [{"name": "x", "type": "uint8"}]
    assert to_hex(keccak256(read(document).preimage())) == MAIL_DIGEST


def test_a_domain_may_name_nothing() -> None:
    typed = read(
        {"types": {"A": [{"name": "x", "type": "bool"}]}, "primaryType": "A", "domain": {}, "message": {"x": True}}
    )
    assert (typed.chain_id, typed.verifying_contract) == (None, None)
    assert typed.lines() == [("signs", "A"), ("message.x", "true")]
    assert len(typed.preimage()) == 66


def test_amounts_of_the_token_are_shown_as_such() -> None:
    document = {
        "types": {"T": [{"name": "to", "type": "address"}, {"name": "value", "type": "uint256"}]},
        "primaryType": "T",
        "domain": {"chainId": 77, "verifyingContract": to_hex(TOKEN)},
        "message": {"to": to_hex(MINTER), "value": "1500000000000000000"},
    }
    lines = read(document).lines()
    assert ("module", "token") in lines
    assert ("message.value", "1.5 AIT (1500000000000000000 atoms)") in lines


def changed(*path: str | int, to: object = ..., document: dict[str, Any] = MAIL) -> dict[str, Any]:
    """The example with one place replaced, or removed."""
    copied = copy.deepcopy(document)
    target: Any = copied
    for step in path[:-1]:
        target = target[step]
    if to is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = to
    return copied


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "not a JSON object"),
        ({}, "types is not"),
        (changed("types"), "types is not"),
        (changed("types", to=[]), "types is not"),
        (changed("types", "Mail"), "primaryType is none"),
        (changed("types", "Person"), "Person is not declared"),
        (changed("types", "Mail", to="x"), "types.Mail is not a list"),
        (changed("types", "Mail", 0, to={"name": "from"}), "exactly a name and a type"),
        (changed("types", "Mail", 0, to={"name": "from", "type": "Person", "indexed": True}), "exactly a name"),
        (changed("types", "Mail", 0, "name", to="fr om"), "proper name"),
        (changed("types", "Mail", 0, "name", to="to"), "declared twice"),
        (changed("types", "Mail", 0, "type", to=["Person"]), "not text"),
        (changed("types", "Mail", 0, "type", to="EIP712Domain"), "not for messages"),
        (changed("types", "uint256", to=[]), "no name for a struct"),
        (changed("types", "uint", to=[]), "no name for a struct"),
        (changed("types", "A(uint256 x)B", to=[]), "no name for a struct"),
        (changed("types", "EIP712Domain", 0), "order of EIP-712"),
        (changed("types", "EIP712Domain", 0, "type", to="bytes"), "order of EIP-712"),
        (changed("types", "EIP712Domain", to=list(reversed(MAIL["types"]["EIP712Domain"]))), "order of EIP-712"),
        (changed("primaryType"), "primaryType"),
        (changed("primaryType", to="EIP712Domain"), "primaryType"),
        (changed("primaryType", to=["Mail"]), "primaryType"),
        (changed("domain"), "domain is not"),
        (changed("domain", "version"), "order of EIP-712"),
        (changed("domain", "chain", to=1), "no field of a domain"),
        (changed("domain", "chainId", to=-1), "uint256"),
        (changed("domain", "verifyingContract", to="0x00"), "20 bytes"),
        (changed("message"), "message is not"),
        (changed("message", "to"), "message.to is missing"),
        (changed("message", "to", to=None), "message.to is not a JSON object"),
        (changed("message", "to", "amount", to=1), "would not be signed"),
        (changed("message", "to", "wallet", to="0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbb"), "checksum"),
        (changed("metadata", to={}), "metadata is no part"),
    ],
)
def test_refuses_what_is_no_typed_data(document: object, message: str) -> None:
    with pytest.raises(Rejected, match=message):
        read(document)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"\xff",
        b"{",
        b'{"types": {}, "types": {}}',
        b"[" * 4_000,
        b"[" * 100_000,
        b'{"types": NaN}',
        b'{"types": ' + b"9" * 5_000 + b"}",
        b" " * (MAX_TYPED_DATA_BYTES + 1),
    ],
)
def test_refuses_what_is_no_json(text: bytes) -> None:
    with pytest.raises(Rejected):
        TypedData.from_json(text)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where something stands in a document."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for step, element in steps for each in paths(element, (*path, step)))]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.just("Person[]"),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(paths(MAIL)[1:]), value=json_values)
def test_any_replaced_part_is_refused_or_read(path: tuple[str | int, ...], value: object) -> None:
    with contextlib.suppress(Rejected):
        typed = read(changed(*path, to=value))
        assert len(typed.preimage()) == 66
        assert typed.lines()


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, 1200), removed=st.integers(0, 40), inserted=st.binary(max_size=8))
def test_any_damage_is_refused_or_read(position: int, removed: int, inserted: bytes) -> None:
    text = json.dumps(MAIL).encode()
    with contextlib.suppress(Rejected):
        assert len(TypedData.from_json(text[:position] + inserted + text[position + removed :]).preimage()) == 66
