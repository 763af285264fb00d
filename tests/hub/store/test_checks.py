"""Checks: evidence is gathered, and the verdict is given once."""

import pytest
from sqlalchemy import update

from hub.store import checks
from hub.store.checks import Check, NewCheck, Verdict
from hub.store.errors import AlreadyUsed
from hub.store.store import Store
from hub.store.tables.jobs import JOBS
from tests.hub.store.conftest import ANNA, NOW_MS, add_job


def add(store: Store, check_id: str, job_id: str = "job-1", **evidence: object) -> None:
    check = NewCheck(
        check_id=check_id,
        job_id=job_id,
        shard=0,
        lease_id="l-1",
        provider=ANNA,
        kind="rerun",
        evidence={"why": "sampled"} | evidence,
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


def test_answers_that_were_suspected_and_are_not_wrong(store: Store) -> None:
    """Of one client's last jobs; those that wait do not push them out of sight."""
    for job_id, owner in (("job-1", "alice"), ("job-2", "bob"), ("job-3", "alice")):
        add_job(store, job_id, owner=owner)
    store.write_now(lambda t: t.execute(update(JOBS).values(pictures_done=1)))
    for number in range(4, 7):
        add_job(store, f"job-{number}", owner="alice")
    for check_id, job_id, suspicion, verdict in (
        ("c-1", "job-1", "copied", Verdict.PASSED),
        ("c-2", "job-3", "copied", Verdict.PASSED),
        ("c-3", "job-1", "copied", Verdict.FAILED),
        ("c-4", "job-1", "looks_copied", Verdict.PASSED),
        ("c-5", "job-2", "copied", Verdict.PASSED),
    ):
        add(store, check_id, job_id, suspicions=["too_dear", suspicion])
        store.write_now(lambda t, it=check_id, what=verdict: checks.decide(t, it, what, {}, NOW_MS))  # type: ignore[misc]
    add(store, "c-6", suspicions=["copied"])

    def count(owner: str, last: int) -> int:
        return store.read_now(lambda r: checks.suspected_of_owner(r, owner, "copied", jobs=last))

    # Two that were right, and one of which nobody knows yet.
    assert [count("alice", 2), count("alice", 1), count("bob", 2), count("carol", 2)] == [3, 1, 1, 0]
