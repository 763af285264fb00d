"""Promises against measurements: broken ones are found, kept ones never are."""

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.sla import ServiceLevel
from chain.primitives.types import Amount
from hub.reputation.service_levels import LEAST_SAMPLES, Sample, breaches_of, is_in_force

KEY = PrivateKey(b"\x21" * 32)
FROM_S = 1_790_000_000


def statement(**changes: int) -> ServiceLevel:
    fields = {"availability_basis_points": 9_900, "p95_latency_ms": 1_000, "valid_until": FROM_S + 86_400} | changes
    return ServiceLevel(
        chain_id=5,
        provider=KEY.address,
        endpoint="https://provider.example",
        price_per_unit=Amount(1),
        unit_type="images",
        valid_from=FROM_S,
        **fields,
    )


def samples(*times_ms: int | None) -> list[Sample]:
    return [Sample(FROM_S + number, took_ms) for number, took_ms in enumerate(times_ms)]


def test_a_kept_promise() -> None:
    assert breaches_of(statement(), samples(*[900] * 191, *[60_000] * 9)) == []
    assert breaches_of(statement(), samples(*[900] * 198, None, None)) == []


def test_broken_promises() -> None:
    (slow,) = breaches_of(statement(), samples(*[900] * 180, *[5_000] * 20))
    assert (slow.promise, slow.promised, slow.measured) == ("p95_latency_ms", 1_000, 5_000)
    (away,) = breaches_of(statement(), samples(*[900] * 190, *[None] * 10))
    assert (away.promise, away.measured) == ("availability_basis_points", 9_500)


def test_too_few_to_say_and_outside_its_time() -> None:
    bad = samples(*[None] * LEAST_SAMPLES)
    assert breaches_of(statement(), bad[:-1]) == []
    assert breaches_of(statement(valid_until=FROM_S + 100), bad) == []
    assert breaches_of(statement(), bad) != []


def test_whose_statement_is_in_force() -> None:
    name, hash_ = to_checksum_address(KEY.address), to_hex(statement().hash)
    assert is_in_force(statement(), name, hash_, 5)
    assert not is_in_force(statement(), name, hash_, 6)
    assert not is_in_force(statement(p95_latency_ms=2_000), name, hash_, 5)
    assert not is_in_force(statement(), "0x" + "11" * 20, hash_, 5)
    assert not is_in_force(statement(), name, None, 5)
    assert not is_in_force(statement(), name, "nonsense", 5)
