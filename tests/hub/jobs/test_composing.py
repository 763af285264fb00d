"""One receipt from the receipts of shards: sums, order, who signs, and the same bytes whoever composes it."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, combined_artifact_sha256
from chain.primitives.rejection import Rejected
from chain.primitives.types import Amount, Hash32
from chain.primitives.units import compute_amount
from hub.jobs.composing import composed, signable_since_ms, signers
from hub.store.jobs import Job, JobState
from hub.store.results import Result, ResultState

KEYS = [PrivateKey(bytes([number + 1]) * 32) for number in range(4)]
PRICE = Amount(10**17 + 7)
JOB = Job(
    job_id="job-1",
    owner="alice",
    client="alice",
    fingerprint="f",
    prompts=["a"],
    request={},
    images=4,
    seed=0,
    request_salt="0x",
    request_hash="0x",
    facts={"request": {"prompt_hash": to_hex(b"\x05" * 32)}},
    sequence=1,
    state=JobState.VERIFYING,
    created_at_ms=0,
    started_at_ms=None,
    ended_at_ms=None,
    failure_reason=None,
    failure_detail=None,
    cancel_requested_at_ms=None,
    pictures_done=4,
    event_count=1,
    shard_count=2,
)


def part(number: int, owner: int, micro_units: int) -> Receipt:
    return Receipt(
        job_id="job-1",
        provider=KEYS[owner].address,
        client="alice",
        micro_units=micro_units,
        unit_type="gpu_seconds",
        model="m",
        prompt_hash="sha256:" + "05" * 32,
        request_hash=Hash32(b"\x06" * 32),
        started_at=100 + number,
        finished_at=200 + number,
        artifact_sha256=f"{number:064x}",
        nonce=f"lease-{number}",
        hub_id="hub",
        chain_id=7,
        price_per_unit=PRICE,
        amount=compute_amount(micro_units, PRICE),
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**9)), min_size=2, max_size=20))
def test_units_times_and_payouts_add_up(shards: list[tuple[int, int]]) -> None:
    parts = [part(number, owner, units) for number, (owner, units) in enumerate(shards)]
    order = signers(parts)
    whole = composed(JOB, parts, provider=order[0])
    assert whole.micro_units == sum(units for _, units in shards)
    assert whole.amount == compute_amount(whole.micro_units, PRICE)
    assert sum(amount for _, amount in whole.payouts()) == whole.amount
    assert (whole.started_at, whole.finished_at) == (100, 200 + len(parts) - 1)
    assert whole.artifact_sha256 == combined_artifact_sha256([bytes.fromhex(each.artifact_sha256) for each in parts])
    assert [shard.receipt_hash for shard in whole.shards or ()] == [each.hash for each in parts]
    units_of = {key.address: sum(u for owner, u in shards if KEYS[owner] is key) for key in KEYS}
    assert [units_of[provider] for provider in order] == sorted((units_of[each] for each in order), reverse=True)
    assert composed(replace(JOB), list(parts), provider=order[0]).hash == whole.hash
    assert Receipt.from_object(msgspec.json.decode(whole.canonical_bytes())).hash == whole.hash


def test_another_signer_is_another_receipt() -> None:
    parts = [part(0, 0, 10), part(1, 1, 20)]
    hashes = {composed(JOB, parts, provider=provider).hash for provider in signers(parts)}
    assert len(hashes) == 2


def test_a_stranger_does_not_sign() -> None:
    with pytest.raises(Rejected):
        composed(JOB, [part(0, 0, 10), part(1, 1, 20)], provider=KEYS[3].address)


def result(*, judged_at_ms: int | None) -> Result:
    return Result(
        lease_id="lease",
        receipt_hash="0x",
        receipt_json="{}",
        provider_signature="0x",
        prompt_salt="0x",
        micro_units=1,
        amount=1,
        job_id="job-1",
        number=0,
        provider="0x",
        state=ResultState.DELIVERED if judged_at_ms is None else ResultState.ACCEPTED,
        refusal=None,
        delivered_at_ms=1_000,
        judged_at_ms=judged_at_ms,
    )


def test_a_check_that_took_long_leaves_the_signers_their_time() -> None:
    assert signable_since_ms([result(judged_at_ms=2_000), result(judged_at_ms=900_000)], 950_000) == 900_000
    assert signable_since_ms([result(judged_at_ms=2_000), result(judged_at_ms=None)], 950_000) == 950_000
