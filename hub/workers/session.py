"""One provider, from its welcome until its connection ends.

The reader is the connection's own task; what takes longer (a result that is kept, a slow disk) happens in tasks of its
own, so that heartbeats are read on. A session that says what no honest provider says ends; its leases lapse.
"""

import asyncio
import base64
import secrets
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import structlog

from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.hub_messages import MAX_LEASES, Cancel, Suspended
from chain.primitives.provider_messages import (
    Accepted,
    AskOutstanding,
    AttestationTaken,
    Checked,
    Computed,
    Hello,
    Opened,
    Plan,
    Progress,
    ReceiptSigned,
    Result,
)
from chain.primitives.rejection import Rejected
from chain.primitives.worker_fields import amount_of, shown
from chain.primitives.worker_message import Drain, Heartbeat, Message, Refused
from chain.primitives.worker_messages import decode_from_provider
from hub.workers.desk import Grant, LeaseProgress, OfferedModel, WorkerView
from hub.workers.errors import SessionEnds, WorkerGone, WorkerRefused
from hub.workers.intake import TRY_AGAIN, Intake, SessionTools
from hub.workers.leases import PROGRESS_INTERVAL_S, HeldLease
from hub.workers.questions import Questions
from hub.workers.sending import Outgoing
from hub.workers.socket import SocketClosed, WorkerSocket

_WINDOW_S: Final = 10.0
_MESSAGES: Final = 100
_MESSAGES_PER_LEASE: Final = 100
"""So many in a window: heartbeats, and a message for each of a few hundred steps of what was leased in it; beside the
answers to what this hub has asked."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.workers")


class Session:
    """One provider's connection. On the event loop's thread."""

    def __init__(self, socket: WorkerSocket, hello: Hello, tools: SessionTools) -> None:
        self.session_id = secrets.token_hex(8)
        self.provider = parse_address(hello.address)
        self.leases: dict[str, HeldLease] = {}
        self.suspension: Suspended | None = None
        self.is_draining = False
        """The provider wants no more."""
        self.heard_at_s = time.monotonic()
        self.connected_at_s = time.time()
        self.out = Outgoing(socket)
        self.ended: SessionEnds | None = None
        """Why the hub ends it, once it does."""
        self._socket = socket
        self._hello = hello
        self._loaded = {model.name for model in hello.models if model.is_loaded}
        self._busy_slots = self._waiting_pictures = 0
        self._tools = tools
        self._tasks: set[asyncio.Task[Any]] = set()
        self.questions = Questions(self.out)
        self._intake = Intake(self.provider, tools, self.out, self.leases, self.questions, self._spawn)
        self._is_counting = False
        """Whether a question of the provider's is being answered."""
        self._window_ends_s = 0.0
        self._messages = 0
        self._given = self._given_before = self._asked_before = 0
        """Leases ever given; those, and questions, before the window."""

    # How it stands

    def view(self) -> WorkerView:
        """As of now."""
        hello = self._hello
        held = [lease for lease in self.leases.values() if not lease.has_lapsed]
        return WorkerView(
            address=self.provider,
            session_id=self.session_id,
            connected_at_s=self.connected_at_s,
            models=self._models(),
            unit_type=hello.unit_type,
            device=hello.device,
            device_class=hello.device_class,
            vram_mib=hello.vram_mib,
            slots=hello.slots,
            concurrency=hello.concurrency,
            max_pictures=hello.max_pictures,
            records_trajectories=hello.records_trajectories,
            software=hello.software,
            leased_pictures=sum(lease.pictures for lease in held),
            busy_until_s=tuple(lease.lapses_at_s for lease in held),
            busy_slots=self._busy_slots,
            waiting_pictures=self._waiting_pictures,
            is_draining=self.is_draining,
            suspension=None if self.suspension is None else self.suspension.reason,
        )

    def _models(self) -> Mapping[str, OfferedModel]:
        return {
            model.name: OfferedModel(amount_of(model.price_per_unit), model.name in self._loaded, model.vram_mib)
            for model in self._hello.models
        }

    # Out

    async def give(self, grant: Grant, *, is_again: bool = False) -> None:
        """Sends what was granted; raises WorkerGone, and then nothing of it is known to be there."""
        held = self.leases.setdefault(grant.lease_id, HeldLease.of(grant))
        self._given += 1
        try:
            await self.out.send(grant.message)
        except SocketClosed as closed:
            raise WorkerGone(str(closed)) from None
        if not is_again:
            # Else it may have been at work, or done, since an earlier connection: the lease's start counts.
            held.mark_sent()

    async def cancel(self, lease_id: str) -> None:
        """Nobody wants these pictures any more."""
        if self.leases.pop(lease_id, None) is not None:
            await self._tell(Cancel(lease_id=lease_id))

    def end(self, reason: str, detail: str, code: int) -> None:
        """Tells the provider, and closes; the reader then comes to its end."""
        if self.ended is None:
            self.ended = SessionEnds(reason, detail)
            self._spawn(self._close(reason, detail, code))

    async def _close(self, reason: str, detail: str, code: int) -> None:
        await self._tell(Refused(reason=reason, detail=detail))
        await self._socket.close(code, reason)

    async def _tell(self, message: Message) -> None:
        try:
            await self.out.send(message)
        except SocketClosed:
            _log.debug("worker_gone", provider=to_checksum_address(self.provider))

    # In

    async def read(self) -> None:
        """Until the connection ends; raises SocketClosed, or SessionEnds where the provider misbehaves."""
        while True:
            frame = await self._socket.receive()
            self.heard_at_s = time.monotonic()
            try:
                if isinstance(frame, bytes):
                    self._intake.take_bytes(frame)
                else:
                    self._count_message()
                    await self._take(decode_from_provider(frame))
            except Rejected as rejected:
                raise SessionEnds("malformed", rejected.message) from None
            except OSError as error:
                _log.error("spool_failed", detail=error.strerror or str(error))
                raise SessionEnds("hub_failed", "the hub cannot store results at present") from None

    async def close(self) -> None:
        """After the last frame: whoever waits is told, and what is under way is brought to its end."""
        self.ended = self.ended or SessionEnds("closed", "the connection has ended")
        self._intake.discard()
        self.questions.close()
        while self._tasks:
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)

    def _count_message(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._window_ends_s:
            self._window_ends_s, self._messages = now_s + _WINDOW_S, 0
            self._given_before, self._asked_before = self._given - len(self.leases), self.questions.asked
        self._messages += 1
        leases, asked = self._given - self._given_before, self.questions.asked - self._asked_before
        if self._messages > _MESSAGES + _MESSAGES_PER_LEASE * leases + asked:
            raise SessionEnds("too_many_messages", f"more messages in {_WINDOW_S:.0f} s than were asked for")

    async def _take(self, message: Message) -> None:
        if isinstance(message, Heartbeat):
            self._busy_slots, self._waiting_pictures = message.busy_slots, message.waiting_pictures
            self._loaded = set(message.loaded)
        elif isinstance(message, Progress):
            self._take_progress(message)
        elif isinstance(message, Accepted):
            if message.lease_id in self.leases:
                self.leases[message.lease_id].is_accepted = True
        elif isinstance(message, Refused):
            self._take_refusal(message)
        elif isinstance(message, Drain):
            self.is_draining = True
        elif isinstance(message, AskOutstanding):
            self._spawn(self._tell_outstanding(message.order_id))
        elif isinstance(message, (Result, Opened, Checked, Computed)):
            self._intake.announce(message)
        elif isinstance(message, (Plan, ReceiptSigned)):
            self.questions.answer(message.order_id, message, ())
        elif isinstance(message, AttestationTaken):
            self.questions.answer(message.receipt_hash, message, ())
        else:
            raise SessionEnds("malformed", "a second hello")

    def _take_progress(self, message: Progress) -> None:
        held = self.leases.get(message.lease_id)
        if held is None:
            return  # Cancelled a moment ago, say.
        if message.picture >= held.pictures:
            raise SessionEnds("malformed", "progress of a picture that was not asked for")
        preview = None if message.preview is None else _decode(message.preview)
        held.newest = LeaseProgress(message.step, message.steps, message.fraction, message.picture, preview)

    def _take_refusal(self, message: Refused) -> None:
        held = self.leases.pop(message.about, None)
        if held is not None:
            _log.info(
                "lease_refused",
                lease_id=message.about,
                provider=to_checksum_address(self.provider),
                reason=message.reason,
            )
            returning = self._tools.desk.returned(
                message.about,
                message.reason,
                shown(message.detail),
                is_fault=False,
                retry_after_s=message.retry_after_s,
            )
            self._spawn(returning)
        self.questions.fail(
            message.about,
            WorkerRefused(shown(message.detail), reason=message.reason, retry_after_s=message.retry_after_s),
        )

    async def _tell_outstanding(self, order_id: str) -> None:
        """One question at a time: each is a look into the database."""
        later = Refused(about=order_id, reason=TRY_AGAIN, detail="it cannot be said now", retry_after_s=1.0)
        if self._is_counting:
            await self._tell(later)
            return
        self._is_counting = True
        try:
            answer = await self._tools.desk.outstanding(self.provider, order_id)
        except Exception:
            await self._tell(later)
            raise
        finally:
            self._is_counting = False
        await self._tell(answer)

    # Leases

    async def look_after_leases(self) -> None:
        """Hands progress on, and gives back what has lapsed. Called every now and then."""
        now_s = time.monotonic()
        for lease_id, held in list(self.leases.items()):
            if held.newest is not None and now_s >= held.progress_at_s + PROGRESS_INTERVAL_S:
                newest, held.newest, held.progress_at_s = held.newest, None, now_s
                await self._tools.desk.progress(lease_id, newest)
            is_over = now_s >= held.lapses_at_s and not held.has_lapsed and not held.is_here
            if is_over and self.leases.get(lease_id) is held:
                await self._tools.desk.returned(lease_id, "lapsed", "no result within the lease", is_fault=True)
                held.has_lapsed = True
        for lease_id in [key for key, held in self.leases.items() if held.has_lapsed][:-MAX_LEASES]:
            del self.leases[lease_id]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # The database is away, say: the lease stays, and lapses or is sent again.
            _log.error("worker_task_failed", provider=to_checksum_address(self.provider), exc_info=error)


def _decode(preview: str) -> bytes | None:
    try:
        return base64.b64decode(preview, validate=True)
    except ValueError:
        raise SessionEnds("malformed", "a preview that is not base64") from None
