"""A WebSocket that this provider opens to a hub: bounded frames, no compression, no redirects."""

import asyncio
from collections.abc import Sequence
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from chain.primitives.worker_fields import shown
from chain.primitives.worker_message import Message
from chain.primitives.worker_messages import CHUNK_BYTES, MAX_TEXT_BYTES, encode
from provider.hub_link.errors import LinkEnded

_OPEN_S: Final = 15.0
_CLOSE_S: Final = 1.0
_QUEUED_FRAMES: Final = 4


class HubSocket:
    """Frames in, for one reader; messages out, for any task: others may go between the pieces of a file."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._files = asyncio.Lock()

    async def receive(self, timeout_s: float) -> str | bytes:
        """The next frame; raises LinkEnded, also after so many seconds of silence."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._connection.recv()
        except TimeoutError:
            raise LinkEnded(f"nothing was heard of the hub for {timeout_s:.0f} s", reason="hub_silent") from None
        except ConnectionClosed as closed:
            received = closed.rcvd
            detail = shown(received.reason) if received is not None and received.reason else "the connection was lost"
            raise LinkEnded(detail) from None

    async def send(self, message: Message, files: Sequence[bytes] = ()) -> None:
        """A message with the files that it announces; raises LinkEnded."""
        assert [len(file) for file in files] == [each.size_bytes for each in message.attachments]
        try:
            if not files:
                await self._connection.send(encode(message).decode())
                return
            async with self._files:
                await self._connection.send(encode(message).decode())
                for file in files:
                    for start in range(0, len(file), CHUNK_BYTES):
                        await self._connection.send(file[start : start + CHUNK_BYTES])
        except ConnectionClosed:
            raise LinkEnded("the connection was lost") from None

    async def close(self) -> None:
        """Within a second or two, whatever the hub does. Never raises."""
        try:
            async with asyncio.timeout(2 * _CLOSE_S):
                await self._connection.close()
        except TimeoutError:
            return  # It does not read; what follows ends it.
        finally:
            self._connection.transport.abort()


async def dial(url: str) -> HubSocket:
    """Raises LinkEnded."""
    try:
        connection = await _Connect(
            url,
            compression=None,  # A compressed frame can be a bomb.
            user_agent_header=None,
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
            ping_interval=None,  # Heartbeats are messages: they tell how busy this provider is.
            max_size=MAX_TEXT_BYTES,
            max_queue=_QUEUED_FRAMES,
            write_limit=CHUNK_BYTES,
        )
    except (OSError, WebSocketException, TimeoutError, ValueError, ImportError) as error:
        raise LinkEnded(shown(str(error) or type(error).__name__)) from None
    return HubSocket(connection)


class _Connect(connect):
    """Follows no redirects: the operator has named this hub and no other."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc
