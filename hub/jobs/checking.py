"""Second looks: which results are sampled, in the unit that keeps them; and from an open check to its verdict.

The rules are `hub.verification`'s. Here they meet the database and the providers who help.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from chain.primitives.hexadecimal import parse_address, parse_hash
from chain.primitives.receipt import Receipt
from chain.primitives.worker_fields import ProfileClaim
from hub.artifacts import ArtifactFolder
from hub.jobs.asking import HelpingHands
from hub.jobs.granting import picture_run
from hub.metrics import HubMetrics
from hub.reputation.noting import note
from hub.store import checks, jobs, providers, results, shards
from hub.store.checks import Check, NewCheck, Verdict
from hub.store.jobs import Job
from hub.store.results import NewResult
from hub.store.shards import Shard
from hub.store.store import Store, now_ms
from hub.store.transaction import Reader, Transaction
from hub.verification import examination, sampling
from hub.verification.examination import Examination, Subject
from hub.verification.suspicion import Suspicion

KIND: Final = "examination"
_AT_ONE_TIME: Final = 8
_SWEEP_S: Final = 5.0
_GONE: Final = "no_opening"

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.checking")


class Checking:
    """What units of the desk need of it."""

    def __init__(self, key: sampling.SamplingKey, rates: Mapping[str, float], timeout_s: float) -> None:
        """`timeout_s`: how long a provider that has gone may stay away before its check has failed."""
        sampling.check_rates(rates)
        self.key = key
        self._rates = rates
        self._timeout_ms = int(timeout_s * 1000)

    def plan(
        self,
        transaction: Transaction,
        job: Job,
        shard: Shard,
        result: NewResult,
        provider: str,
        suspicions: Sequence[Suspicion],
        now: int,
    ) -> None:
        """Adds a check where this result is drawn, or suspicious. Its receipt's hash is the commitment drawn from."""
        record = providers.get(transaction, provider)
        standing = providers.Standing.NEW if record is None else record.standing
        draws = self.key.draws(parse_hash(result.receipt_hash))
        if not sampling.is_sampled(draws, self._rates[str(standing)], suspicions):
            return
        evidence = {"standing": str(standing), "suspicions": [str(each.reason) for each in suspicions]}
        check = NewCheck(
            check_id=result.lease_id,
            job_id=job.job_id,
            shard=shard.number,
            lease_id=result.lease_id,
            provider=provider,
            kind=KIND,
            deadline_ms=now + self._timeout_ms,
            evidence=evidence,
        )
        checks.add(transaction, check, now)

    def note_lie(self, transaction: Transaction, provider: str, reason: str, detail: str, now: int) -> None:
        """An answer that no honest provider gives."""
        note(transaction, provider, "lied", now, detail=f"{reason}: {detail}")

    def note_failure(self, transaction: Transaction, provider: str, reason: str, now: int) -> None:
        """No answer, or none in time."""
        note(transaction, provider, "timed_out" if reason == "lapsed" else "failed", now, detail=reason)


class CheckLoop:
    """Brings open checks to their verdicts. On the event loop's thread."""

    def __init__(
        self,
        store: Store,
        artifacts: ArtifactFolder,
        checking: Checking,
        hands: HelpingHands,
        metrics: HubMetrics,
        on_news: Callable[[str], None],
    ) -> None:
        """`on_news` gets the id of each job of which a check has ended."""
        self._store = store
        self._artifacts = artifacts
        self._checking = checking
        self._hands = hands
        self._metrics = metrics
        self._on_news = on_news
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled; a check that was interrupted begins anew, and draws the same steps."""
        try:
            async with self._store.announcements.subscribe(checks.TOPIC) as changes:
                while True:
                    await self._begin_open_ones()
                    await changes.wait(_SWEEP_S)
        finally:
            for task in self._under_way.values():
                task.cancel()

    async def _begin_open_ones(self) -> None:
        for check in await self._store.read(lambda r: checks.open_checks(r, limit=256)):
            if check.check_id in self._under_way:
                continue
            if len(self._under_way) >= _AT_ONE_TIME:
                return
            task = asyncio.create_task(self._bring_to_verdict(check))
            self._under_way[check.check_id] = task
            task.add_done_callback(lambda _, check_id=check.check_id: self._under_way.pop(check_id, None))  # type: ignore[misc]

    async def _bring_to_verdict(self, check: Check) -> None:
        try:
            if not self._hands.is_here(parse_address(check.provider)):
                await self._wait_for_provider(check)
                return
            subject = await self._subject(check)
            if subject is None:
                await self._end(check, Verdict.ABANDONED, None, "the job has ended", {})
                return
            draws = self._checking.key.draws(subject.receipt.hash)
            found: Examination = await examination.examine(subject, draws, self._hands)
            await self._end(check, Verdict(found.verdict.value), found.fault, found.detail, found.evidence)
        except Exception:  # noqa: BLE001 - the last resort of a background task; the log has the traceback
            _log.exception("check_failed", check_id=check.check_id)
            await asyncio.sleep(_SWEEP_S)

    async def _wait_for_provider(self, check: Check) -> None:
        """It opens its own steps, or nobody does: away for too long counts as a failure."""
        if check.deadline_ms is not None and check.deadline_ms < now_ms():
            await self._end(check, Verdict.FAILED, _GONE, "the provider has gone before its result was checked", {})

    async def _subject(self, check: Check) -> Subject | None:
        def read(reader: Reader) -> tuple[Job | None, Shard | None, results.Result | None, list[results.Picture]]:
            shard = next((each for each in shards.of_job(reader, check.job_id) if each.number == check.shard), None)
            result = results.get(reader, check.lease_id)
            return jobs.get(reader, check.job_id), shard, result, results.pictures(reader, check.job_id)

        job, shard, result, rows = await self._store.read(read)
        if job is None or shard is None or result is None or job.prompts is None or shard.lease_id != check.lease_id:
            return None
        own = [row for row in rows if row.lease_id == check.lease_id]
        contents = await asyncio.to_thread(lambda: [self._artifacts.read_now(row.sha256) for row in own])
        if any(content is None for content in contents):
            return None
        return Subject(
            lease_id=check.lease_id,
            provider=parse_address(check.provider),
            receipt=Receipt.from_json(result.receipt_json),
            run=picture_run(job, shard.first_picture, shard.pictures),
            profiles=tuple(_profile(claim) for claim in result.facts.get("profiles", [])),
            pictures=tuple(content for content in contents if content is not None),
            source=None,
        )

    async def _end(
        self, check: Check, verdict: Verdict, reason: str | None, detail: str, evidence: dict[str, object]
    ) -> None:
        now = now_ms()
        word = str(reason or verdict)

        def unit(transaction: Transaction) -> bool:
            found = {**evidence, "reason": word, "detail": detail}
            if not checks.decide(transaction, check.check_id, verdict, found, now):
                return False
            if verdict in (Verdict.FAILED, Verdict.DISPUTED):
                results.refuse(transaction, check.lease_id, word, now)
                kind = "lied" if verdict == Verdict.FAILED else "disputed"
                kind = "timed_out" if word == _GONE else kind
                note(transaction, check.provider, kind, now, detail=f"{word}: {detail}")
            return True

        if await self._store.write(unit):
            self._metrics.checks.labels(str(verdict)).inc()
            _log.info("checked", job_id=check.job_id, provider=check.provider, verdict=str(verdict), reason=word)
            self._on_news(check.job_id)


def _profile(claim: dict[str, object]) -> ProfileClaim:
    return msgspec.convert(claim, ProfileClaim)
