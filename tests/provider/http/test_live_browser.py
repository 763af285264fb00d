"""A page in Chromium, of another origin than the provider, gets a picture over the WebSocket."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.network import run_script

_BROWSER: Final = Path(__file__).parents[2] / "browser"
_FILES: Final = {"/": ("text/html", "index.html"), "/page.js": ("text/javascript", "page.js")}

pytestmark = [pytest.mark.node("browser"), pytest.mark.chromium, pytest.mark.timeout(240)]


class Gallery:
    """Serves the page, and what it knows when it is opened."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.origin = f"http://127.0.0.1:{self.server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gallery = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/settings.json":
                    self._answer("application/json", json.dumps(gallery.settings).encode())
                elif self.path in _FILES:
                    kind, name = _FILES[self.path]
                    self._answer(kind, (_BROWSER / "picture_page" / name).read_bytes())
                else:
                    self.send_error(404)

            def _answer(self, kind: str, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_said: Any) -> None:
                """Nothing goes to stderr."""

        return Handler


@pytest.fixture
def gallery() -> Iterator[Gallery]:
    page = Gallery()
    thread = threading.Thread(target=page.server.serve_forever, daemon=True)
    thread.start()
    yield page
    page.server.shutdown()
    page.server.server_close()


def draw(gallery: Gallery, provider: Any) -> dict[str, Any]:
    """What the page says after a click."""
    live_url = provider.url.replace("http://", "ws://") + "/v1/live"
    gallery.settings = {"liveUrl": live_url, "apiKey": provider.client_secret}
    inputs = {"pageUrl": gallery.origin, "chromiumPath": shutil.which("chromium")}
    return run_script(_BROWSER / "picture.mjs", "draw", inputs)


def test_a_page_draws_a_picture(gallery: Gallery, start_provider: Callable[..., Any]) -> None:
    provider = start_provider(cors_origins=(gallery.origin,))
    seen = draw(gallery, provider)
    outcome = seen["outcome"]
    assert "error" not in outcome, seen
    assert outcome["size"] == [256, 256]
    heard = outcome["heard"]
    assert heard[:2] == ["authenticated", "accepted"]
    assert heard[-1] == "finished"
    assert {"step", "preview", "log"} <= set(heard)
    same = provider.generate(seed=7, steps=10).json()
    assert seen["drawn"] == same["image_base64"]
    assert provider.mine(f"/v1/receipts/{outcome['receiptHash']}").status_code == 200


def test_a_page_that_nobody_named_gets_none(gallery: Gallery, running: Any) -> None:
    seen = draw(gallery, running)
    assert seen["outcome"]["error"] == "closed 1006"
    assert seen["outcome"]["heard"] == []
