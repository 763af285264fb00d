"""EIP-712's encoding of random types and values, against a second encoder written from the text of the standard."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.types import Address
from wallet.typed_data import TypedData


def read(document: object) -> TypedData:
    return TypedData.from_json(json.dumps(document).encode())


def reference_type(name: str, types: dict[str, Any]) -> str:
    found: set[str] = set()

    def visit(struct: str) -> None:
        if struct in types and struct not in found:
            found.add(struct)
            for member in types[struct]:
                visit(member["type"].split("[")[0])

    visit(name)
    members = {each: ",".join(f"{member['type']} {member['name']}" for member in types[each]) for each in found}
    return "".join(f"{each}({members[each]})" for each in [name, *sorted(found - {name})])


def reference_struct(name: str, value: dict[str, Any], types: dict[str, Any]) -> bytes:
    encoded = keccak256(reference_type(name, types).encode())
    return keccak256(
        encoded + b"".join(reference_value(member["type"], value[member["name"]], types) for member in types[name])
    )


def reference_value(type_: str, value: Any, types: dict[str, Any]) -> bytes:
    if type_.endswith("]"):
        element = type_[: type_.rindex("[")]
        return keccak256(b"".join(reference_value(element, each, types) for each in value))
    if type_ in types:
        return reference_struct(type_, value, types)
    if type_ == "string":
        return keccak256(value.encode())
    if type_ == "bytes":
        return keccak256(bytes.fromhex(value[2:]))
    if type_.startswith("bytes"):
        return bytes.fromhex(value[2:]).ljust(32, b"\0")
    if type_ == "address":
        return bytes.fromhex(value[2:]).rjust(32, b"\0")
    return (int(value) % 2**256).to_bytes(32, "big")


@st.composite
def atomic(draw: st.DrawFn) -> tuple[str, st.SearchStrategy[Any]]:
    kind = draw(st.sampled_from(["bool", "string", "address", "bytes", "bytesN", "uint", "int"]))
    if kind == "bool":
        return kind, st.booleans()
    if kind == "string":
        return kind, st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
            ["0x12", "0", "false"]
        )
    if kind == "address":
        return kind, st.binary(min_size=20, max_size=20).map(lambda octets: to_checksum_address(Address(octets)))
    if kind == "bytes":
        return kind, st.binary(max_size=40).map(to_hex)
    if kind == "bytesN":
        size = draw(st.integers(1, 32))
        return f"bytes{size}", st.binary(min_size=size, max_size=size).map(to_hex)
    bits = 8 * draw(st.integers(1, 32))
    lowest, highest = (0, 2**bits - 1) if kind == "uint" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    numbers = st.integers(lowest, highest) | st.sampled_from([lowest, highest])
    return f"{kind}{bits}", numbers | numbers.map(str)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Up to three structs, each of which may hold those after it, and arrays of anything."""
    types: dict[str, Any] = {}
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name in draw(st.permutations(["Alpha", "beta", "Gamma_3"]))[: draw(st.integers(1, 3))]:
        members, fields = [], {}
        for position in range(draw(st.integers(0, 4))):
            type_, value = draw(atomic())
            if draw(st.booleans()) and values:
                type_ = draw(st.sampled_from(sorted(values)))
                value = values[type_]
            for _ in range(draw(st.integers(0, 2))):
                size = draw(st.none() | st.integers(1, 2))
                type_ += f"[{size or ''}]"
                value = st.lists(value, min_size=size or 0, max_size=size or 3)
            members.append({"name": f"field{position}", "type": type_})
            fields[f"field{position}"] = value
        types[name], values[name] = members, st.fixed_dictionaries(fields)
    domain = {"name": st.text("aé🔑", max_size=5), "version": st.just("1"), "chainId": st.integers(0, 2**256 - 1)}
    return {
        "types": types,
        "primaryType": name,
        "domain": draw(st.fixed_dictionaries({}, optional=domain)),
        "message": draw(values[name]),
    }


@settings(max_examples=300, deadline=None)
@given(documents())
def test_against_a_second_encoder(document: dict[str, Any]) -> None:
    fields = [("name", "string"), ("version", "string"), ("chainId", "uint256")]
    domain_types = {"EIP712Domain": [{"name": n, "type": t} for n, t in fields if n in document["domain"]]}
    separator = reference_struct("EIP712Domain", document["domain"], domain_types)
    struct_hash = reference_struct(document["primaryType"], document["message"], document["types"])
    assert read(document).preimage() == b"\x19\x01" + separator + struct_hash


def test_a_type_may_hold_itself() -> None:
    types = {"Tree": [{"name": "branches", "type": "Tree[]"}]}
    message = {"branches": [{"branches": []}, {"branches": [{"branches": []}]}]}
    typed = read({"types": types, "primaryType": "Tree", "domain": {"chainId": 1}, "message": message})
    assert typed.preimage()[-32:] == reference_struct("Tree", message, types)
    assert typed.lines()[-2:] == [
        ("message.branches[0].branches", "(empty list)"),
        ("message.branches[1].branches[0].branches", "(empty list)"),
    ]
