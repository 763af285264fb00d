"""What a provider brings: results under a lease and answers with files, checked, and handed to the desk.

Bytes are taken as they come, by the session's reader; what is done with a whole result happens in a task.
"""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from chain.primitives.hexadecimal import to_hex
from chain.primitives.hub_messages import Taken
from chain.primitives.provider_messages import Checked, Computed, Opened, Result
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from chain.primitives.worker_fields import octets_of
from chain.primitives.worker_message import Message, Refused
from hub.workers.desk import Delivery, HubIdentity, ShardDesk
from hub.workers.errors import ResultRefused, SessionEnds, WorkerLied
from hub.workers.leases import HeldLease
from hub.workers.questions import Questions
from hub.workers.results import check_announcement, read_receipt
from hub.workers.sending import Outgoing
from hub.workers.socket import SocketClosed
from hub.workers.spool import IncomingFiles, Spool

MAX_LATENTS_BYTES: Final = 8 * 2**20
"""Of one entry: 362 latents a side with 16 channels in single precision."""
TRY_AGAIN: Final = "try_again"
"""The reason for which a provider sends a result again, some seconds later."""
_RETRY_S: Final = 5.0

WithFiles = Result | Opened | Checked | Computed


@dataclass(frozen=True, slots=True)
class SessionTools:
    """What all sessions of a hub share."""

    hub: HubIdentity
    desk: ShardDesk
    spool: Spool


class Intake:
    """Of one session."""

    def __init__(
        self,
        provider: Address,
        tools: SessionTools,
        out: Outgoing,
        leases: dict[str, HeldLease],
        questions: Questions,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._provider = provider
        self._tools = tools
        self._out = out
        self._leases = leases
        self._questions = questions
        self._spawn = spawn
        self._message: WithFiles | None = None
        self._files: IncomingFiles | None = None
        self._is_repeated = False
        """Whether the same lease's result is being looked at while this one comes."""

    # As it comes

    def announce(self, message: WithFiles) -> None:
        """A message whose files follow; raises SessionEnds where they cannot be honest ones. OSError of the disk."""
        if self._message is not None:
            raise SessionEnds("malformed", "files of two messages at one time")
        try:
            self._files = self._expect(message)
        except WorkerLied as lie:
            self.fail(_key_of(message), lie)
            raise SessionEnds(lie.reason, lie.detail) from None
        self._message = message
        if self._files.is_complete:
            self._complete()

    def take_bytes(self, octets: bytes) -> None:
        """A binary frame; raises as `announce`."""
        if self._message is None or self._files is None:
            raise SessionEnds("malformed", "a binary frame that no message has announced")
        try:
            self._files.take(octets)
        except Rejected as rejected:
            self.fail(_key_of(self._message), WorkerLied(rejected.message, reason="wrong_bytes"))
            raise SessionEnds("wrong_bytes", rejected.message) from None
        if self._files.is_complete:
            self._complete()

    def fail(self, key: str, lie: WorkerLied) -> None:
        """What was on its way is worth nothing."""
        if self._leases.pop(key, None) is not None:
            self._spawn(self._tools.desk.returned(key, lie.reason, lie.detail, is_fault=True))
        self._questions.fail(key, lie)

    def discard(self) -> None:
        """The connection has ended: removes what is not whole."""
        if self._files is not None:
            self._files.discard()
        self._message = self._files = None

    def _expect(self, message: WithFiles) -> IncomingFiles:
        """To the spool, or nowhere if nobody waits for them; raises WorkerLied for more than there can be."""
        if isinstance(message, Result):
            held = self._leases.get(message.lease_id)
            self._is_repeated = held is not None and held.is_here
            if held is None or self._is_repeated:
                return IncomingFiles(message.attachments, None)
            check_announcement(message, held.assignment)
            return self._tools.spool.receive(message.attachments)
        if message.order_id not in self._questions:
            return IncomingFiles(message.attachments, None)
        if sum(each.size_bytes for each in message.attachments) > self._questions.most_bytes(message.order_id):
            raise WorkerLied("an answer with more bytes than it can have", reason="answer_too_large")
        return self._tools.spool.receive(message.attachments)

    def _complete(self) -> None:
        message, files = self._message, self._files
        self._message = self._files = None
        assert message is not None
        assert files is not None
        if isinstance(message, Result) and self._is_repeated:
            detail = "a result of this lease is being looked at"
            self._spawn(self._tell(_try_again(message.lease_id, detail)))
        elif isinstance(message, Result):
            held = self._leases.get(message.lease_id)
            if held is not None:
                held.is_here = True
            self._spawn(self._deliver(message, files))
        else:
            is_wanted = message.order_id in self._questions
            octets = tuple(file.path.read_bytes() for file in files.files) if is_wanted else ()
            files.discard()
            self._questions.answer(message.order_id, message, octets)

    # To the desk

    async def _deliver(self, result: Result, files: IncomingFiles) -> None:
        lease_id = result.lease_id
        answer: Message = Taken(lease_id=lease_id)
        try:
            if lease_id in self._leases or not await self._is_taken(result):
                await self._tools.desk.delivered(self._delivery(result, files))
        except ResultRefused as refusal:
            answer = Refused(about=lease_id, reason=refusal.reason, detail=refusal.detail)
        except WorkerLied as lie:
            self.fail(lease_id, lie)
            answer = Refused(about=lease_id, reason=lie.reason, detail=lie.detail)
        except Exception:
            # The database is away, say. The provider keeps the result, and sends it again.
            if lease_id in self._leases:
                self._leases[lease_id].is_here = False
            await self._tell(_try_again(lease_id, "it could not be kept now"))
            raise
        finally:
            files.discard()
        self._leases.pop(lease_id, None)
        await self._tell(answer)

    async def _is_taken(self, result: Result) -> bool:
        """A provider that has not heard so asks again, as it were."""
        try:
            receipt = Receipt.from_json(bytes(result.receipt))
        except Rejected:
            return False
        return await self._tools.desk.is_taken(result.lease_id, self._provider, to_hex(receipt.hash))

    def _delivery(self, result: Result, files: IncomingFiles) -> Delivery:
        held = self._leases.get(result.lease_id)
        if held is None:
            raise ResultRefused("no result of this lease is wanted (any more)", reason="unknown_lease")
        receipt: Receipt = read_receipt(result, held.assignment, provider=self._provider, hub=self._tools.hub)
        return Delivery(
            lease_id=result.lease_id,
            provider=self._provider,
            receipt=receipt,
            provider_signature=octets_of(result.provider_signature),
            seeds=result.seeds,
            profiles=result.profiles,
            duration_ms=result.duration_ms,
            compute_microseconds=result.compute_microseconds,
            gpu=result.gpu,
            pictures=files.files,
            sent_at_s=held.sent_at_s,
            received_at_s=time.time(),
            wall_s=held.wall_s(),
        )

    async def _tell(self, message: Message) -> None:
        try:
            await self._out.send(message)
        except SocketClosed:
            return  # It dials in again, and asks again.


def _try_again(lease_id: str, detail: str) -> Refused:
    return Refused(about=lease_id, reason=TRY_AGAIN, detail=detail, retry_after_s=_RETRY_S)


def _key_of(message: WithFiles) -> str:
    return message.lease_id if isinstance(message, Result) else message.order_id
