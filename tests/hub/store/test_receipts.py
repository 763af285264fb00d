"""A job's receipt: kept once, attested once, delivered and seen on the chain."""

from typing import Any

import pytest

from hub.store import jobs, receipts
from hub.store.errors import AlreadyUsed
from hub.store.jobs import JobState
from hub.store.receipts import Form, NewReceipt, Receipt
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, BERTA, CARLA, HASH, NOW_MS, add_job


def new_receipt(job_id: str = "job-1", **fields: Any) -> NewReceipt:
    values: dict[str, Any] = {
        "receipt_hash": "0x" + job_id.encode().hex().zfill(64),
        "provider": ANNA,
        "receipt_json": "{}",
        "provider_signature": "0x",
        "prompt_salt": HASH,
        "micro_units": 2**62,
        "amount": 2**256 - 1,
        "artifact_sha256": "0" * 64,
        "form": Form.MINT_SPLIT,
    }
    return NewReceipt(job_id=job_id, **values | fields)


def keep(store: Store, job_id: str = "job-1", attestation: str | None = None, **fields: Any) -> None:
    receipt = new_receipt(job_id, **fields)
    store.write_now(lambda t: receipts.keep(t, receipt, NOW_MS, attestation=attestation))


def the_receipt(store: Store, job_id: str = "job-1") -> Receipt:
    receipt = store.read_now(lambda c: receipts.get(c, job_id))
    assert receipt is not None
    return receipt


def due(store: Store, now_ms: int = NOW_MS) -> tuple[list[str], list[str], list[str]]:
    """Jobs whose receipts are to be attested, delivered, looked for."""

    def names(found: list[Receipt]) -> list[str]:
        return [receipt.job_id for receipt in found]

    return (
        names(store.read_now(lambda c: receipts.due_for_attestation(c, now_ms, limit=9))),
        names(store.read_now(lambda c: receipts.due_deliveries(c, now_ms, limit=9))),
        names(store.read_now(lambda c: receipts.due_chain_checks(c, now_ms, limit=9))),
    )


def test_a_receipt_from_its_window_to_the_chain(store: Store) -> None:
    add_job(store)
    keep(store, window_until_ms=NOW_MS + 10, receipt_hash=HASH)
    assert (the_receipt(store).amount, the_receipt(store).form) == (2**256 - 1, Form.MINT_SPLIT)
    assert due(store) == ([], [], [])
    assert due(store, NOW_MS + 10) == (["job-1"], [], [])

    done = [store.write_now(lambda t: receipts.attested(t, "job-1", HASH, "0xaa", NOW_MS + 11)) for _ in range(2)]
    assert done == [True, False]
    assert due(store, NOW_MS + 11) == ([], ["job-1"], ["job-1"])

    store.write_now(lambda t: receipts.note_delivery(t, "job-1", error="away", next_ms=NOW_MS + 50, now_ms=NOW_MS + 12))
    store.write_now(lambda t: receipts.postpone_chain_check(t, "job-1", NOW_MS + 60))
    assert due(store, NOW_MS + 49) == ([], [], [])
    assert store.write_now(lambda t: receipts.deliver_again(t, ANNA, NOW_MS + 20)) == 1
    assert due(store, NOW_MS + 20) == ([], ["job-1"], [])

    seen = [
        store.write_now(lambda t: receipts.keep_on_chain(t, "job-1", transaction_hash=HASH, height=7)) for _ in range(2)
    ]
    assert seen == [True, False]
    # A delivery that was under way then begins no new attempts.
    store.write_now(lambda t: receipts.note_delivery(t, "job-1", error=None, next_ms=5, now_ms=NOW_MS + 13))
    assert due(store, NOW_MS + 99) == ([], [], [])
    receipt = the_receipt(store)
    assert (receipt.delivery_attempts, receipt.delivered_at_ms, receipt.chain_height) == (2, NOW_MS + 13, 7)
    assert store.read_now(lambda c: receipts.of_hash(c, receipt.receipt_hash)) == receipt


def test_a_job_has_one_receipt_and_a_receipt_one_job(store: Store) -> None:
    add_job(store, "job-1")
    add_job(store, "job-2")
    keep(store)
    keep(store)

    with pytest.raises(AlreadyUsed) as other:
        keep(store, receipt_hash="0x" + "ee" * 32)
    with pytest.raises(AlreadyUsed) as stolen:
        keep(store, "job-2", receipt_hash=the_receipt(store).receipt_hash)

    assert (other.value.what, stolen.value.what) == ("job_id", "receipt_hash")


def test_a_receipt_that_is_signed_already_is_due_at_once(store: Store) -> None:
    add_job(store)
    keep(store)
    keep(store, attestation="0xaa")

    assert the_receipt(store).attestation == "0xaa"
    assert due(store) == ([], ["job-1"], ["job-1"])


def test_the_receipt_of_an_ended_job_is_not_attested(store: Store) -> None:
    add_job(store)
    keep(store)
    store.write_now(lambda t: jobs.end(t, "job-1", JobState.FAILED, now_ms=NOW_MS))

    assert due(store) == ([], [], [])


def test_each_attester_signs_once_and_signatures_ascend(store: Store) -> None:
    def sign(attester: str, signature: str, form: Form = Form.MINT) -> None:
        store.write_now(
            lambda t: receipts.add_attestation(
                t, HASH, attester=attester, form=form, signature=signature, now_ms=NOW_MS
            )
        )

    for attester in (CARLA, ANNA, BERTA.upper().replace("X", "x"), ANNA):
        sign(attester, f"0x{attester[2]}")

    for signature, form in (("0xother", Form.MINT), ("0xa", Form.SETTLE)):
        with pytest.raises(AlreadyUsed):
            sign(ANNA, signature, form)
    found = store.read_now(lambda c: receipts.attestations(c, HASH))
    assert [item.attester.lower() for item in found] == [ANNA, BERTA, CARLA]


def test_a_receipt_that_may_be_withdrawn_until_it_is_signed(store: Store) -> None:
    add_job(store)
    keep(store, is_withdrawable=True)
    withdrawn = the_receipt(store).receipt_hash
    sign = {"form": Form.MINT_SPLIT, "signature": "0x", "now_ms": NOW_MS}
    store.write_now(lambda t: receipts.add_attestation(t, withdrawn, attester=BERTA, **sign))  # type: ignore[arg-type]
    assert [store.write_now(lambda t: receipts.withdraw(t, "job-1")) for _ in range(2)] == [True, False]
    assert store.read_now(lambda c: receipts.attestations(c, withdrawn)) == []

    keep(store, receipt_hash=HASH, is_withdrawable=True)
    # Whoever has been slow speaks of one that there is no more.
    assert not store.write_now(lambda t: receipts.begin_signing(t, withdrawn))
    assert not store.write_now(lambda t: receipts.attested(t, "job-1", withdrawn, "0x", NOW_MS))
    assert store.write_now(lambda t: receipts.begin_signing(t, HASH))
    assert not store.write_now(lambda t: receipts.withdraw(t, "job-1"))
    assert store.write_now(lambda t: receipts.attested(t, "job-1", HASH, "0x", NOW_MS))
    assert not store.write_now(lambda t: receipts.withdraw(t, "job-1"))
