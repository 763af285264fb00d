"""Units that are committed together: what one adds stops the next one where it must."""

from collections.abc import Callable

from hub.store import checks, jobs, leases, perceptual, receipts, results, shards, waiting
from hub.store.checks import NewCheck
from hub.store.jobs import JobState
from hub.store.leases import LeaseState
from hub.store.perceptual import NearPicture
from hub.store.receipts import Form, NewReceipt, Receipt
from hub.store.shards import ShardState
from hub.store.store import Store
from hub.store.transaction import Transaction
from tests.hub.store.conftest import (
    ANNA,
    BERTA,
    CARLA,
    NOW_MS,
    add_job,
    deliver,
    new_lease,
    new_pictures,
    new_result,
    take,
)
from tests.hub.store.test_writing import together

RECEIPT_HASH = "0x" + "ab" * 32


def with_result(store: Store) -> None:
    add_job(store)
    take(store, new_lease("lease-1"))
    deliver(store, "lease-1")


def keep_receipt(transaction: Transaction) -> None:
    receipt = NewReceipt(
        job_id="job-1",
        receipt_hash=RECEIPT_HASH,
        provider=ANNA,
        receipt_json="{}",
        provider_signature="0x",
        prompt_salt="",
        micro_units=1,
        amount=1,
        artifact_sha256="cd" * 32,
        form=Form.MINT,
        is_withdrawable=True,
    )
    receipts.keep(transaction, receipt, NOW_MS)


async def test_a_check_is_seen_by_whoever_would_attest_its_job(store: Store) -> None:
    """Else a receipt were signed while a part of it is looked at."""
    with_result(store)

    def look_again(transaction: Transaction) -> None:
        check = NewCheck(check_id="lease-1", job_id="job-1", shard=0, lease_id="lease-1", provider=ANNA, kind="k")
        checks.add(transaction, check, NOW_MS)

    assert (await together(store, look_again, lambda t: checks.open_of_job(t, "job-1")))[1] == 1


async def test_a_receipt_is_seen_by_whoever_would_call_its_job_off(store: Store) -> None:
    """Else a job that is whole and paid would end as cancelled."""
    with_result(store)

    kept = (await together(store, keep_receipt, lambda t: receipts.get(t, "job-1")))[1]
    assert isinstance(kept, Receipt)


async def test_a_picture_is_seen_by_the_next_one_that_is_like_it(store: Store) -> None:
    """Else copies that come at the same moment would not be found."""
    add_job(store)

    def deliver_copy(transaction: Transaction) -> list[NearPicture]:
        found = perceptual.near(transaction, 7, max_distance=3)
        perceptual.keep(
            transaction, job_id="job-1", picture=0, provider=ANNA, hash64=7, run_key=1, sha256="ab" * 32, now_ms=NOW_MS
        )
        return found

    one, other = await together(store, deliver_copy, deliver_copy)
    assert isinstance(other, list)
    assert (one, len(other)) == ([], 1)


async def test_pictures_that_are_handed_out_are_called_off_with_their_job(store: Store) -> None:
    """Also what a cut has left: else it would go on waiting, and a provider work at it, for a job that has ended."""
    add_job(store, images=4)

    def hand_out(transaction: Transaction) -> None:
        waiting.take(transaction, [new_lease("lease-1", pictures=2)], process="p", now_ms=NOW_MS)

    def call_off(transaction: Transaction) -> None:
        jobs.call_off(transaction, "job-1", "cancelled", NOW_MS)

    await together(store, hand_out, call_off)

    states = {shard.state for shard in store.read_now(lambda r: shards.of_job(r, "job-1"))}
    (lease,) = store.read_now(lambda r: leases.of_job(r, "job-1"))
    assert (states, lease.state) == ({ShardState.CANCELLED}, LeaseState.FAILED)


async def test_pictures_that_are_left_of_a_cut_do_not_wait_for_a_job_that_has_ended(store: Store) -> None:
    add_job(store, images=4)

    def hand_out(transaction: Transaction) -> None:
        wanted = [new_lease("lease-1", pictures=2), new_lease("lease-2", first_picture=2)]
        waiting.take(transaction, wanted, process="p", now_ms=NOW_MS)

    def end(transaction: Transaction) -> None:
        jobs.end(transaction, "job-1", JobState.FAILED, reason="x", now_ms=NOW_MS)

    await together(store, hand_out, end)

    found = store.read_now(lambda r: shards.of_job(r, "job-1"))
    assert [shard.state for shard in found] == [ShardState.CANCELLED] * 3


async def test_pictures_that_are_left_of_a_cut_are_cancelled_with_the_others(store: Store) -> None:
    add_job(store, images=4)

    def hand_out(transaction: Transaction) -> None:
        waiting.take(transaction, [new_lease("lease-1", pictures=2)], process="p", now_ms=NOW_MS)

    await together(store, hand_out, lambda t: jobs.request_cancel(t, "job-1", NOW_MS))

    found = store.read_now(lambda r: shards.of_job(r, "job-1"))
    assert [shard.state for shard in found] == [ShardState.LEASED, ShardState.CANCELLED]


async def test_a_late_result_ends_the_turn_of_whoever_was_to_make_it_again(store: Store) -> None:
    """Else that provider would be taken for one that has let its time run out."""
    add_job(store)
    take(store, new_lease("lease-1"))
    store.write_now(lambda t: leases.lapse(t, NOW_MS + 3_600_000))

    def hand_out(transaction: Transaction) -> None:
        waiting.take(transaction, [new_lease("lease-2", provider=BERTA)], process="p", now_ms=NOW_MS)

    def bring_late(transaction: Transaction) -> list[leases.Lease]:
        return results.deliver(transaction, new_result("lease-1"), new_pictures(0, 1), NOW_MS)

    ended = (await together(store, hand_out, bring_late))[1]

    assert isinstance(ended, list)
    assert [(lease.lease_id, lease.state) for lease in ended] == [("lease-2", LeaseState.SUPERSEDED)]


async def test_a_twin_ends_with_the_result_that_makes_it_needless(store: Store) -> None:
    """Else its provider would be taken for one that has let its time run out."""
    add_job(store)
    take(store, new_lease("lease-1"))

    def give_twin(transaction: Transaction) -> bool:
        twin = new_lease("lease-2", provider=BERTA)
        return leases.add_second(transaction, twin, number=0, process="p", now_ms=NOW_MS)

    def bring(transaction: Transaction) -> list[leases.Lease]:
        return results.deliver(transaction, new_result("lease-1"), new_pictures(0, 1), NOW_MS)

    is_given, ended = await together(store, give_twin, bring)

    assert is_given
    assert isinstance(ended, list)
    assert [(lease.lease_id, lease.state) for lease in ended] == [("lease-2", LeaseState.SUPERSEDED)]


async def test_a_shard_has_one_twin(store: Store) -> None:
    add_job(store)
    take(store, new_lease("lease-1"))

    def giving(lease_id: str, provider: str) -> Callable[[Transaction], bool]:
        def unit(transaction: Transaction) -> bool:
            second = new_lease(lease_id, provider=provider)
            return leases.add_second(transaction, second, number=0, process="p", now_ms=NOW_MS)

        return unit

    assert await together(store, giving("lease-2", BERTA), giving("lease-3", CARLA)) == [True, False]


async def test_a_result_is_seen_by_whoever_looks_again_at_all_of_its_provider(store: Store) -> None:
    """Else what a provider brings at the moment when it is caught would be paid unseen."""
    add_job(store)
    take(store, new_lease("lease-1"))

    def bring(transaction: Transaction) -> None:
        results.deliver(transaction, new_result("lease-1"), new_pictures(0, 1), NOW_MS)

    _, seen = await together(store, bring, lambda t: results.unchecked_of_provider(t, ANNA, limit=9))

    assert isinstance(seen, list)
    assert [result.lease_id for result in seen] == ["lease-1"]


async def test_a_withdrawn_receipt_takes_signatures_with_it(store: Store) -> None:
    with_result(store)
    store.write_now(keep_receipt)

    def sign(transaction: Transaction) -> None:
        receipts.add_attestation(
            transaction, RECEIPT_HASH, attester=ANNA, form=Form.MINT, signature="0x12", now_ms=NOW_MS
        )

    await together(store, sign, lambda t: receipts.withdraw(t, "job-1"))

    assert store.read_now(lambda r: receipts.attestations(r, RECEIPT_HASH)) == []
