"""The owner of a page: serves its files, and sends to the chain what its visitors have signed."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from chain.primitives.authorization import Authorization, transfer_call_data
from chain.primitives.hexadecimal import parse_address, parse_hash, parse_hex, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import TOKEN
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import Hash32
from tests.clients.network import DevnetNetwork

_FOLDER: Final = Path(__file__).parent
_FILES: Final = {
    "/": ("text/html", _FOLDER / "page" / "index.html"),
    "/page.js": ("text/javascript", _FOLDER / "page" / "page.js"),
    "/ethers.js": ("text/javascript", _FOLDER / "node_modules" / "ethers" / "dist" / "ethers.min.js"),
}


class SignedPayment(msgspec.Struct, rename={"sender": "from", "recipient": "to"}):
    """What a visitor's browser sends to `relay`."""

    sender: str
    recipient: str
    value: str
    validAfter: int  # noqa: N815 - the name in the typed data
    validBefore: int  # noqa: N815
    nonce: str
    signature: str

    def call_data(self) -> bytes:
        """The call of the token module that carries it out."""
        authorization = Authorization(
            sender=parse_address(self.sender),
            recipient=parse_address(self.recipient),
            amount=int(self.value),
            valid_after=self.validAfter,
            valid_before=self.validBefore,
            nonce=parse_hash(self.nonce),
        )
        return transfer_call_data(authorization, parse_hex(self.signature))


class PageServer:
    """Runs in threads of its own; as a context manager it stops them."""

    def __init__(self, network: DevnetNetwork, relayer: PrivateKey, settings: dict[str, Any]) -> None:
        """`settings` is what the page knows when it is opened."""
        self._network = network
        self._relayer = relayer
        self.settings = settings
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def relay(self, payment: SignedPayment) -> Hash32:
        """Sends it in a transaction of the owner's, and gives that one's hash."""
        transaction = sign_transaction(
            self._relayer,
            chain_id=self._network.chain_id,
            nonce=self._network.nonce(self._relayer.address),
            to=TOKEN,
            data=payment.call_data(),
        )
        self._network.client.send_transaction(transaction.raw)
        return transaction.hash

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/settings.json":
                    self._answer("application/json", json.dumps(server.settings).encode())
                elif self.path in _FILES:
                    kind, path = _FILES[self.path]
                    self._answer(kind, path.read_bytes())
                else:
                    self.send_error(404)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                payment = msgspec.json.decode(body, type=SignedPayment)
                self._answer("application/json", json.dumps({"hash": to_hex(server.relay(payment))}).encode())

            def _answer(self, kind: str, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_said: Any) -> None:
                """Nothing goes to stderr."""

        return Handler
