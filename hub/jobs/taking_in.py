"""What providers bring: looked at, its pictures kept, then the result with its checks, in one unit; or turned down."""

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

import structlog

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.types import Address, Amount
from chain.primitives.worker_fields import PictureRun
from hub.jobs.granting import picture_run
from hub.jobs.judging import Judged, check_likeness, expected_picture_s, look_at, slots_of
from hub.jobs.places import DeskParts, Present
from hub.jobs.roster import keep_speeds
from hub.store import leases, locks, places, results
from hub.store.errors import AlreadyServed, AlreadyUsed, WrongState
from hub.store.jobs import Job
from hub.store.leases import Lease, LeaseState
from hub.store.places import Place
from hub.store.results import NewResult
from hub.store.store import now_ms
from hub.store.transaction import Reader, Transaction
from hub.verification.errors import AnswerRefused
from hub.verification.likeness import COPIED
from hub.workers.desk import Delivery
from hub.workers.errors import ResultRefused

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.desk")


class TakingIn:
    """Of one desk. On the event loop's thread."""

    def __init__(
        self, parts: DeskParts, present: Present, forget: Callable[[str], None], on_news: Callable[[str], None]
    ) -> None:
        """`forget` gets the ids of leases that have ended, `on_news` those of jobs of which something has come."""
        self._parts = parts
        self._present = present
        self._forget = forget
        self._on_news = on_news
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By lease, as long as a result of it is looked at."""

    async def delivered(self, delivery: Delivery) -> None:
        """Raises ResultRefused for what is not wanted or false. The same again, once it is taken, changes nothing."""
        turn = self._turns.setdefault(delivery.lease_id, asyncio.Lock())
        async with turn:  # However often it comes: it is looked at once.
            try:
                await self._take(delivery)
            except ResultRefused:
                if not await self.is_taken(delivery.lease_id, delivery.provider, to_hex(delivery.receipt.hash)):
                    raise

    async def is_taken(self, lease_id: str, provider: Address, receipt_hash: str) -> bool:
        """Whether this very result was taken already, whatever was found of it later."""

        def read(reader: Reader) -> bool:
            result = results.get(reader, lease_id)
            name = to_checksum_address(provider)
            return result is not None and (result.provider, result.receipt_hash) == (name, receipt_hash)

        return await self._parts.store.read(read)

    async def _take(self, delivery: Delivery) -> None:
        place = await self._place(delivery.lease_id)
        run = picture_run(place.job, place.shard.first_picture, place.shard.pictures)
        try:
            expected_s = self._expected_picture_s(delivery, place)
            judged = await self._look(delivery, place, run, expected_s)
            superseded, is_kept = await self._keep(delivery, place, judged, run, expected_s)
        except AnswerRefused as refused:
            await self._turn_down(place, refused)
            raise ResultRefused(refused.detail, reason=str(refused.reason)) from None
        except AlreadyServed:
            raise ResultRefused("another result of these pictures was taken", reason="already_served") from None
        except (WrongState, AlreadyUsed) as error:
            raise ResultRefused(str(error), reason="not_wanted") from None
        self._forget(delivery.lease_id)
        for lease in superseded:
            self._forget(lease.lease_id)
        self._parts.metrics.leases.labels("delivered").inc()
        self._parts.wishes.note(delivery.provider, delivery.receipt.hash, place.job)
        if not is_kept:
            self._on_news(place.job.job_id)

    async def _place(self, lease_id: str) -> Place:
        place = await self._parts.store.read(lambda r: places.of_lease(r, lease_id))
        if place is None:
            raise ResultRefused("there is no such lease", reason="unknown_lease")
        if place.job.ended_at_ms is not None or place.job.prompts is None:
            raise ResultRefused("the job has ended", reason="not_wanted")
        if place.shard.lease_id is not None or place.lease.state == LeaseState.DELIVERED:
            raise ResultRefused("another result of these pictures was taken", reason="already_served")
        if place.lease.pictures != place.shard.pictures:
            raise ResultRefused("these pictures are others' by now", reason="not_wanted")
        return place

    def _expected_picture_s(self, delivery: Delivery, place: Place) -> float | None:
        """By what this provider has shown before."""
        return expected_picture_s(self._parts.roster.speeds(delivery.provider), self._parts.queue.need_of(place.job))

    async def _look(
        self,
        delivery: Delivery,
        place: Place,
        run: PictureRun,
        expected_s: float | None,
    ) -> Judged:
        """What there is to say of the pictures, which are kept from here on."""
        parts = self._parts
        snapshot = parts.chain.snapshot
        ceiling = Amount(int(place.job.facts["most_atoms"])) if snapshot is None else snapshot.receipt_ceiling_atoms
        slots = slots_of(self._present.views.get(delivery.provider))

        def look() -> Judged:
            octets = [file.path.read_bytes() for file in delivery.pictures]
            judged = look_at(
                delivery,
                octets,
                run,
                ceiling=ceiling,
                seconds_per_picture=expected_s,
                slots=slots,
                leased_at_s=place.lease.started_at_ms / 1_000,
                judging=parts.judging,
            )
            parts.artifacts.keep_now(octets)
            return judged

        return await asyncio.to_thread(look)

    async def _keep(
        self, delivery: Delivery, place: Place, judged: Judged, run: PictureRun, expected_s: float | None
    ) -> tuple[list[Lease], bool]:
        """The result, its checks, what the provider has shown of its speed, and the job's receipt where this is all of
        it: one unit. The twins that it made needless, and whether the receipt is kept."""
        parts, now = self._parts, now_ms()
        is_warm = bool(place.lease.attributes.get("is_warm", True))
        promised_s = None if expected_s is None or not is_warm else expected_s * run.count
        result = _result_of(delivery, place.job, promised_s)
        rows = judged.rows(place.shard.first_picture)
        speeds = None
        if delivery.wall_s and is_warm:
            need, book = parts.queue.need_of(place.job), parts.roster.speeds(delivery.provider)
            book.record(need.model, need.pixels, need.work * run.count, delivery.wall_s)
            speeds = book.rows() if parts.roster.measured(delivery.provider, book) else None
        name = to_checksum_address(delivery.provider)

        def unit(transaction: Transaction) -> tuple[list[Lease], bool]:
            superseded = results.deliver(transaction, result, rows, now)
            suspicions, doubtful = check_likeness(
                transaction,
                judged,
                place.job,
                place.lease,
                first_picture=place.shard.first_picture,
                now_ms=now,
            )
            if speeds is not None:
                keep_speeds(transaction, name, speeds, now)
            suspicions = judged.suspicions + suspicions
            parts.checking.plan(transaction, place.job, place.shard, result, name, suspicions, now)
            for each in doubtful:
                parts.checking.look_again(transaction, [each.result], COPIED, now, picture=each.picture)
            is_kept = parts.keeping.keep_whole(transaction, place.job.job_id, delivery.receipt, now)
            return superseded, is_kept

        return await parts.store.write(unit, first=locks.job(place.job.job_id))

    async def _turn_down(self, place: Place, refused: AnswerRefused) -> None:
        now = now_ms()

        def unit(transaction: Transaction) -> None:
            lease_id = place.lease.lease_id
            leases.fail(
                transaction,
                lease_id,
                outcome=str(refused.reason),
                detail=refused.detail,
                excludes=True,
                now_ms=now,
            )
            self._parts.checking.note_lie(transaction, place.lease, str(refused.reason), refused.detail, now)

        await self._parts.store.write(unit, first=locks.job(place.job.job_id))
        self._forget(place.lease.lease_id)
        self._parts.metrics.leases.labels("refused").inc()
        _log.warning(
            "result_refused",
            job_id=place.job.job_id,
            provider=place.lease.provider,
            reason=str(refused.reason),
            detail=refused.detail,
        )
        self._on_news(place.job.job_id)


def _result_of(delivery: Delivery, job: Job, expected_s: float | None) -> NewResult:
    """As it is kept."""
    receipt = delivery.receipt
    return NewResult(
        lease_id=delivery.lease_id,
        receipt_hash=to_hex(receipt.hash),
        receipt_json=receipt.canonical_bytes().decode(),
        provider_signature=to_hex(delivery.provider_signature),
        prompt_salt=job.request_salt,
        micro_units=receipt.micro_units,
        amount=receipt.amount,
        facts={
            "profiles": [profile.to_object() for profile in delivery.profiles],
            "seeds": list(delivery.seeds),
            "gpu": delivery.gpu,
            "duration_ms": delivery.duration_ms,
            "compute_microseconds": delivery.compute_microseconds,
            "wall_s": round(delivery.wall_s, 3),
            "expected_s": None if expected_s is None else round(expected_s, 3),
        },
    )
