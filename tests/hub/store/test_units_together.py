"""Units that are committed together: what one adds stops the next one where it must."""

from hub.store import checks, perceptual, receipts
from hub.store.checks import NewCheck
from hub.store.perceptual import NearPicture
from hub.store.receipts import Form, NewReceipt, Receipt
from hub.store.store import Store
from hub.store.transaction import Transaction
from tests.hub.store.conftest import ANNA, NOW_MS, add_job, deliver, new_lease, take
from tests.hub.store.test_writing import together


def with_result(store: Store) -> None:
    add_job(store)
    take(store, new_lease("lease-1"))
    deliver(store, "lease-1")


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

    def keep(transaction: Transaction) -> None:
        receipt = NewReceipt(
            job_id="job-1",
            receipt_hash="0x" + "ab" * 32,
            provider=ANNA,
            receipt_json="{}",
            provider_signature="0x",
            prompt_salt="",
            micro_units=1,
            amount=1,
            artifact_sha256="cd" * 32,
            form=Form.MINT,
        )
        receipts.keep(transaction, receipt, NOW_MS)

    kept = (await together(store, keep, lambda t: receipts.get(t, "job-1")))[1]
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
