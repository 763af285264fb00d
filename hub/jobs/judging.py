"""A first look at what a provider brought, before anything of it counts; `hub.verification` has the rules."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chain.primitives.types import Amount
from chain.primitives.worker_fields import PictureRun
from hub.jobs.checking import CANARY
from hub.scheduling.runs import Need
from hub.scheduling.speed import SpeedBook
from hub.store import checks, perceptual, results
from hub.store.jobs import Job
from hub.store.leases import Lease
from hub.store.perceptual import NearPicture
from hub.store.results import NewPicture, Result, ResultState
from hub.store.transaction import Reader, Transaction
from hub.verification import answers, likeness, pictures
from hub.verification.suspicion import Suspicion
from hub.workers.desk import Delivery, WorkerView

_LIKENESS_DAYS_MS = 30 * 86_400_000
_NEAR = 32


@dataclass(frozen=True, slots=True)
class Judging:
    """What the operator has set, and what likeness is keyed with."""

    secret: bytes
    clock_tolerance_s: float
    metering_slack_s: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A delivery that passed the first look."""

    looks: tuple[pictures.Look, ...]
    sizes: tuple[int, ...]
    """Bytes of each file."""
    run_keys: tuple[int, ...]
    suspicions: tuple[Suspicion, ...]

    def rows(self, first_picture: int) -> list[NewPicture]:
        """As they are kept with the result."""
        return [
            NewPicture(
                picture=first_picture + index,
                sha256=look.sha256,
                bytes=size,
                width=look.width,
                height=look.height,
                media_type=look.media_type,
            )
            for index, (look, size) in enumerate(zip(self.looks, self.sizes, strict=True))
        ]


def look_at(
    delivery: Delivery,
    octets: Sequence[bytes],
    run: PictureRun,
    *,
    ceiling: Amount,
    seconds_per_picture: float | None,
    slots: int,
    leased_at_s: float,
    judging: Judging,
) -> Judged:
    """Takes time: in a thread. `leased_at_s` is Unix time. Raises AnswerRefused."""
    asked = answers.Asked(run=run, ceiling=ceiling, seconds_per_picture=seconds_per_picture, slots=slots)
    measured = answers.Measured(
        sent_at_s=delivery.sent_at_s or leased_at_s,
        received_at_s=delivery.received_at_s,
        wall_s=delivery.wall_s or None,
        clock_tolerance_s=judging.clock_tolerance_s,
        metering_slack_s=judging.metering_slack_s,
    )
    suspicions = answers.check_terms(delivery.receipt, asked, measured)
    looks = tuple(pictures.look(content, run) for content in octets)
    keys = tuple(likeness.run_key(judging.secret, run, index) for index in range(run.count))
    return Judged(looks, tuple(len(content) for content in octets), keys, suspicions)


@dataclass(frozen=True, slots=True)
class Doubtful:
    """An earlier result whose picture, its own `picture` from 0, has come again for another request."""

    result: Result
    picture: int


def check_likeness(
    transaction: Transaction,
    judged: Judged,
    job: Job,
    lease: Lease,
    *,
    first_picture: int,
    now_ms: int,
) -> tuple[tuple[Suspicion, ...], tuple[Doubtful, ...]]:
    """Against everything of the last month, and keeps these for later ones.

    Also earlier results that have the very same file for another request: it may be they that are false.
    """
    found: list[Suspicion] = []
    doubtful: list[Doubtful] = []
    for index, (look, run_key) in enumerate(zip(judged.looks, judged.run_keys, strict=True)):
        since_ms = now_ms - _LIKENESS_DAYS_MS
        near = [
            *perceptual.same_file(transaction, look.hash64, look.sha256, since_ms=since_ms, limit=_NEAR),
            *(
                each
                for each in perceptual.near(
                    transaction, look.hash64, max_distance=likeness.MAX_DISTANCE, since_ms=since_ms, limit=_NEAR
                )
                if each.sha256 != look.sha256
            ),
        ]
        earlier = [known for each in near if (known := _earlier(transaction, each, look.sha256)) is not None]
        suspicion = likeness.judge(look, run_key, [each for each, _ in earlier])
        if suspicion is not None:
            found.append(replace(suspicion, picture=index))
        if suspicion is not None and suspicion.reason == likeness.COPIED:
            doubtful += [other for each, other in earlier if other is not None and each.run_key != run_key]
        perceptual.keep(
            transaction,
            job_id=job.job_id,
            picture=first_picture + index,
            provider=lease.provider,
            hash64=look.hash64,
            run_key=run_key,
            sha256=look.sha256,
            now_ms=now_ms,
        )
    for reason in {each.reason for each in found}:
        last = checks.suspected_of_owner(transaction, job.owner, reason, jobs=likeness.LAST_JOBS)
        if last >= likeness.MOST_FALSE_ALARMS:
            found = [each for each in found if each.reason != reason]
            doubtful = [] if reason == likeness.COPIED else doubtful
    # Of two pictures of this very answer either may be the false one.
    own = [each for each in doubtful if each.result.lease_id == lease.lease_id]
    found += [Suspicion(likeness.COPIED, "the same answer has it twice", each.picture) for each in own]
    return tuple(found), tuple(each for each in doubtful if each not in own)


def _earlier(reader: Reader, near: NearPicture, sha256: str) -> tuple[likeness.Earlier, Doubtful | None] | None:
    """With what is known of it where its file is this one; None where that was refused, so that it says nothing."""
    found = results.of_file(reader, near.job_id, near.picture, sha256) if near.sha256 == sha256 else None
    result, index = (None, 0) if found is None else found
    if result is not None and result.state == ResultState.REFUSED:
        return None
    look = None if result is None else checks.get(reader, result.lease_id)
    # Of a shard's pictures one is examined: the others are as good as their provider.
    is_certain = (
        look is not None
        and look.verdict == checks.Verdict.PASSED
        and index in look.evidence.get("pictures", (0,) if look.kind == CANARY else ())
    )
    earlier = likeness.Earlier(near.job_id, near.sha256, near.run_key, near.distance, is_certain)
    return earlier, None if result is None else Doubtful(result, index)


def expected_picture_s(book: SpeedBook, need: Need) -> float | None:
    """What such a picture has taken the provider so far; None where nothing was measured."""
    speed = book.speeds().get((need.model, need.size_class))
    return None if speed is None else need.work / speed


def slots_of(view: WorkerView | None) -> int:
    """How many shards it computes at one time."""
    return 1 if view is None else max(1, view.slots)
