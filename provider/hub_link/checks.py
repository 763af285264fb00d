"""What a hub asks besides work: steps opened, computed again for others, pictures without a receipt.

Nobody pays for it, so it is bounded by pictures and steps in an hour, one order is done at a time for each hub, and
those who pay go first where the engine's queue is shared.
"""

import asyncio
import hashlib
import time
from typing import Final

import limits
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from chain.primitives.hexadecimal import parse_hash, to_hex
from chain.primitives.hub_messages import CheckSteps, ComputePictures, OpenSteps, PlanCheck
from chain.primitives.profiles import profile_object
from chain.primitives.provider_messages import Checked, Computed, Opened, OpenedStep, Plan
from chain.primitives.rejection import Rejected
from chain.primitives.worker_fields import PictureRun, Place
from chain.primitives.worker_message import Message
from chain.primitives.worker_messages import attachment_of
from provider.engine.record import FinishedJob
from provider.errors import ProviderError
from provider.generation import StepCheck, StepsChecked
from provider.hub_link.errors import HubRefused
from provider.hub_link.leases import profile_claim
from provider.hub_link.offering import LinkTools
from provider.hub_link.orders import caller_of, request_of
from provider.jobs.answers import FinishedAnswer

CheckOrder = OpenSteps | PlanCheck | CheckSteps | ComputePictures
Answered = tuple[Message, tuple[bytes, ...]]
"""An answer, and the files that go with it."""

_RETRY_S: Final = 60.0


class Checks:
    """Of one hub."""

    def __init__(self, tools: LinkTools, hub_id: str) -> None:
        self._tools = tools
        self._hub_id = hub_id
        self._rate = limits.parse(tools.settings.hub_check_limit)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._turn = asyncio.Lock()

    async def answer(self, order: CheckOrder, files: tuple[bytes, ...]) -> Answered:
        """Raises HubRefused and other ProviderErrors, Rejected too."""
        if isinstance(order, OpenSteps):
            return await self._open(order)
        async with self._turn:
            if isinstance(order, PlanCheck):
                return await self._plan(order)
            if isinstance(order, CheckSteps):
                return await self._check(order, files)
            return await self._compute(order)

    async def _open(self, order: OpenSteps) -> Answered:
        key_name = caller_of(self._hub_id).name
        record = await asyncio.to_thread(self._tools.job_log.of_lease, key_name, order.lease_id)
        if record is None or record.answer_json is None:
            raise HubRefused("no receipt of this provider has this lease (any more)", reason="unknown_lease")
        root = FinishedAnswer.from_stored(record.answer_json).receipt.get("trajectory_root")
        if root is None:
            raise HubRefused("the receipt commits to no trajectory", reason="no_trajectory")
        opened = [
            await asyncio.to_thread(self._tools.trajectories.open, parse_hash(str(root)), place.step, place.picture)
            for place in order.places
        ]
        message = Opened(
            order_id=order.order_id,
            profiles=tuple(profile_claim(profile_object(profile)) for profile in opened[0].profiles),
            openings=tuple(
                OpenedStep(
                    picture=each.opening.picture,
                    pictures=each.opening.pictures,
                    step=each.opening.step,
                    steps=each.opening.steps,
                    latents_sha256=each.opening.latents_sha256.hex(),
                    siblings=tuple(to_hex(sibling) for sibling in each.opening.siblings),
                )
                for each in opened
            ),
            latents=tuple(attachment_of(each.latents) for each in opened),
        )
        return message, tuple(each.latents for each in opened)

    async def _plan(self, order: PlanCheck) -> Answered:
        _check_places(order.run, order.places)
        self._spend(1)
        request = request_of(order.run, self._tools.settings)
        found = await self._rerun(StepCheck(request.batch_key, (request.row(0),), _pairs(order.places)))
        return Plan(order_id=order.order_id, evaluations=found.evaluations, needed=found.needed), ()

    async def _check(self, order: CheckSteps, files: tuple[bytes, ...]) -> Answered:
        run = order.run
        _check_places(run, order.places)
        _check_places(run, order.opened)
        self._spend(len(order.places))
        request = request_of(run, self._tools.settings)
        found = await self._rerun(
            StepCheck(
                key=request.batch_key,
                rows=tuple(request.row(index) for index in range(run.count)),
                places=_pairs(order.places),
                opened=dict(zip(_pairs(order.opened), files, strict=True)),
                batch_rows=order.batch_rows,
                dtype=order.dtype,
            )
        )
        assert found.profile is not None
        message = Checked(
            order_id=order.order_id,
            profile=profile_claim(profile_object(found.profile)),
            expected_rms=found.expected_rms,
            rounding=found.rounding,
            latents=tuple(attachment_of(each) for each in found.latents),
        )
        return message, found.latents

    async def _compute(self, order: ComputePictures) -> Answered:
        run = order.run
        self._spend(run.count)
        request = request_of(run, self._tools.settings)
        started_ns = time.monotonic_ns()
        engine_job = self._tools.engine.submit(request, caller=caller_of(self._hub_id).name, records_trajectory=True)
        try:
            computed = await asyncio.wrap_future(engine_job.future)
        except asyncio.CancelledError:
            engine_job.cancel()
            raise
        return _computed(order.order_id, computed, (time.monotonic_ns() - started_ns) // 1_000_000)

    async def _rerun(self, check: StepCheck) -> StepsChecked:
        """Refused at once where the operator's bounds or the model do not allow it."""
        return await asyncio.to_thread(self._tools.engine.check_steps, check)

    def _spend(self, amount: int) -> None:
        """Raises HubRefused where this hub has had what it may ask for without paying."""
        if not self._limiter.hit(self._rate, self._hub_id, cost=amount):
            message = f"this provider does at most {self._rate} pictures and steps for nothing"
            raise HubRefused(message, reason="check_limit", retry_after_s=_RETRY_S)


def _check_places(run: PictureRun, places: tuple[Place, ...]) -> None:
    if any(place.picture >= run.count for place in places):
        raise HubRefused("places: a picture that the run does not have", reason="out_of_range")


def _pairs(places: tuple[Place, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((place.picture, place.step) for place in places)


def _computed(order_id: str, computed: FinishedJob, duration_ms: int) -> Answered:
    pictures = tuple(row.picture for row in computed.pictures)
    runs = [row.trajectory for row in computed.pictures if row.trajectory is not None]
    if len(runs) != len(pictures):
        runs = []
    latents = tuple(run[-1] for run in runs)
    message = Computed(
        order_id=order_id,
        profiles=tuple(profile_claim(profile_object(computed.profiles[index])) for index in computed.profile_of),
        compute_microseconds=computed.compute_microseconds,
        duration_ms=duration_ms,
        digests=tuple(tuple(hashlib.sha256(entry).hexdigest() for entry in run) for run in runs),
        pictures=tuple(attachment_of(picture) for picture in pictures),
        latents=tuple(attachment_of(each) for each in latents),
    )
    return message, (*pictures, *latents)


def refusal_of(error: ProviderError | Rejected) -> HubRefused:
    """In the words of the protocol."""
    if isinstance(error, HubRefused):
        return error
    reason = error.reason if isinstance(error, ProviderError) else error.reason.value
    return HubRefused(error.message, reason=reason)
