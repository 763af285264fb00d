"""uvicorn's HTTP/1.1 with what it lacks: bounds, and problem bodies for what is no HTTP."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chain.web.direct import DirectAnswer, DirectRequests
from chain.web.problems import PROBLEM_MEDIA_TYPE, Problem

MAX_HEAD_BYTES: Final = 64 * 1024
"""Request line and headers. A chunk that the kernel hands over whole may exceed it once."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Bounds connections, the head, and the time in which a request must arrive and an answer be read."""

    receive_timeout_s: float
    send_timeout_s: float
    max_open_connections: int
    max_connections: int
    direct_answers: Mapping[bytes, DirectAnswer]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._receive_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._is_in_head = True
        self._is_between_requests = True
        self._direct = DirectRequests(self.direct_answers)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The clock starts with the connection: one that sends nothing ends too."""
        super().connection_made(transport)
        if len(self.connections) > self.max_open_connections:
            transport.abort()
        else:
            self._start_receive_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the clocks."""
        self._stop_receive_timer()
        self._stop_send_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        super().pause_writing()
        self._start_send_timer()

    def resume_writing(self) -> None:
        """It has read most of what waited."""
        self._stop_send_timer()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Answers the plainest requests at once; refuses a head that goes on for ever."""
        if self._is_idle():
            if self._direct.is_holding or self._may_answer_directly():
                response, data = self._direct.take(data)
                if response is not None:
                    self._respond(response)
                    return
            self._unset_keepalive_if_required()
            if self._receive_timer is None:  # Empty lines begin no request, but must not hold the connection either.
                self._start_receive_timer()
        if data:
            super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(f"The request's line and headers have more than {MAX_HEAD_BYTES} bytes.")

    def _is_idle(self) -> bool:
        """Whether nothing of another request is in the parser or still to be answered."""
        return (
            self._is_between_requests
            and (self.cycle is None or self.cycle.response_complete)
            and not self.transport.is_closing()
        )

    def _may_answer_directly(self) -> bool:
        """Whether the client takes answers, and is not one too many."""
        return not self.flow.write_paused and len(self.connections) <= self.max_connections

    def _respond(self, response: bytes) -> None:
        """As `on_response_complete` leaves things: the next request may take as long as the first."""
        self._unset_keepalive_if_required()
        self._stop_receive_timer()
        self.transport.write(response)
        self.server_state.total_requests += 1
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP, and ends the connection."""
        body = Problem(400, "malformed", msg).body()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n"
            b"content-type: " + PROBLEM_MEDIA_TYPE.encode() + b"\r\n"
            b"content-length: " + str(len(body)).encode() + b"\r\n"
            b"connection: close\r\n\r\n" + body
        )
        self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._is_between_requests = False
        self._head_bytes = 0
        self._is_in_head = True
        if self._receive_timer is None:
            self._start_receive_timer()

    def on_headers_complete(self) -> None:
        """The body follows, if there is one."""
        self._is_in_head = False
        if self.parser.should_upgrade():
            self._stop_receive_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The whole request is here."""
        self._is_between_requests = True
        self._stop_receive_timer()
        super().on_message_complete()

    def _start_receive_timer(self) -> None:
        self._receive_timer = self.loop.call_later(self.receive_timeout_s, self._end_slow_client)

    def _stop_receive_timer(self) -> None:
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None

    def _end_slow_client(self) -> None:
        self._receive_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _start_send_timer(self) -> None:
        unsent_bytes = self.transport.get_write_buffer_size()
        self._send_timer = self.loop.call_later(self.send_timeout_s, self._end_stalled_reader, unsent_bytes)

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _end_stalled_reader(self, unsent_bytes: int) -> None:
        if self.transport.get_write_buffer_size() < unsent_bytes:
            self._start_send_timer()
        else:
            self.transport.abort()  # `close` would wait for what the client does not read.
