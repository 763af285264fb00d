"""A signer in a thread, whose answers a test chooses; honest until then."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey, format_public_key

KEY = PrivateKey(b"\x11" * 32)
OTHER = PrivateKey(b"\x12" * 32)
NAME = "0x" + format_public_key(KEY.public_key, compressed=False)[1:].hex()
TIMEOUT_S = 0.5
PATIENT_S = 10.0
"""Where the signer is honest, and the machine may be busy."""
SLACK_S = 15.0
Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def answer_text(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "text/plain; charset=utf-8")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def honest(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    """As Web3Signer."""
    answer_text(handler, 200, to_hex(KEY.sign_keccak(data)).encode())


class SignerServer:
    """A signer whose answer a test chooses."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.paths: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answer_text(self, 200, json.dumps([NAME]).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.paths.append(self.path)
                self.close_connection = True
                with contextlib.suppress(OSError):  # The client has had enough.
                    server.answer(self, bytes.fromhex(body["data"][2:]))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._http.server_port}"
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        """Nobody listens any more."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def await_that(condition: Callable[[], bool]) -> None:
    """Within ten seconds."""
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
