"""Checks: evidence is gathered, and the verdict is given once."""

import pytest

from hub.store import checks
from hub.store.checks import Check, NewCheck, Verdict
from hub.store.errors import AlreadyUsed
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, NOW_MS, add_job


def add(store: Store, check_id: str) -> None:
    check = NewCheck(
        check_id=check_id,
        job_id="job-1",
        shard=0,
        lease_id="l-1",
        provider=ANNA,
        kind="rerun",
        evidence={"why": "sampled"},
    )
    store.write_now(lambda t: checks.add(t, check, NOW_MS))


def the_check(store: Store, check_id: str) -> Check:
    check = store.read_now(lambda c: checks.get(c, check_id))
    assert check is not None
    return check


def test_a_check_from_its_reason_to_its_verdict(store: Store) -> None:
    add_job(store)
    add(store, "c-1")
    assert (the_check(store, "c-1").verdict, the_check(store, "c-1").ended_at_ms) == (None, None)
    assert store.read_now(lambda c: checks.open_of_job(c, "job-1")) == 1
    verdicts = [
        store.write_now(lambda t, it=verdict: checks.decide(t, "c-1", it, {"rms": 0.5}, NOW_MS + 1))  # type: ignore[misc]
        for verdict in (Verdict.DISPUTED, Verdict.PASSED)
    ]

    assert verdicts == [True, False]
    check = the_check(store, "c-1")
    assert (check.verdict, check.ended_at_ms) == (Verdict.DISPUTED, NOW_MS + 1)
    assert check.evidence == {"why": "sampled", "rms": 0.5}
    assert store.read_now(lambda c: checks.open_of_job(c, "job-1")) == 0
    assert store.read_now(checks.open_checks) == []


def test_checks_are_found_by_their_job(store: Store) -> None:
    add_job(store)
    for check_id in ("c-1", "c-2", "c-3"):
        add(store, check_id)

    def names(found: list[Check]) -> list[str]:
        return [check.check_id for check in found]

    assert names(store.read_now(lambda c: checks.of_job(c, "job-1"))) == ["c-1", "c-2", "c-3"]
    with pytest.raises(AlreadyUsed) as refused:
        add(store, "c-1")
    assert refused.value.what == "check_id"
