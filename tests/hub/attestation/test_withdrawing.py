"""A part that nobody vouches for is made again by another: its honest partners are paid all the same."""

import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.receipt import Receipt
from hub.attestation.errors import NeverAttested, PartsRefused
from hub.jobs.attendant import Attendant, Closing, _sight
from hub.jobs.checking import Checking, Finding
from hub.jobs.ending import CLOSING, WITHDRAWN
from hub.jobs.keeping import Keeping
from hub.jobs.queueing import Queue
from hub.jobs.roster import Roster
from hub.metrics import HubMetrics
from hub.store import audit, checks, jobs, providers, receipts, results
from hub.store.checks import NewCheck, Verdict
from hub.store.endorsements import MOST_RECEIPTS
from hub.store.jobs import JobState
from hub.store.shards import ShardState
from hub.store.store import now_ms
from hub.verification import sampling
from hub.verification.sampling import SamplingKey
from tests.hub.attestation.evidences import PROVIDERS, SPLIT, Job, blank, picture
from tests.hub.attestation.hubs import ENDINGS, Hub, TwoAttesterChain, serving
from tests.hub.attestation.test_attesting import until_ended

METRICS = HubMetrics(CollectorRegistry())
BAD, OTHER = (to_checksum_address(PROVIDERS[number].address) for number in (1, 2))


def fresh(job: Job = SPLIT, **changes: Any) -> Job:
    return job.but(job_id=f"job-{secrets.token_hex(6)}", finished_at=int(time.time()) - 1, **changes)


def kinds(hub: Hub) -> list[str]:
    return [entry.kind for entry in hub.store.read_now(lambda c: audit.after(c, 0))]


def withdraw(hub: Hub, job_id: str, number: int) -> bool:
    """As a check does that finds this part false."""
    return hub.store.write_now(
        lambda t: ENDINGS.withdraw(t, job_id, {f"{job_id}-{number}": "wrong_step"}, "check_failed", "false", now_ms())
    )


@pytest.fixture
async def east(network: TwoAttesterChain, tmp_path: Path) -> AsyncIterator[Hub]:
    hub = Hub("east", tmp_path / "east", network)
    yield hub
    hub.listener.close()
    await hub.close()


@pytest.mark.parametrize("is_paid", [False, True])
async def test_what_another_attester_refuses_is_made_again(
    network: TwoAttesterChain, tmp_path: Path, is_paid: bool
) -> None:
    job = fresh(is_paid=is_paid)
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        west.store.write_now(lambda t: providers.ban(t, BAD, reason="cheat", detail="", now_ms=now_ms()))
        attesting = east.attesting([west])
        east.bring(job.evidence(), is_withdrawable=True)
        await attesting.attest_due()

        assert east.store.read_now(lambda c: receipts.get(c, job.job_id)) is None
        assert east.attester._log.find("east", job.job_id) is None
        again = east.shards(job.job_id)
        assert [each.state for each in again] == [ShardState.ACCEPTED, ShardState.WAITING, ShardState.ACCEPTED]
        assert again[1].excluded == [BAD]
        found = east.job(job.job_id)
        assert (found.ended_at_ms, found.pictures_done, found.facts[WITHDRAWN]) == (None, 3, 1)
        assert "fee" not in found.facts

        east.make_again(job, PROVIDERS[2], picture(99))
        await until_ended(attesting, east, job.job_id)
        assert east.job(job.job_id).state == JobState.DONE
        whole = Receipt.from_json(east.receipt(job.job_id).receipt_json)
        assert {to_checksum_address(who) for who, _ in whole.payouts()} == {
            to_checksum_address(PROVIDERS[0].address),
            OTHER,
        }
        assert kinds(east) == ["receipt_withdrawn", "attested"]
        assert kinds(west) == ["provider_banned", "endorsed"]


async def test_a_false_picture_is_made_again(network: TwoAttesterChain, tmp_path: Path) -> None:
    """Only its own part: West names the picture."""
    job = fresh(firsts=(picture(0), picture(1), blank()))
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        east.bring(job.evidence(), is_withdrawable=True)
        await east.attesting([west]).attest_due()
        states = [each.state for each in east.shards(job.job_id)]
        assert states == [ShardState.ACCEPTED, ShardState.WAITING, ShardState.ACCEPTED]


async def test_with_nobody_left_the_job_fails(network: TwoAttesterChain, tmp_path: Path) -> None:
    """A receipt that must stay is refused for good."""
    job = fresh()
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        west.store.write_now(lambda t: providers.ban(t, BAD, reason="cheat", detail="", now_ms=now_ms()))
        east.bring(job.evidence())
        await until_ended(east.attesting([west]), east, job.job_id)
        found = east.job(job.job_id)
        assert (found.state, found.failure_reason) == (JobState.FAILED, "attesters_refuse")
        assert kinds(east) == ["attestation_refused"]


async def test_what_was_made_again_is_bounded_and_the_rest_is_paid(east: Hub) -> None:
    """The last receipt that others would look at is one without the part that was false again and again."""
    job = fresh()
    east.bring(job.evidence(), is_withdrawable=True)
    lease = f"{job.job_id}-1"
    for number in range(1, MOST_RECEIPTS):
        refusals = {lease: "wrong_step"}
        assert east.store.write_now(
            lambda t, it=refusals: ENDINGS.withdraw(t, job.job_id, it, "check_failed", "false", now_ms())  # type: ignore[misc]
        )
        assert east.job(job.job_id).facts[WITHDRAWN] == number
        if number < MOST_RECEIPTS - 1:
            east.make_again(job, PROVIDERS[2], picture(90 + number))
            (made,) = (
                each for each in east.store.read_now(lambda c: results.of_job(c, job.job_id)) if each.number == 1
            )
            lease = made.lease_id
    facts = east.job(job.job_id).facts
    assert facts[CLOSING] == {"state": "failed", "reason": "check_failed", "detail": "false"}
    assert [each.state for each in east.shards(job.job_id)] == [
        ShardState.ACCEPTED,
        ShardState.REFUSED,
        ShardState.ACCEPTED,
    ]


async def test_what_is_being_signed_stays(east: Hub) -> None:
    job = fresh()
    east.bring(job.evidence(), is_withdrawable=True)
    receipt_hash = east.receipt(job.job_id).receipt_hash
    assert east.store.write_now(lambda t: receipts.begin_signing(t, receipt_hash))
    assert not withdraw(east, job.job_id, 1)
    assert east.receipt(job.job_id).receipt_hash == receipt_hash
    assert [each.state for each in east.shards(job.job_id)] == [ShardState.ACCEPTED] * 3


async def test_a_closing_job_is_paid_for_the_rest(east: Hub) -> None:
    """Cancelled or late: nobody makes anything again."""
    job = fresh()
    east.bring(job.evidence(), is_withdrawable=True)
    told = {"state": "cancelled", "reason": "cancelled", "detail": ""}
    east.store.write_now(lambda t: jobs.keep_facts(t, job.job_id, **{CLOSING: told}))
    assert withdraw(east, job.job_id, 1)
    assert [each.state for each in east.shards(job.job_id)] == [
        ShardState.ACCEPTED,
        ShardState.REFUSED,
        ShardState.ACCEPTED,
    ]
    assert east.job(job.job_id).facts[CLOSING] == told


async def test_a_verdict_on_what_counts_no_more_withdraws_nothing(east: Hub) -> None:
    """Another process has begun to look at a result while it was being refused."""
    job = fresh()
    east.bring(job.evidence(), is_withdrawable=True)
    assert withdraw(east, job.job_id, 1)
    east.make_again(job, PROVIDERS[2], picture(99))
    before = east.receipt(job.job_id)
    lease = f"{job.job_id}-1"
    look = NewCheck(check_id=lease, job_id=job.job_id, shard=1, lease_id=lease, provider=BAD, kind="examination")
    east.store.write_now(lambda t: checks.add(t, look, now_ms()))
    check = east.store.read_now(lambda c: checks.get(c, lease))
    assert check is not None
    found = Finding(Verdict.FAILED, "no_opening", "the provider has gone before its result was checked")
    checking = Checking(SamplingKey(bytes(32)), sampling.RATES, ENDINGS, METRICS)
    assert east.store.write_now(lambda t: checking.conclude(t, check, found, now_ms()))
    assert east.receipt(job.job_id) == before
    assert [each.state for each in east.shards(job.job_id)] == [ShardState.ACCEPTED] * 3


def attendant_of(hub: Hub) -> Attendant:
    return Attendant(
        hub.store,
        None,  # type: ignore[arg-type]
        Roster(hub.store, "p"),
        Queue(hub.store),
        ENDINGS,
        Keeping(METRICS, challenge_window_s=0, asks_others=True),
        max_attempts=3,
    )


async def test_what_became_whole_meanwhile_is_not_called_off(east: Hub) -> None:
    """Its deadline had passed when it was looked at; another process has kept its receipt since."""
    job = fresh()
    east.bring(job.evidence(), is_withdrawable=True)
    assert withdraw(east, job.job_id, 1)
    attendant = attendant_of(east)
    seen = east.store.read_now(lambda c: _sight(c, job.job_id))
    assert seen is not None
    east.make_again(job, PROVIDERS[2], picture(99))
    late = Closing(JobState.FAILED, "deadline_passed", "too late")
    await attendant._close(seen, late)
    assert CLOSING not in east.job(job.job_id).facts
    assert withdraw(east, job.job_id, 0)
    await attendant._close(seen, late)
    assert east.job(job.job_id).facts[CLOSING]["reason"] == "deadline_passed"


async def test_who_gives_a_job_up_looks_once_more(east: Hub) -> None:
    """Asking everybody for a signature takes minutes: another process may have had one meanwhile."""
    job = fresh()
    east.bring(job.evidence(), is_withdrawable=True)
    assert withdraw(east, job.job_id, 1)
    attendant = attendant_of(east)
    seen = east.store.read_now(lambda c: _sight(c, job.job_id))
    assert seen is not None
    east.make_again(job, PROVIDERS[2], picture(99))
    await attendant._give_up(seen, "no_signature", "nobody was there")
    assert east.job(job.job_id).ended_at_ms is None
    assert withdraw(east, job.job_id, 0)
    await attendant._give_up(seen, "no_signature", "nobody was there")
    assert east.job(job.job_id).ended_at_ms is None
    now = east.store.read_now(lambda c: _sight(c, job.job_id))
    assert now is not None
    await attendant._give_up(now, "no_signature", "nobody was there")
    assert east.job(job.job_id).failure_reason == "no_signature"


async def test_a_late_signature_of_a_withdrawn_receipt_is_worth_nothing(east: Hub) -> None:
    """Another process was slow: it has found the receipt due, and signed it, before it was withdrawn."""
    job = fresh()
    east.bring(job.evidence(), is_withdrawable=True)
    before = east.receipt(job.job_id)
    assert withdraw(east, job.job_id, 1)
    east.make_again(job, PROVIDERS[2], picture(99))
    attesting = east.attesting([])
    await attesting._finish(before, {PROVIDERS[0].address: bytes(65)})
    await attesting._drop(before, PartsRefused("attesters_refuse", "", frozenset({"parts[0].receipt"})))
    await attesting._never(before, NeverAttested("late", "too late"))
    after = east.receipt(job.job_id)
    assert after.receipt_hash != before.receipt_hash
    assert (after.attestation, east.job(job.job_id).ended_at_ms) == (None, None)
