"""Messages to one provider, with their files in pieces: other messages go between the pieces, other files do not."""

import asyncio
from collections.abc import Sequence

from chain.primitives.worker_message import Message
from chain.primitives.worker_messages import CHUNK_BYTES, encode
from hub.workers.socket import SocketClosed, WorkerSocket


class Outgoing:
    """The writing half of a session. Waits for a provider that reads slowly; the server ends one that does not read."""

    def __init__(self, socket: WorkerSocket) -> None:
        self._socket = socket
        self._files = asyncio.Lock()
        self._beating: asyncio.Task[None] | None = None

    async def send(self, message: Message, files: Sequence[bytes] = ()) -> None:
        """Raises SocketClosed. `files` are those that the message announces."""
        assert [len(file) for file in files] == [each.size_bytes for each in message.attachments]
        if not files:
            await self._socket.send_text(encode(message))
            return
        async with self._files:
            await self._socket.send_text(encode(message))
            for file in files:
                for start in range(0, len(file), CHUNK_BYTES):
                    await self._socket.send_bytes(file[start : start + CHUNK_BYTES])

    def beat(self, message: Message) -> None:
        """Sends without waiting, unless the one before is still on its way: for the heartbeat of many sessions."""
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._try(message))

    async def _try(self, message: Message) -> None:
        try:
            await self._socket.send_text(encode(message))
        except SocketClosed:
            return  # The reader of this session finds out by itself.
