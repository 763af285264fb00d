"""Assignments under way: each becomes a job of this provider, whose progress and result go to the hub.

A job outlives the connection that brought it: when the hub is back, it says which leases it still wants, and sends
again those of which it has heard nothing. What was done before is then answered from the job log.
"""

import asyncio
import base64
import time
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import structlog

from chain.primitives.hub_messages import MAX_LEASES, Assignment
from chain.primitives.provider_messages import Accepted, Progress, Result
from chain.primitives.worker_fields import ProfileClaim
from chain.primitives.worker_message import Refused
from chain.primitives.worker_messages import attachment_of, raw_json
from provider.errors import ProviderError, QueueFull
from provider.hub_link.errors import HubRefused, LinkEnded
from provider.hub_link.offering import LinkTools
from provider.hub_link.orders import order_of, work_of
from provider.hub_link.socket import HubSocket
from provider.jobs.answers import FinishedAnswer
from provider.jobs.errors import JobInProgress, LimitReached, NotServing
from provider.jobs.running import Previewed, RunningJob, Stepped

PROGRESS_INTERVAL_S: Final = 0.5
_AGAIN_S: Final = 5.0
_LONGEST_AGAIN_S: Final = 60.0
_MAX_DETAIL: Final = 500
_RETRYING: Final = (QueueFull, JobInProgress, LimitReached, NotServing)
"""Errors that say when to come again."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.hub_link")


@dataclass(eq=False)
class _Work:
    """One lease."""

    work: dict[str, object]
    task: "asyncio.Task[None]"
    job: RunningJob | None = None
    is_unwanted: bool = False
    answered: asyncio.Event | None = None
    """Set when the hub has said what it makes of the result."""
    again_s: float | None = None
    """In how many seconds it wants the result again."""


class Leases:
    """Of one hub. On the event loop's thread."""

    def __init__(self, tools: LinkTools, hub_id: str) -> None:
        self._tools = tools
        self._hub_id = hub_id
        self.has_results = False
        """Whether there was a result for the hub since this process began: taken, or still to be brought."""
        self._works: dict[str, _Work] = {}
        self._socket: HubSocket | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """Of those that are under way."""
        return tuple(self._works)

    @property
    def count(self) -> int:
        """How many are under way, or wait to be taken."""
        return len(self._works)

    def connect(self, socket: HubSocket, wanted: tuple[str, ...]) -> None:
        """A hub that is (again) there wants these; the others end."""
        self._socket = socket
        for lease_id in self.ids:
            if lease_id not in wanted:
                self.cancel(lease_id)

    def disconnect(self) -> None:
        """The connection has ended: jobs go on, results that were not taken are sent when they are asked for again."""
        self._socket = None
        for work in self._works.values():
            if work.answered is not None:
                work.answered.set()

    def begin(self, assignment: Assignment) -> None:
        """Takes an assignment, or the same one again; raises HubRefused."""
        lease_id, wanted = assignment.lease_id, work_of(assignment)
        before = self._works.get(lease_id)
        if before is not None:
            if before.work != wanted:
                raise HubRefused("this lease came before, with other work", reason="lease_reused")
            return  # Its result goes out when it is there.
        # Also while this provider drains: what it has made already it brings, and new work the jobs themselves refuse.
        if len(self._works) >= MAX_LEASES:
            raise HubRefused("too many leases at once", reason="busy", retry_after_s=_AGAIN_S)
        task = asyncio.create_task(self._guard(lease_id, self._serve(assignment)))
        self._works[lease_id] = _Work(wanted, task)

    def cancel(self, lease_id: str) -> None:
        """Nobody wants it any more."""
        work = self._works.get(lease_id)
        if work is not None:
            work.is_unwanted = True
            if work.job is not None:
                work.job.cancel()
            if work.answered is not None:
                work.answered.set()

    def taken(self, lease_id: str) -> None:
        """The hub keeps the result."""
        work = self._works.get(lease_id)
        if work is not None and work.answered is not None:
            work.again_s = None
            work.answered.set()

    def refused(self, lease_id: str, reason: str, retry_after_s: float | None) -> bool:
        """The hub does not take the result, or not now; whether that was about a lease at all."""
        work = self._works.get(lease_id)
        if work is None or work.answered is None:
            return False
        work.again_s = (retry_after_s or _AGAIN_S) if reason == "try_again" else None
        work.answered.set()
        return True

    async def close(self) -> None:
        """Ends everything."""
        self._socket = None
        tasks = [work.task for work in self._works.values()]
        for lease_id in self.ids:
            self.cancel(lease_id)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def wait_until_idle(self) -> None:
        """Until every result was taken, refused or given up."""
        while self._works:
            await asyncio.wait([work.task for work in self._works.values()])
            await asyncio.sleep(0)

    # One lease

    async def _guard(self, lease_id: str, serving: Coroutine[Any, Any, None]) -> None:
        try:
            await serving
        except ProviderError as error:
            if isinstance(error, LinkEnded):
                return
            _log.info("lease_failed", lease_id=lease_id, hub_id=self._hub_id, reason=error.reason)
            await self._refuse(lease_id, error)
        except Exception:  # noqa: BLE001 - a fault of ours: the log gets the traceback, the hub an answer
            _log.exception("lease_broke", lease_id=lease_id)
            await self._refuse(lease_id, HubRefused("a fault in this provider", reason="internal_error"))
        finally:
            del self._works[lease_id]

    async def _refuse(self, lease_id: str, error: ProviderError) -> None:
        retry_after_s = float(error.retry_after_s) if isinstance(error, _RETRYING) else None
        refusal = Refused(
            about=lease_id, reason=error.reason, detail=error.message[:_MAX_DETAIL], retry_after_s=retry_after_s
        )
        await self._say(lambda socket: socket.send(refusal))

    async def _serve(self, assignment: Assignment) -> None:
        tools = self._tools
        order = order_of(assignment, hub_id=self._hub_id, settings=tools.settings)
        job = await tools.jobs.start(order)
        work = self._works[assignment.lease_id]
        work.job = job
        if work.is_unwanted:
            job.cancel()
        await self._say(lambda socket: socket.send(Accepted(lease_id=assignment.lease_id)))
        progress = asyncio.create_task(self._tell_progress(assignment.lease_id, job))
        try:
            answer = await job.result()
        finally:
            progress.cancel()
            await asyncio.gather(progress, return_exceptions=True)
        await self._bring(work, assignment.lease_id, answer)

    async def _tell_progress(self, lease_id: str, job: RunningJob) -> None:
        next_s = 0.0
        async with aclosing(job.events()) as events:
            async for event in events:
                is_due = time.monotonic() >= next_s
                if isinstance(event, Previewed) or (isinstance(event, Stepped) and is_due):
                    next_s = time.monotonic() + PROGRESS_INTERVAL_S
                    seen = job.progress
                    message = Progress(
                        lease_id=lease_id,
                        step=seen.step,
                        steps=seen.steps,
                        fraction=min(1.0, max(0.0, seen.fraction)),
                        picture=event.picture if isinstance(event, Previewed) else 0,
                        preview=base64.b64encode(event.jpeg).decode() if isinstance(event, Previewed) else None,
                    )
                    await self._say(lambda socket, message=message: socket.send(message))  # type: ignore[misc]

    async def _bring(self, work: _Work, lease_id: str, answer: FinishedAnswer) -> None:
        """Sends the result until the hub has taken or refused it; without a hub, it waits in the job log."""
        self.has_results = True
        result = _result(lease_id, answer)
        while self._socket is not None and not work.is_unwanted:
            work.answered, work.again_s = asyncio.Event(), None
            await self._say(lambda socket: socket.send(result, answer.pictures))
            if self._socket is not None:
                await work.answered.wait()
            if work.again_s is None:
                return
            await asyncio.sleep(min(work.again_s, _LONGEST_AGAIN_S))

    async def _say(self, send: Callable[[HubSocket], Coroutine[Any, Any, None]]) -> None:
        """To the hub if it is there; a connection that ends meanwhile is its reader's to notice."""
        if self._socket is None:
            return
        try:
            await send(self._socket)
        except LinkEnded as ended:
            _log.debug("not_sent", hub_id=self._hub_id, detail=ended.message)


def _result(lease_id: str, answer: FinishedAnswer) -> Result:
    return Result(
        lease_id=lease_id,
        receipt=raw_json(answer.receipt),
        provider_signature=answer.provider_signature,
        seeds=answer.seeds,
        profiles=tuple(profile_claim(profile) for profile in answer.profiles),
        duration_ms=answer.duration_ms,
        compute_microseconds=answer.compute_microseconds,
        gpu=answer.gpu or "unknown",
        pictures=tuple(attachment_of(picture) for picture in answer.pictures),
    )


def profile_claim(profile: dict[str, Any]) -> ProfileClaim:
    """A profile's JSON object, as messages carry it."""
    return ProfileClaim(**(profile | {"latent_shape": tuple(profile["latent_shape"])}))
