"""health.py against a real provider, and against servers that are none."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator

import pytest

from genesis.processes import free_port
from tests.deploy.machine import DEPLOY, run_program, until
from tests.provider.conftest import StartProvider


def judge(role: str, url: str, *options: str) -> tuple[int, str]:
    done = run_program(sys.executable, DEPLOY / "health.py", role, url, *options)
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def test_a_provider_that_serves_and_one_that_has_gone(start_provider: StartProvider) -> None:
    provider = start_provider()
    # On a busy machine one answer may take longer than health.py waits, which is why update.sh asks again.
    until(lambda: judge("provider", provider.url) == (0, "ok"), "a healthy provider")
    until(lambda: judge("provider", provider.url + "/") == (0, "ok"), "a healthy provider")
    no_node = (1, "its height is None, before it was 1")
    until(lambda: judge("node", provider.url, "--height", "1") == no_node, "a verdict on what is no node")
    provider.stop()
    code, said = judge("provider", provider.url)
    assert code == 1
    assert said.startswith("no answer")


class _Babbler(http.server.BaseHTTPRequestHandler):
    """Answers everything with what its path's server was told to."""

    answer = b""
    status = 200

    def do_GET(self) -> None:
        """Whatever is asked."""
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Nothing."""


@pytest.fixture(params=[(200, b"not JSON"), (200, b'["a list"]'), (200, b'{"status": "loading"}'), (503, b"")])
def babbler(request: pytest.FixtureRequest) -> Iterator[str]:
    status, answer = request.param
    handler = type("Babbler", (_Babbler,), {"status": status, "answer": answer})
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_whoever_answers_otherwise_is_not_healthy(babbler: str) -> None:
    code, said = judge("provider", babbler)
    assert code == 1
    assert said
    assert judge("node", babbler)[0] == 1
    assert judge("node", babbler, "--print-height") == (1, "")


def test_nobody_there() -> None:
    assert judge("hub", f"http://127.0.0.1:{free_port()}")[0] == 1
    assert judge("node", f"http://127.0.0.1:{free_port()}", "--print-height") == (1, "")
