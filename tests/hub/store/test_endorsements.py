"""Receipts of others: one per job and per signed request; another takes its place only before it is being signed."""

from typing import Any

import pytest

from hub.store import endorsements
from hub.store.endorsements import MOST_RECEIPTS, Endorsement, EndorsementState, NewEndorsement
from hub.store.errors import AlreadyUsed
from hub.store.receipts import Form
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, BERTA, HASH, NOW_MS


def wanted(number: int, job_id: str = "job-1", **fields: Any) -> NewEndorsement:
    values: dict[str, Any] = {
        "receipt_hash": f"0x{number:064x}",
        "hub_id": "east",
        "asked_by": ANNA,
        "form": Form.MINT,
        "digest": f"0x{number:064x}",
        "client": "alice",
        "request_hash": HASH,
        "is_signed_request": True,
        "window_until_ms": NOW_MS,
    }
    return NewEndorsement(job_id=job_id, **values | fields)


def begin(store: Store, new: NewEndorsement) -> Endorsement:
    return store.write_now(lambda t: endorsements.begin(t, new, NOW_MS))


def state(store: Store, number: int) -> EndorsementState | None:
    found = store.read_now(lambda c: endorsements.get(c, f"0x{number:064x}"))
    return None if found is None else found.state


def used(store: Store, new: NewEndorsement) -> str:
    with pytest.raises(AlreadyUsed) as refusal:
        begin(store, new)
    return refusal.value.what


def test_another_receipt_takes_its_place_a_few_times(store: Store) -> None:
    for number in range(MOST_RECEIPTS):
        for _ in range(2):
            assert begin(store, wanted(number)).state == EndorsementState.WAITING
        assert state(store, number - 1) is None
    assert used(store, wanted(MOST_RECEIPTS)) == "job_id"
    assert begin(store, wanted(MOST_RECEIPTS - 1)).state == EndorsementState.WAITING


def test_what_was_replaced_does_not_come_back(store: Store) -> None:
    """A call that was slow, or that somebody has overheard and repeats, takes nothing from the one after it."""
    for number in (1, 2, 3):
        begin(store, wanted(number))
    assert [used(store, wanted(number)) for number in (1, 2)] == ["job_id", "job_id"]
    assert state(store, 3) == EndorsementState.WAITING
    assert begin(store, wanted(4)).state == EndorsementState.WAITING


def test_by_nobody_else_and_not_for_another_job(store: Store) -> None:
    begin(store, wanted(1))
    assert used(store, wanted(2, asked_by=BERTA)) == "job_id"
    assert used(store, wanted(2, "job-2")) == "request_hash"
    assert used(store, wanted(1, form=Form.SETTLE)) == "receipt_hash"
    assert state(store, 1) == EndorsementState.WAITING


def test_not_once_it_is_being_signed(store: Store) -> None:
    begin(store, wanted(1))
    for _ in range(2):
        assert store.write_now(lambda t: endorsements.begin_signing(t, wanted(1).receipt_hash))
    assert used(store, wanted(2)) == "job_id"
    assert not store.write_now(lambda t: endorsements.dispute(t, wanted(1).receipt_hash, "cheat"))
    signed = [store.write_now(lambda t: endorsements.sign(t, wanted(1).receipt_hash, "0xaa")) for _ in range(2)]
    assert signed == [True, False]
    assert store.write_now(lambda t: endorsements.begin_signing(t, wanted(1).receipt_hash))
    assert used(store, wanted(2)) == "job_id"


def test_what_is_disputed_is_never_signed_and_stays(store: Store) -> None:
    begin(store, wanted(1))
    assert store.write_now(lambda t: endorsements.dispute(t, wanted(1).receipt_hash, "cheat"))
    assert not store.write_now(lambda t: endorsements.begin_signing(t, wanted(1).receipt_hash))
    assert not store.write_now(lambda t: endorsements.sign(t, wanted(1).receipt_hash, "0xaa"))
    assert used(store, wanted(2)) == "job_id"
    assert not store.write_now(lambda t: endorsements.begin_signing(t, wanted(2).receipt_hash))
