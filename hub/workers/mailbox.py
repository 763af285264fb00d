"""Questions to providers that are connected to another of the hub's processes, and those that others have for ours.

Question and answer are rows of the database, their files lie in a folder that all processes see. Only where several
processes share a database: a hub alone asks its own sessions.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, Protocol

import structlog

from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from chain.primitives.worker_message import Message
from chain.primitives.worker_messages import decode_from_hub, decode_from_provider, encode
from hub.store import orders, sessions
from hub.store.store import Store
from hub.workers.errors import WorkerError, WorkerGone, WorkerLied, WorkerRefused, WorkerTimedOut

SESSION_ALIVE_MS: Final = 60_000
"""A process that has not said for so long that it lives has no sessions."""
_POLL_S: Final = 2.0
_RETRY_S: Final = 1.0
_MARK_BYTES: Final = 16
_ERRORS: Final = {error.__name__: error for error in (WorkerGone, WorkerRefused, WorkerTimedOut, WorkerLied)}

Ask = Callable[[Address, Message, tuple[bytes, ...], int, float], Awaitable[tuple[Message, tuple[bytes, ...]]]]
"""(provider, question, its files, most bytes of the answer's, seconds) → the answer and its files; WorkerError."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.workers")


class FileStore(Protocol):
    """Where the files of both lie, and nothing else: all processes see it, and what was read is removed."""

    async def keep(self, pictures: Sequence[bytes]) -> list[str]:
        """The digits of each one's SHA-256."""

    async def read(self, digits: str) -> bytes | None:
        """None where it is not there (any more)."""

    async def remove(self, digits: str) -> None:
        """Where it is there."""


class Mailbox:
    """Of one process."""

    def __init__(self, store: Store, files: FileStore, process: str) -> None:
        self._store = store
        self._files = files
        self._process = process
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(
        self, provider: Address, question: Message, files: tuple[bytes, ...], most_bytes: int, timeout_s: float
    ) -> tuple[Message, tuple[bytes, ...]]:
        """As the process that has the provider's session asks; raises WorkerError."""
        order_id, now_ms = secrets.token_hex(16), _now_ms()
        address = to_checksum_address(provider)
        session = await self._store.read(lambda reader: sessions.of_provider(reader, address))
        if session is None or session.process == self._process or session.beat_at_ms < now_ms - SESSION_ALIVE_MS:
            raise WorkerGone(f"{address} is not connected to this hub")
        kept = await self._keep(files)
        body = {
            "message": encode(question).decode(),
            "files": kept,
            "most_bytes": most_bytes,
            "timeout_s": timeout_s,
        }
        expires_at_ms = now_ms + round(timeout_s * 1000)
        try:
            async with self._store.announcements.subscribe(orders.topic(order_id)) as changes:
                await self._store.write(
                    lambda t: orders.put(
                        t, order_id, provider=address, body=body, now_ms=now_ms, expires_at_ms=expires_at_ms
                    )
                )
                while _now_ms() < expires_at_ms:
                    await changes.wait(_POLL_S)
                    order = await self._store.read(lambda reader: orders.get(reader, order_id))
                    if order is not None and order.answer is not None:
                        return await self._answer_of(order)
        finally:
            await self._remove(kept)
        raise WorkerTimedOut(f"no answer within {timeout_s:.0f} s")

    async def serve(self, present: Callable[[], Collection[Address]], ask: Ask) -> None:
        """Until cancelled: what other processes want of the providers that are connected here."""
        async with self._store.announcements.subscribe(orders.TOPIC) as changes:
            while True:
                try:
                    await self._take([to_checksum_address(provider) for provider in present()], ask)
                    await changes.wait(_POLL_S)
                except Exception:  # noqa: BLE001 - the last resort of a background loop; the log has the traceback
                    _log.exception("mailbox_failed")
                    await asyncio.sleep(_RETRY_S)

    async def _take(self, providers: list[str], ask: Ask) -> None:
        if not providers:
            return
        process, now_ms = self._process, _now_ms()
        taken = await self._store.write(lambda t: orders.take_for(t, providers, process=process, now_ms=now_ms))
        for order in taken:
            task = asyncio.create_task(self._carry_out(order, ask))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, order: orders.Order, ask: Ask) -> None:
        is_failure = False
        try:
            answer = await self._asked(order, ask)
        except WorkerError as error:
            is_failure = True
            answer = {"error": type(error).__name__, "reason": error.reason, "detail": error.detail}
        except Exception:  # noqa: BLE001 - a fault of ours: the log gets the traceback, who asked an answer
            _log.exception("order_broke", order_id=order.order_id)
            is_failure = True
            answer = {"error": WorkerGone.__name__, "reason": WorkerGone.reason, "detail": "a fault in this hub"}
        await self._store.write(lambda t: orders.answer(t, order.order_id, answer, is_failure=is_failure))

    async def _asked(self, order: orders.Order, ask: Ask) -> dict[str, Any]:
        body = order.body
        kept = await self._read(body["files"])
        message = decode_from_hub(body["message"])
        answer, answer_files = await ask(
            parse_address(order.provider), message, kept, int(body["most_bytes"]), float(body["timeout_s"])
        )
        return {
            "message": encode(answer).decode(),
            "files": await self._keep(answer_files),
        }

    async def _answer_of(self, order: orders.Order) -> tuple[Message, tuple[bytes, ...]]:
        answer = order.answer
        assert answer is not None
        if order.state is orders.OrderState.FAILED:
            kind = _ERRORS.get(answer["error"], WorkerGone)
            raise kind(answer["detail"], reason=answer["reason"])
        kept = await self._read(answer["files"])
        await self._remove(answer["files"])
        try:
            return decode_from_provider(answer["message"]), kept
        except Rejected as rejected:
            raise WorkerLied(rejected.message) from None

    async def _keep(self, files: Sequence[bytes]) -> list[str]:
        """Under names of their own: who has read the same bytes of another order removes only those."""
        return await self._files.keep([secrets.token_bytes(_MARK_BYTES) + file for file in files])

    async def _read(self, names: Sequence[str]) -> tuple[bytes, ...]:
        files = [await self._files.read(digits) for digits in names]
        kept = tuple(file[_MARK_BYTES:] for file in files if file is not None)
        if len(kept) != len(files):
            raise WorkerGone("the files of an order are not there any more")
        return kept

    async def _remove(self, names: Sequence[str]) -> None:
        for digits in names:
            await self._files.remove(digits)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
