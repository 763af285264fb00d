"""uvicorn's WebSocket with what it lacks: bounds on what a client can make the server hold or wait for."""

import asyncio
import socket
import sys
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

MAX_MESSAGE_BYTES: Final = 128 * 1024
UNSENT_BYTES: Final = 128 * 1024
"""What the kernel may hold unsent, so that urgent messages do not queue up behind megabytes there."""
_OPEN_TIMEOUT_S: Final = 10.0
_END_TIMEOUT_S: Final = 2.0
_MAX_QUEUED_MESSAGES: Final = 4_096
"""Of one read from the kernel, which then waits: an honest peer's smallest frames fit in far fewer."""
_QUEUED_MESSAGES_PER_TAKEN: Final = 32
"""A connection whose messages the application has not taken yet may not send many ahead, unless it was accepted with
`max_queued_messages`."""
_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Who is silent is asked by the kernel, and found gone after two minutes."""
_SLICE_BYTES: Final = 16 * 1024
_FIRST_SLICE_BYTES: Final = 1024
"""Parsed before the bounds are looked at again: frames of no content cost 6 bytes, and 10 µs each."""
_MAX_UNREAD_OUTPUT_BYTES: Final = 1024 * 1024


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """Whole binary or text messages in single frames; an end that does not wait for a client that reads nothing."""

    send_timeout_s: float
    """How long a client may read nothing of what waits for it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.close_timeout = _END_TIMEOUT_S
        self._taken = 0
        self._max_queued_messages = _QUEUED_MESSAGES_PER_TAKEN
        self._open_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._stalled_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The opening request has a deadline, also where it is none and uvicorn would wait for ever."""
        super().connection_made(transport)
        limit_unsent(transport)
        keep_alive(transport)
        self._open_timer = self.loop.call_later(_OPEN_TIMEOUT_S, self._end_unopened)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the clocks."""
        for timer in (self._open_timer, self._end_timer, self._stalled_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Ends connections whose opening request is no good, and those that let answers to pings pile up."""
        slice_bytes = _FIRST_SLICE_BYTES if self._taken < _QUEUED_MESSAGES_PER_TAKEN else _SLICE_BYTES
        for start in range(0, len(data), slice_bytes):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + slice_bytes])
            is_unreadable = self.conn.handshake_exc is not None and not self.handshake_initiated
            if is_unreadable or self.transport.get_write_buffer_size() > _MAX_UNREAD_OUTPUT_BYTES:
                self.transport.abort()

    async def receive(self) -> Any:
        """ASGI."""
        event = await super().receive()
        self._taken += 1
        self._max_queued_messages += _QUEUED_MESSAGES_PER_TAKEN
        return event

    async def send(self, message: Any) -> None:
        """ASGI; with `websocket.accept` may come `max_queued_messages`, how many the client may send ahead."""
        if message["type"] == "websocket.accept":
            self._max_queued_messages = message.get("max_queued_messages", self._max_queued_messages)
        await super().send(message)
        if message["type"] == "websocket.send":
            await self.writable.wait()  # Until most of it is read: whoever counts what is not can rely on it.

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """It has read most of what waited."""
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
        super().resume_writing()

    def handle_bytes(self, event: Frame) -> None:
        """Refuses fragments: thousands of empty ones cost the client nothing, and nobody of ours sends any."""
        if event.fin:
            super().handle_bytes(event)
        else:
            self._refuse()

    def handle_text(self, event: Frame) -> None:
        """As for bytes."""
        if event.fin:
            super().handle_text(event)
        else:
            self._refuse()

    def handle_cont(self, event: Frame) -> None:
        """The rest of a message that was refused."""

    def send_receive_event_to_app(self) -> None:
        """Bounds the messages that one read leaves."""
        if self.queue.qsize() < min(_MAX_QUEUED_MESSAGES, self._max_queued_messages):
            super().send_receive_event_to_app()
        else:
            self.transport.abort()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The application is done: what has not ended by itself soon is cut off."""
        super().on_task_complete(task)
        if not self.disconnected:
            self._end_timer = self.loop.call_later(_END_TIMEOUT_S, self.transport.abort)

    def _refuse(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()

    def _watch_reader(self) -> None:
        unsent_bytes = self.transport.get_write_buffer_size()
        self._stalled_timer = self.loop.call_later(self.send_timeout_s, self._end_stalled_reader, unsent_bytes)

    def _end_stalled_reader(self, unsent_bytes: int) -> None:
        if self.transport.get_write_buffer_size() < unsent_bytes:
            self._watch_reader()
        else:
            self.transport.abort()

    def _end_unopened(self) -> None:
        if not self.handshake_complete:
            self.transport.abort()


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Has the kernel ask a silent client now and then whether it is still there, where it knows how."""
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def limit_unsent(transport: asyncio.BaseTransport) -> None:
    """Lets the kernel take no more than UNSENT_BYTES beyond what is on its way, where it knows such an option."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform == "linux" else None)
    connection = transport.get_extra_info("socket")
    if option is not None and connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)
