"""From a kept receipt to tokens: two hubs on sockets, each with its own checks, and a chain that wants both."""

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from hub.attestation import disputes
from hub.attestation.attesting import Attesting
from hub.attestation.auditing import verify_log
from hub.ledger import books
from hub.ledger.accounts import provider_earnings
from hub.store import audit, checks, jobs, receipts
from hub.store.checks import NewCheck
from hub.store.jobs import JobState
from hub.store.store import now_ms
from hub.store.tables.receipts import RECEIPTS
from tests.hub.attestation.evidences import PROVIDERS, SPLIT, Job, picture
from tests.hub.attestation.hubs import ENDINGS, PATIENCE_S, Hub, Pictures, TwoAttesterChain, serving


def fresh(job: Job = SPLIT, **changes: Any) -> Job:
    """With an id that nobody has used on this network."""
    return job.but(job_id=f"job-{secrets.token_hex(6)}", finished_at=int(time.time()) - 1, **changes)


LARGE = Job(makers=((PROVIDERS[0], 12), (PROVIDERS[1], 8)), took_s=60)
"""More pictures than an attester looks at."""


async def until_ended(attesting: Attesting, hub: Hub, job_id: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while hub.job(job_id).ended_at_ms is None:  # noqa: ASYNC110 - the database says when
            await asyncio.sleep(min(0.3, await attesting.attest_due()))


@pytest.mark.parametrize("job", [SPLIT, Job(), LARGE], ids=["split", "single", "large"])
async def test_two_attesters_sign_and_the_chain_pays(network: TwoAttesterChain, tmp_path: Path, job: Job) -> None:
    evidence = fresh(job).evidence()
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        job_id = east.bring(evidence)
        await until_ended(east.attesting([west]), east, job_id)

        receipt = east.receipt(job_id)
        assert east.job(job_id).state == JobState.DONE
        assert receipt.attestation is not None and len(receipt.attestation) == 2 + 2 * 130
        network.mint(receipt, evidence)
        async with asyncio.timeout(PATIENCE_S):
            while not await east.watch().look(receipt):  # noqa: ASYNC110 - the chain says when
                await asyncio.sleep(0.1)
        assert await east.watch().look(east.receipt(job_id))  # Once more changes nothing.

        shares = {provider_earnings(to_checksum_address(who)): amount for who, amount in evidence.receipt.payouts()}
        assert east.store.read_now(lambda c: books.balances(c, "provider:")) == shares
        assert east.store.read_now(books.trial_balance) == 0
        assert east.receipt(job_id).chain_transaction is not None
        kinds = [entry.kind for entry in east.store.read_now(lambda c: audit.after(c, 0))]
        assert kinds == ["attested"]
        assert [entry.kind for entry in west.store.read_now(lambda c: audit.after(c, 0))] == ["endorsed"]
        report = verify_log(east.store)
        assert (report.entries, report.attested, report.missing) == (1, 1, ())


async def test_nobody_signs_because_another_did(network: TwoAttesterChain, tmp_path: Path) -> None:
    # East's own checks are content with a picture that West finds to be of another size.
    evidence = fresh(Job(asked={"width": 48, "height": 64})).evidence()
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        job_id = east.bring(evidence)
        await until_ended(east.attesting([west]), east, job_id)
        job = east.job(job_id)
        assert (job.state, job.failure_reason) == (JobState.FAILED, "attesters_refuse")
        assert job.failure_detail is not None and "wrong_size" in job.failure_detail
        assert east.receipt(job_id).attestation is None
        assert west.attester._log.find("east", job_id) is None


async def test_an_attester_that_is_away_is_waited_for(network: TwoAttesterChain, tmp_path: Path) -> None:
    evidence = fresh().evidence()
    async with serving("east", tmp_path, network) as east:
        async with serving("west", tmp_path, network) as west:
            pass
        attesting = east.attesting([west])
        job_id = east.bring(evidence)
        await attesting.attest_due()
        assert east.job(job_id).state == JobState.VERIFYING
        # This hub's own attester signs last: until then, the job may have another receipt.
        assert east.store.read_now(_attestations(east, job_id)) == []
        assert east.attester._log.find("east", job_id) is None
        async with serving("west", tmp_path, network) as back:
            await until_ended(east.attesting([back]), east, job_id)
        assert east.job(job_id).state == JobState.DONE


def _attestations(hub: Hub, job_id: str) -> Any:
    receipt_hash = hub.receipt(job_id).receipt_hash
    return lambda c: receipts.attestations(c, receipt_hash)


async def test_each_attester_has_its_own_challenge_window(network: TwoAttesterChain, tmp_path: Path) -> None:
    evidence = fresh().evidence()
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network, window_s=2) as west:
        began_s = time.monotonic()
        job_id = east.bring(evidence, window_until_ms=disputes.window_until_ms(1.0, now_ms()))
        attesting = east.attesting([west])
        await attesting.attest_due()
        assert east.store.read_now(_attestations(east, job_id)) == []
        await until_ended(attesting, east, job_id)
        assert east.job(job_id).state == JobState.DONE
        assert time.monotonic() - began_s >= 3.0  # One after the other: West hears of it when East signs.


async def test_a_long_window_makes_nothing_too_old(network: TwoAttesterChain, tmp_path: Path) -> None:
    """A job of two days, a window of four: it is the hub's own operator who has set them."""
    day_ms = 86_400_000
    job = SPLIT.but(client=None, took_s=2 * 86_400, finished_at=int(time.time()) - 4 * 86_400)
    async with serving("east", tmp_path, network) as east:
        job_id = east.bring(job.evidence(), window_until_ms=now_ms() - 1)
        kept = update(RECEIPTS).where(RECEIPTS.c.job_id == job_id)
        east.store.write_now(lambda t: t.execute(kept.values(kept_at_ms=now_ms() - 4 * day_ms)))
        await east.attesting([]).attest_due()  # Nobody else is there to sign it.
        found = east.job(job_id)
        assert (found.state, found.failure_reason) == (JobState.VERIFYING, None)
        east.store.write_now(lambda t: t.execute(kept.values(window_until_ms=now_ms() - 2 * day_ms - 1_000)))
        await east.attesting([]).attest_due()
        assert east.job(job_id).failure_reason == "attestation_late"


async def test_a_dispute_within_the_window_stops_it(network: TwoAttesterChain, tmp_path: Path) -> None:
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        attesting = east.attesting([west])
        job_id = east.bring(fresh().evidence(), window_until_ms=now_ms() + 3_600_000)
        await attesting.attest_due()

        def speak_against(transaction: Any) -> bool:
            return disputes.dispute(
                transaction, ENDINGS, job_id, reason="check_failed", detail="not what was asked", now_ms=now_ms()
            )

        assert east.store.write_now(speak_against)
        await attesting.attest_due()
        job = east.job(job_id)
        assert (job.state, job.failure_reason) == (JobState.FAILED, "check_failed")
        assert east.receipt(job_id).attestation is None
        assert not east.store.write_now(speak_against)

        done = east.bring(fresh().evidence())
        await until_ended(attesting, east, done)
        assert not east.store.write_now(
            lambda t: disputes.dispute(t, ENDINGS, done, reason="late", detail="too late", now_ms=now_ms())
        )
        assert east.job(done).state == JobState.DONE


class Doubting(Pictures):
    """Somebody looks again at a part of the job, after its receipt was found due and before others have signed it."""

    def __init__(self, hub: Hub, job_id: str) -> None:
        super().__init__()
        self.kept = hub.pictures.kept
        self._hub, self._job_id = hub, job_id
        self.has_doubted = False

    async def read(self, sha256: str) -> bytes | None:
        if not self.has_doubted:
            self.has_doubted = True
            name = to_checksum_address(PROVIDERS[0].address)
            check = NewCheck(
                check_id="doubt", job_id=self._job_id, shard=0, lease_id="l", provider=name, kind="examination"
            )
            await self._hub.store.write(lambda t: checks.add(t, check, now_ms()))
        return await super().read(sha256)


async def test_a_look_that_began_meanwhile_is_waited_for(network: TwoAttesterChain, tmp_path: Path) -> None:
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        job_id = east.bring(fresh().evidence())
        doubting = east.pictures = Doubting(east, job_id)
        attesting = east.attesting([west])
        for _ in range(2):
            await attesting.attest_due()
            assert doubting.has_doubted
            assert east.job(job_id).state == JobState.VERIFYING
            assert east.receipt(job_id).attestation is None
        assert east.store.write_now(lambda t: checks.decide(t, "doubt", checks.Verdict.PASSED, {}, now_ms()))
        await until_ended(attesting, east, job_id)
        assert east.job(job_id).state == JobState.DONE


async def test_a_mistake_in_composing_is_not_signed(network: TwoAttesterChain, tmp_path: Path) -> None:
    evidence = fresh(part={"micro_units": 13_000_000}).evidence()
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        job_id = east.bring(evidence)
        await until_ended(east.attesting([west]), east, job_id)
        assert east.job(job_id).failure_reason == "implausible_units"
        assert east.attester._log.find("east", job_id) is None
        assert [e.kind for e in east.store.read_now(lambda c: audit.after(c, 0))] == ["attestation_refused"]


async def test_several_processes_attest_the_same_receipts(network: TwoAttesterChain, tmp_path: Path) -> None:
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        ids = [east.bring(fresh().evidence()) for _ in range(4)]
        one, other = east.attesting([west]), east.attesting([west])
        async with asyncio.timeout(PATIENCE_S):
            while any(east.job(job_id).ended_at_ms is None for job_id in ids):
                await asyncio.gather(one.attest_due(), other.attest_due())
        entries = east.store.read_now(lambda c: audit.after(c, 0))
        assert sorted(entry.subject for entry in entries) == sorted(east.receipt(job_id).receipt_hash for job_id in ids)


async def test_pictures_that_are_gone_cannot_be_shown(network: TwoAttesterChain, tmp_path: Path) -> None:
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        job_id = east.bring(fresh().evidence())
        east.pictures.kept.clear()
        await until_ended(east.attesting([west]), east, job_id)
        assert east.job(job_id).failure_reason == "picture_gone"


def test_pictures_of_the_tests_differ() -> None:
    assert len({picture(number) for number in range(4)}) == 4
    assert len({to_hex(key.address) for key in PROVIDERS}) == len(PROVIDERS)


async def test_a_job_that_cannot_be_handled_stops_no_other(network: TwoAttesterChain, tmp_path: Path) -> None:
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        broken, sound = east.bring(fresh().evidence()), east.bring(fresh().evidence())
        east.store.write_now(lambda t: jobs.keep_facts(t, broken, request={}))
        await until_ended(east.attesting([west]), east, sound)
        assert east.job(sound).state == JobState.DONE
        assert east.job(broken).state == JobState.VERIFYING
