"""Promises out of deposits: never more than a deposit covers, whoever asks, in whatever order."""

import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.store import jobs, promises, receipts
from hub.store.errors import AlreadyUsed
from hub.store.jobs import JobState
from hub.store.promises import Promise, PromiseState, Underfunded
from hub.store.receipts import Form, NewReceipt
from hub.store.store import Store
from tests.hub.store.conftest import HASH, IDENTITY, NOW_MS, add_job

CLIENT = "0x" + "c1" * 20
UNTIL_S = 1_800_000_000


def promise(job_id: str, amount: int, *, client: str = CLIENT, until_s: int = UNTIL_S) -> Promise:
    return Promise(job_id=job_id, client=client, request_hash=HASH, amount=amount, until_s=until_s)


def reserve(store: Store, wanted: Promise, *, secured: int, height: int = 10) -> None:
    store.write_now(lambda t: promises.reserve(t, wanted, secured_atoms=secured, height=height, now_ms=NOW_MS))


def settle(store: Store, job_id: str, height: int) -> bool:
    return store.write_now(lambda t: promises.settle(t, job_id, height))


def release(store: Store, job_id: str) -> bool:
    return store.write_now(lambda t: promises.release(t, job_id))


def fail(store: Store, job_id: str) -> None:
    store.write_now(lambda t: jobs.end(t, job_id, JobState.FAILED, now_ms=NOW_MS))


def state_of(store: Store, job_id: str) -> PromiseState | None:
    kept = store.read_now(lambda c: promises.get(c, job_id))
    return None if kept is None else kept.state


def test_no_more_than_the_deposit(store: Store) -> None:
    reserve(store, promise("a", 60), secured=100)
    with pytest.raises(Underfunded) as refused:
        reserve(store, promise("b", 41), secured=100)
    assert (refused.value.wanted, refused.value.left) == (41, 40)
    reserve(store, promise("b", 40), secured=100)
    reserve(store, promise("a", 60), secured=0)  # The same again, whatever the deposit is now.
    with pytest.raises(AlreadyUsed):
        reserve(store, promise("a", 61), secured=1_000)
    reserve(store, promise("c", 100, client="0x" + "c2" * 20), secured=100)


def test_money_that_was_settled_is_counted_until_the_view_is_newer(store: Store) -> None:
    reserve(store, promise("a", 60), secured=100, height=10)
    assert settle(store, "a", 12)
    assert not settle(store, "a", 12)
    with pytest.raises(Underfunded):
        reserve(store, promise("b", 41), secured=100, height=11)  # As it was before the settlement.
    reserve(store, promise("b", 40), secured=40, height=12)
    with pytest.raises(Underfunded):
        reserve(store, promise("c", 1), secured=40, height=12)


def test_two_processes_promise_the_same_money_once(open_store: Callable[[], Store]) -> None:
    first, second = open_store(), open_store()
    outcomes: list[str] = []
    start = threading.Barrier(2)

    def accept(store: Store, name: str) -> None:
        start.wait()
        for number in range(20):
            try:
                reserve(store, promise(f"{name}{number}", 7), secured=100)
                outcomes.append("taken")
            except Underfunded:
                outcomes.append("refused")

    threads = [threading.Thread(target=accept, args=pair) for pair in ((first, "a"), (second, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("taken") == 100 // 7
    assert first.read_now(lambda c: promises.promised(c, CLIENT, 10)) == 98


def test_what_nothing_comes_of_is_given_back(store: Store) -> None:
    for name in ("running", "failed", "attested", "late"):
        add_job(store, name, request_hash="0x" + name.encode().hex().zfill(64))
        until_s = 1_000 if name == "late" else UNTIL_S
        reserve(store, promise(name, 10, until_s=until_s), secured=100)
    for name in ("failed", "attested"):
        if name == "attested":
            store.write_now(lambda t: _attest(t, "attested"))
        fail(store, name)
    assert store.write_now(lambda t: promises.sweep(t, 1_001)) == 2
    assert [state_of(store, name) for name in ("running", "attested")] == [PromiseState.HELD] * 2
    assert [state_of(store, name) for name in ("failed", "late")] == [PromiseState.RELEASED] * 2
    assert store.read_now(lambda c: promises.promised(c, CLIENT, 10)) == 20
    assert store.write_now(lambda t: promises.sweep(t, 1_001)) == 0


def _attest(transaction: Any, job_id: str) -> None:
    receipt = NewReceipt(
        job_id=job_id,
        receipt_hash=HASH,
        provider=CLIENT,
        receipt_json="{}",
        provider_signature="0x",
        prompt_salt=HASH,
        micro_units=1,
        amount=1,
        artifact_sha256="0" * 64,
        form=Form.SETTLE,
    )
    receipts.keep(transaction, receipt, NOW_MS)
    receipts.attested(transaction, job_id, HASH, "0x", NOW_MS)


STEP = st.tuples(
    st.sampled_from(["reserve", "settle", "release", "deposit", "look"]), st.integers(0, 7), st.integers(1, 50)
)


@pytest.fixture(scope="module")
def kept_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One for all examples: each has a client of its own."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('promises') / 'hub.sqlite3'}", IDENTITY)
    yield store
    store.close_now()


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEP, max_size=40))
def test_all_that_was_promised_is_covered_at_every_moment(kept_store: Store, steps: list[tuple[str, int, int]]) -> None:
    """The deposit, as the chain has it, covers every promise that may still be settled, after any history."""
    client = "0x" + secrets.token_hex(20)
    balance, height, seen = 100, 1, (100, 1)
    held: dict[str, int] = {}
    for number, (step, job, amount) in enumerate(steps):
        chosen = sorted(held)[job % len(held)] if held else None
        if step == "reserve":
            name = f"{client[:20]}-{number}"
            try:
                reserve(kept_store, promise(name, amount, client=client), secured=seen[0], height=seen[1])
                held[name] = amount
            except Underfunded:
                assert seen[0] - sum(held.values()) < amount or seen[0] != balance
        elif step == "settle" and chosen is not None:
            height += 1
            balance -= min(amount, held.pop(chosen))
            settle(kept_store, chosen, height)
        elif step == "release" and chosen is not None:
            del held[chosen]
            release(kept_store, chosen)
        elif step == "deposit":
            balance, height = balance + amount, height + 1
        else:
            seen = (balance, height)
        assert balance >= sum(held.values())
