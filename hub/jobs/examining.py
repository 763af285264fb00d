"""From an open check to its verdict: by those who help, or by an answer that is known already.

Nothing is remembered in between: a check that was cut off is begun again, and draws the same places.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import structlog

from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected
from chain.primitives.worker_fields import ProfileClaim
from hub.artifacts import Artifacts
from hub.jobs.asking import HelpingHands, ProviderAway
from hub.jobs.canaries import known_answer
from hub.jobs.checking import CANARY, Checking, Finding
from hub.jobs.ending import CANARY_FACT
from hub.jobs.granting import picture_run
from hub.store import checks, jobs, locks, results, sessions, shards
from hub.store.checks import Check, Verdict
from hub.store.store import Store, now_ms
from hub.store.transaction import Reader
from hub.verification import canaries, examination, verdicts
from hub.verification.comparison import ComputedPicture
from hub.verification.errors import FaultReason
from hub.verification.examination import Examination, ExaminationOptions, Subject
from hub.verification.likeness import COPIED, LOOKS_COPIED

_AT_ONE_TIME: Final = 64
_MOST_OPEN: Final = 1_000
_SWEEP_S: Final = 2.0
_BREATH_S: Final = 0.01
"""Between two looks at what is open: checks of many results that come together are begun together."""
_MOST_INTERRUPTIONS: Final = 3
"""So often may a provider's connection end while it is asked to open its run."""

_MOST_PICTURES: Final = 8
"""That are examined of a suspicious shard."""
_UNDECIDED: Final = "another request has the same file, and nobody is there who could say whose it is"

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.checking")


@dataclass(slots=True)
class _Absence:
    """Of the provider whose result is to be checked."""

    since_s: float | None = None
    interruptions: int = 0


class CheckLoop:
    """Of one process: for the providers that are connected to it. On the event loop's thread."""

    def __init__(
        self,
        store: Store,
        artifacts: Artifacts,
        checking: Checking,
        hands: HelpingHands,
        on_news: Callable[[str], None],
        *,
        timeout_s: float,
    ) -> None:
        """`on_news` gets the id of each job of which a check has ended; `timeout_s`: how long a provider that has gone
        may stay away before its check has failed."""
        self._store = store
        self._artifacts = artifacts
        self._checking = checking
        self._hands = hands
        self._on_news = on_news
        self._timeout_s = timeout_s
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._absences: dict[str, _Absence] = {}

    async def run(self) -> None:
        """Until cancelled."""
        await self._store.write(lambda t: self._checking.commit_to_key(t, now_ms()))
        try:
            async with self._store.announcements.subscribe(checks.TOPIC) as changes:
                while True:
                    await self._begin_open_ones()
                    await asyncio.sleep(_BREATH_S)
                    await changes.wait(_SWEEP_S)
        finally:
            for task in self._under_way.values():
                task.cancel()

    async def _begin_open_ones(self) -> None:
        if len(self._under_way) >= _AT_ONE_TIME:
            return
        found = await self._store.read(lambda r: checks.open_checks(r, limit=_MOST_OPEN))
        names = {check.check_id for check in found}
        self._absences = {name: absence for name, absence in self._absences.items() if name in names}
        for check in found:
            if len(self._under_way) >= _AT_ONE_TIME:
                return
            if check.check_id not in self._under_way and await self._is_ready(check):
                task = asyncio.create_task(self._bring_to_verdict(check))
                self._under_way[check.check_id] = task
                task.add_done_callback(lambda _, check_id=check.check_id: self._under_way.pop(check_id, None))  # type: ignore[misc]

    async def _is_ready(self, check: Check) -> bool:
        """Only a provider itself can open its run: whoever stays away for too long has failed."""
        absence = self._absences.setdefault(check.check_id, _Absence())
        if check.kind == CANARY or self._hands.is_here(parse_address(check.provider)):
            absence.since_s = None
            return absence.interruptions <= _MOST_INTERRUPTIONS or await self._fail_absent(check)
        if await self._store.read(lambda r: sessions.of_provider(r, check.provider)) is not None:
            absence.since_s = None  # At another process, which does it.
            return False
        now_s = time.monotonic()
        if absence.since_s is None:
            absence.since_s = now_s
        return now_s >= absence.since_s + self._timeout_s and await self._fail_absent(check)

    async def _fail_absent(self, check: Check) -> bool:
        detail = "the provider has gone before its result was checked"
        await self._end(check, Finding(Verdict.FAILED, FaultReason.NO_OPENING, detail))
        return False

    async def _bring_to_verdict(self, check: Check) -> None:
        try:
            found = await (self._compare(check) if check.kind == CANARY else self._examine(check))
            await self._end(check, found)
        except ProviderAway:
            self._absences.setdefault(check.check_id, _Absence()).interruptions += 1
            await asyncio.sleep(_SWEEP_S)
        except Exception:  # noqa: BLE001 - the last resort of a background task; the log has the traceback
            _log.exception("check_failed", check_id=check.check_id)
            await asyncio.sleep(_SWEEP_S)

    async def _examine(self, check: Check) -> Finding:
        """With others' help."""
        subject = await self._subject(check)
        if subject is None:
            return Finding(Verdict.ABANDONED, detail="the job has ended, or its pictures are gone")
        draws = self._checking.key.draws(subject.receipt.hash)
        suspicions = check.evidence.get("suspicions", ())
        options = options_for(suspicions, check.evidence.get("suspected", ()))
        found = _finding(await examination.examine(subject, draws, self._hands, options))
        if found.verdict == Verdict.ABANDONED and COPIED in suspicions:
            return replace(found, verdict=Verdict.DISPUTED, fault=FaultReason.COPIED_PICTURE, detail=_UNDECIDED)
        return found

    async def _compare(self, check: Check) -> Finding:
        """With the answer that is known."""
        subject = await self._subject(check)
        job = await self._store.read(lambda r: jobs.get(r, check.job_id))
        if subject is None or job is None:
            return Finding(Verdict.ABANDONED, detail="the job has ended, or its picture is gone")
        known = await known_answer(self._store, self._artifacts, job.facts[CANARY_FACT]["of"], subject.run)
        if known is None:
            return Finding(Verdict.ABANDONED, detail="the known answer is gone")
        profile = subject.profiles[0] if subject.profiles else None
        try:
            found = canaries.judge(known, ComputedPicture(subject.pictures[0], profile))
        except Rejected as rejected:
            return Finding(Verdict.ABANDONED, detail=f"the known answer is damaged: {rejected.message}")
        verdict = Verdict.PASSED if found.fault is None else Verdict.FAILED
        return Finding(verdict, found.fault, found.detail, evidence={"figures": found.figures})

    async def _subject(self, check: Check) -> Subject | None:
        def read(reader: Reader) -> tuple[Subject, list[str]] | None:
            shard = next((each for each in shards.of_job(reader, check.job_id) if each.number == check.shard), None)
            result, job = results.get(reader, check.lease_id), jobs.get(reader, check.job_id)
            if job is None or shard is None or result is None or job.prompts is None:
                return None
            if shard.lease_id != check.lease_id:
                return None
            rows = [row for row in results.pictures(reader, check.job_id) if row.lease_id == check.lease_id]
            subject = Subject(
                lease_id=check.lease_id,
                provider=parse_address(check.provider),
                receipt=Receipt.from_json(result.receipt_json),
                run=picture_run(job, shard.first_picture, shard.pictures),
                profiles=tuple(msgspec.convert(claim, ProfileClaim) for claim in result.facts.get("profiles", [])),
                pictures=(),
            )
            return subject, [row.sha256 for row in rows]

        found = await self._store.read(read)
        if found is None:
            return None
        subject, digests = found
        contents = [content for content in await self._artifacts.read_all(digests) if content is not None]
        if len(contents) != subject.run.count:
            return None
        return Subject(
            lease_id=subject.lease_id,
            provider=subject.provider,
            receipt=subject.receipt,
            run=subject.run,
            profiles=subject.profiles,
            pictures=tuple(contents),
        )

    async def _end(self, check: Check, found: Finding) -> None:
        now, row = now_ms(), locks.job(check.job_id)
        if await self._store.write(lambda t: self._checking.conclude(t, check, found, now), first=row):
            _log.info(
                "checked",
                job_id=check.job_id,
                provider=check.provider,
                kind=check.kind,
                verdict=str(found.verdict),
                reason=found.fault,
                detail=found.detail,
            )
            self._on_news(check.job_id)


def options_for(suspicions: Sequence[str], suspected: Sequence[int]) -> ExaminationOptions:
    """How much of a shard is examined: what is a copy, one of those that look like one, else several of a suspicious
    shard, one of any other. Nobody is paid for more."""
    is_of_some = bool(suspected) and set(suspicions) <= {COPIED, LOOKS_COPIED}
    if is_of_some:
        most = len(suspected) if COPIED in suspicions else 1
    else:
        most = _MOST_PICTURES if suspicions else 1
    return ExaminationOptions(pictures=min(most, _MOST_PICTURES), suspected=tuple(suspected))


def _finding(found: Examination) -> Finding:
    wrong = found.contradicted
    if found.verdict is verdicts.Verdict.DISPUTED:
        wrong = tuple(vote.checker for vote in found.votes if not vote.holds)
    return Finding(
        Verdict(found.verdict.value),
        found.fault,
        found.detail,
        tuple(to_checksum_address(checker) for checker in wrong),
        found.evidence,
    )
