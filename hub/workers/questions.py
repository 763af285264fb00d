"""Questions to one provider that wait for an answer, by the key that both carry."""

import asyncio
from dataclasses import dataclass
from typing import Final

from chain.primitives.provider_messages import AttestationTaken, Checked, Computed, Opened, Plan, ReceiptSigned
from chain.primitives.worker_message import Message
from hub.workers.errors import WorkerError, WorkerGone, WorkerLied, WorkerRefused
from hub.workers.sending import Outgoing
from hub.workers.socket import SocketClosed

MAX_QUESTIONS: Final = 64

OrderAnswer = Opened | Plan | Checked | Computed | ReceiptSigned | AttestationTaken


@dataclass(slots=True)
class _Question:
    future: "asyncio.Future[tuple[OrderAnswer, tuple[bytes, ...]]]"
    kind: type[Message]
    most_bytes: int


class Questions:
    """Of one session."""

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._waiting: dict[str, _Question] = {}
        self._is_closed = False
        self.asked = 0
        """Ever, of this session."""

    def __contains__(self, key: object) -> bool:
        return key in self._waiting

    def most_bytes(self, key: str) -> int:
        """That the files of the answer may have together."""
        return self._waiting[key].most_bytes

    async def ask(
        self, key: str, message: Message, files: tuple[bytes, ...], kind: type[Message], *, most_bytes: int
    ) -> tuple[OrderAnswer, tuple[bytes, ...]]:
        """The answer of this kind, with its files. Whoever stops waiting forgets the question.

        Raises WorkerGone, WorkerRefused and WorkerLied.
        """
        if self._is_closed:
            raise WorkerGone("the session has ended")
        if len(self._waiting) >= MAX_QUESTIONS or key in self._waiting:
            raise WorkerRefused("too many questions wait for this provider's answer", reason="busy")
        question = self._waiting[key] = _Question(asyncio.get_running_loop().create_future(), kind, most_bytes)
        self.asked += 1
        try:
            await self._out.send(message, files)
            return await question.future
        except SocketClosed as closed:
            raise WorkerGone(str(closed)) from None
        finally:
            del self._waiting[key]
            question.future.cancel()

    def answer(self, key: str, answer: OrderAnswer, files: tuple[bytes, ...]) -> None:
        """It has come; nothing happens where nobody waits for it any more."""
        question = self._waiting.get(key)
        if question is None or question.future.done():
            return
        if isinstance(answer, question.kind):
            question.future.set_result((answer, files))
        else:
            question.future.set_exception(WorkerLied("the answer to another question", reason="wrong_answer"))

    def fail(self, key: str, error: WorkerError) -> None:
        """There will be no answer."""
        question = self._waiting.get(key)
        if question is not None and not question.future.done():
            question.future.set_exception(error)

    def close(self) -> None:
        """The connection has ended."""
        self._is_closed = True
        for key in self._waiting:
            self.fail(key, WorkerGone("the connection has ended"))
