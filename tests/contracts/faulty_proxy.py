"""A proxy between a wallet and a node that loses requests or answers, or kills the wallet, at a chosen moment."""

import os
import signal
import threading
from collections.abc import Callable
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx


class Fault(StrEnum):
    """What becomes of a request."""

    NONE = "none"
    LOSE_REQUEST = "lose the request"
    LOSE_ANSWER = "lose the answer"
    KILL_BEFORE = "kill the wallet before the node has it"
    KILL_AFTER = "kill the wallet once the node has it"


Choose = Callable[[str, bytes], Fault]


def is_sending(path: str, body: bytes) -> bool:
    """Whether a request hands a transaction in, on either chain."""
    return b"eth_sendRawTransaction" in body or (path == "/v1/transactions" and bool(body))


class FaultyProxy:
    """On a loopback port of its own."""

    def __init__(self, upstream: str) -> None:
        self.choose: Choose = lambda path, body: Fault.NONE
        self.victim: int | None = None
        """Process id of the wallet."""
        proxy = self
        self._http = httpx.Client(timeout=60)  # One for all: making a client takes longer than most answers.

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # Or each answer's body waits 40 ms for the headers' acknowledgement.

            def do_GET(self) -> None:
                self._pass_on(b"")

            def do_POST(self) -> None:
                self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

            def _pass_on(self, body: bytes) -> None:
                fault = proxy.choose(self.path, body)
                if fault is Fault.KILL_BEFORE:
                    proxy.kill()
                if fault in (Fault.KILL_BEFORE, Fault.LOSE_REQUEST):
                    self._hang_up()
                    return
                kind = {"Content-Type": self.headers.get("Content-Type", "application/json")}
                answer = proxy._http.request(self.command, upstream + self.path, content=body, headers=kind)
                if fault is Fault.KILL_AFTER:
                    proxy.kill()
                if fault in (Fault.KILL_AFTER, Fault.LOSE_ANSWER):
                    self._hang_up()
                    return
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def _hang_up(self) -> None:
                self.close_connection = True

            def log_request(self, *_: object) -> None:
                """Nothing on the test's output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def kill(self) -> None:
        """As a power cut, as far as the wallet is concerned."""
        assert self.victim is not None
        os.kill(self.victim, signal.SIGKILL)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._http.close()
