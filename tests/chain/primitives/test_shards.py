"""The parts of a split job: they add up, and what each provider earns sums to the amount."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.rejection import RejectionReason
from chain.primitives.shards import MAX_SHARDS, Shard, check_shards, split_amount
from chain.primitives.types import MAX_UINT256, Address, Amount, Hash32
from chain.primitives.units import MAX_MICRO_UNITS

ReasonOf = Callable[..., RejectionReason | None]

ONE, TWO, THREE = (Address(bytes([number]) * 20) for number in (1, 2, 3))


def shard(provider: Address, micro_units: int, **fields: Any) -> Shard:
    values: dict[str, Any] = {"provider": provider, "micro_units": micro_units, "artifact_sha256": "ab" * 32} | fields
    return Shard(**values)


def test_check_takes_what_adds_up() -> None:
    check_shards([shard(ONE, 1), shard(TWO, 2), shard(ONE, 3)], provider=TWO, micro_units=6)
    check_shards([shard(ONE, 5)], provider=ONE, micro_units=5)
    check_shards([shard(ONE, 0)] * MAX_SHARDS, provider=ONE, micro_units=0)


@pytest.mark.parametrize(
    ("shards", "provider", "micro_units"),
    [
        ([], ONE, 0),
        ([shard(ONE, 5)], TWO, 5),
        ([shard(ONE, 5)], ONE, 6),
        ([shard(ONE, 0)] * (MAX_SHARDS + 1), ONE, 0),
        ([shard(ONE, 2), shard(TWO, 4)], ONE, 5),
        ([shard(ONE, 2), shard(TWO, 2)], ONE, 5),
        ([shard(ONE, 7), shard(TWO, -2)], ONE, 5),
        ([shard(ONE, MAX_MICRO_UNITS + 1), shard(TWO, 0)], ONE, MAX_MICRO_UNITS + 1),
        ([shard(ONE, 2), shard(TWO, 3)], THREE, 5),
        ([shard(ONE, 2, artifact_sha256="AB" * 32), shard(TWO, 3)], ONE, 5),
        ([shard(ONE, 2, artifact_sha256=""), shard(TWO, 3)], ONE, 5),
        ([shard(ONE, 2, receipt_hash=bytes(32)), shard(TWO, 3, receipt_hash=bytes(32))], ONE, 5),
    ],
)
def test_check_refuses(shards: list[Shard], provider: Address, micro_units: int, reason_of: ReasonOf) -> None:
    reason = reason_of(check_shards, shards, provider=provider, micro_units=micro_units)
    assert reason is RejectionReason.INVALID_RECEIPT


@pytest.mark.parametrize("receipt_hash", [None, Hash32(b"\x05" * 32)])
def test_shards_travel_as_json(receipt_hash: Hash32 | None) -> None:
    given_shard = shard(ONE, 1_500_000, receipt_hash=receipt_hash)
    assert given_shard.to_object()["units"] == 1.5
    assert Shard.from_object(given_shard.to_object(), "shards[0]") == given_shard


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"provider": None}, RejectionReason.MALFORMED),
        ({"provider": "0x" + "aB" * 20}, RejectionReason.MALFORMED),
        ({"units": "1"}, RejectionReason.MALFORMED),
        ({"units": True}, RejectionReason.MALFORMED),
        ({"units": 0.0000001}, RejectionReason.INVALID_RECEIPT),
        ({"units": float("nan")}, RejectionReason.INVALID_RECEIPT),
        ({"artifact_sha256": None}, RejectionReason.MALFORMED),
        ({"receipt_hash": None}, RejectionReason.MALFORMED),
        ({"receipt_hash": "0x00"}, RejectionReason.MALFORMED),
        ({"amount": "1"}, RejectionReason.UNKNOWN_FIELD),
    ],
)
def test_faulty_objects(change: dict[str, Any], reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(Shard.from_object, shard(ONE, 1).to_object() | change, "shards[0]") is reason


@pytest.mark.parametrize("name", ["provider", "units", "artifact_sha256"])
def test_needed_fields(name: str, reason_of: ReasonOf) -> None:
    fields = shard(ONE, 1).to_object()
    del fields[name]
    assert reason_of(Shard.from_object, fields, "shards[0]") is RejectionReason.MISSING_FIELD
    assert reason_of(Shard.from_object, [], "shards[0]") is RejectionReason.MALFORMED


def test_amounts_by_units() -> None:
    shards = [shard(ONE, 1), shard(TWO, 2), shard(ONE, 3)]
    assert split_amount(shards, Amount(600)) == [(ONE, 400), (TWO, 200)]
    # 7 × 4/6 = 4.67 and 7 × 2/6 = 2.33: the atom that is left goes to whoever lost more.
    assert split_amount(shards, Amount(7)) == [(ONE, 5), (TWO, 2)]
    # 1/3 each: to the earlier.
    assert split_amount([shard(TWO, 1), shard(ONE, 1), shard(THREE, 1)], Amount(5)) == [(TWO, 2), (ONE, 2), (THREE, 1)]
    assert split_amount([shard(TWO, 0), shard(ONE, 0)], Amount(0)) == [(TWO, 0), (ONE, 0)]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, MAX_MICRO_UNITS)), min_size=2, max_size=MAX_SHARDS),
    st.integers(0, MAX_UINT256),
)
def test_shares_sum_exactly_and_are_within_an_atom_of_fair(parts: list[tuple[int, int]], amount: int) -> None:
    shards = [shard(Address(bytes([number]) * 20), units) for number, units in parts]
    total = sum(units for _, units in parts)
    if total == 0:
        amount = 0
    shares = split_amount(shards, Amount(amount))

    assert sum(share for _, share in shares) == amount
    assert [provider for provider, _ in shares] == list(dict.fromkeys(each.provider for each in shards))
    for provider, share in shares:
        weight = sum(each.micro_units for each in shards if each.provider == provider)
        assert total == 0 or abs(share * total - amount * weight) < total


def test_spelling_is_the_receipts_business() -> None:
    lower = msgspec.structs.replace(shard(Address(b"\xab" * 20), 1)).to_object() | {"provider": "0x" + "ab" * 20}
    again = Shard.from_object(lower, "shards[0]").to_object()
    assert again["provider"] == to_checksum_address(Address(b"\xab" * 20)) != to_hex(b"\xab" * 20)
