"""Types of EIP-712 and their values: what fits, and everything that does not."""

import json
from typing import Any

import pytest

from chain.primitives.rejection import Rejected
from wallet.typed_data import TypedData


def read(document: object) -> TypedData:
    return TypedData.from_json(json.dumps(document).encode())


def of_type(type_: str, value: object) -> dict[str, Any]:
    return {
        "types": {"A": [{"name": "x", "type": type_}]},
        "primaryType": "A",
        "domain": {"chainId": 1},
        "message": {"x": value},
    }


@pytest.mark.parametrize(
    ("type_", "value", "read_as"),
    [
        ("uint8", 255, 255),
        ("uint8", "255", 255),
        ("uint8", "0xFf", 255),
        ("int8", "-128", -128),
        ("uint256", str(2**256 - 1), 2**256 - 1),
        ("int256", -(2**255), -(2**255)),
        ("bool", False, False),
        ("string", "0x12", "0x12"),
        ("bytes", "0x", b""),
        ("bytes3", "0x010203", b"\1\2\3"),
        ("address", "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        ("uint8[]", [], []),
        ("uint8[2][]", [[1, "2"]], [[1, 2]]),
    ],
)
def test_values_that_fit(type_: str, value: object, read_as: object) -> None:
    assert read(of_type(type_, value)).message == {"x": read_as}


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("uint8", True),
        ("uint8", "1e2"),
        ("uint8", "01"),
        ("uint8", " 1"),
        ("uint8", "٣"),
        ("uint8", 1.0),
        ("uint8", None),
        ("uint8", "0x"),
        ("int8", 128),
        ("int8", -129),
        ("uint256", "1" + "0" * 78),
        ("uint256", "9" * 5000),
        ("bool", "true"),
        ("bool", 1),
        ("bool", 0),
        ("string", 5),
        ("string", "\ud800"),
        ("bytes", "12"),
        ("bytes", "0x1"),
        ("bytes", [1, 2]),
        ("bytes4", "0x123456"),
        ("bytes4", "0x1234567890"),
        ("address", "0x" + "00" * 32),
        ("address", 0),
        ("uint8[]", 1),
        ("uint8[]", {"0": 1}),
        ("uint8[2]", [1]),
        ("uint8[2]", [1, 2, 3]),
        ("uint8[2][]", [[1, 2], [1]]),
        ("uint", 1),
        ("int", 1),
        ("uint7", 1),
        ("uint264", 1),
        ("uint08", 1),
        ("bytes0", "0x"),
        ("bytes33", "0x" + "00" * 33),
        ("byte", "0x00"),
        ("uint8[0]", []),
        ("uint8[01]", [1]),
        ("uint8[-1]", []),
        ("uint8[", 1),
        ("uint8]", 1),
        ("uint8[][]" * 20, []),
        ("fixed128x18", 1),
        ("", 1),
        ("A", {"x": {"x": {}}}),
    ],
)
def test_values_and_types_that_do_not_fit(type_: str, value: object) -> None:
    with pytest.raises(Rejected):
        read(of_type(type_, value))


def test_depth_is_bounded() -> None:
    """A type may hold itself in a list; its values end somewhere."""
    value: dict[str, Any] = {"x": []}
    for _ in range(100):
        value = {"x": [value]}
    document = of_type("A[]", value["x"])
    with pytest.raises(Rejected, match="deeper"):
        read(document)
    assert read(of_type("A[]", [{"x": []}, {"x": [{"x": []}]}])).message == {"x": [{"x": []}, {"x": [{"x": []}]}]}
