"""A hub that waits answers: why it is not there yet, and nothing hangs meanwhile."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from chain.primitives.keys import PrivateKey
from chain.web.server import listen
from hub.starting import opened
from tests.hub.running import Chain, HubProcess, wait_until


class WaitingHub(HubProcess):
    """`aitbc hub run --wait`, which is not waited for."""

    def command(self) -> list[str]:
        """As an operator starts it before governance knows its attester."""
        return [*super().command(), "--wait"]

    def begin(self) -> "WaitingHub":
        """Starts it; its port is known."""
        self.url = f"http://127.0.0.1:{self._flags['port']}"
        with (self.folder / "log.txt").open("a") as log:
            self.process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=log, text=True)
        return self

    def says(self, path: str) -> httpx.Response | None:
        """An answer within seconds; None while nobody listens."""
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return httpx.get(self.url + path, timeout=20, trust_env=False)
        except httpx.ConnectError:
            return None


@pytest.fixture
def make(tmp_path: Path, chain: Chain) -> Iterator[Callable[..., WaitingHub]]:
    """Hubs that are ended with the test."""
    made: list[WaitingHub] = []

    def begin(**flags: object) -> WaitingHub:
        made.append(WaitingHub(tmp_path / f"hub-{len(made)}", chain, **flags).begin())
        return made[-1]

    yield begin
    for hub in made:
        assert hub.process is not None
        if hub.process.poll() is None:
            hub.kill()


def test_a_hub_that_waits_for_its_attester_says_so(make: Callable[..., WaitingHub], chain: Chain) -> None:
    known, chain.attester = chain.attester, PrivateKey(b"\x66" * 32)
    try:
        hub = make()
    finally:
        chain.attester = known
    answer = wait_until(lambda: (found := hub.says("/readyz")) and "attester" in found.text and found)
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
    assert (answer.json()["reason"], answer.headers["Retry-After"]) == ("not_ready", "5")
    assert "governance" in answer.json()["detail"]
    posted = hub.request("POST", "/v1/jobs", json={"prompt": "a bell"})
    assert (posted.status_code, posted.json()["reason"]) == (503, "not_ready")
    healthy = hub.says("/healthz")
    assert healthy is not None
    assert healthy.status_code == 200
    assert hub.stop() == 0, hub.log
    assert "Traceback" not in hub.log


def test_it_takes_over_from_what_waited(make: Callable[..., WaitingHub], chain: Chain) -> None:
    """On the same socket: no client finds nobody there."""
    chain.kill()
    try:
        hub = make()
        answer = wait_until(lambda: (found := hub.says("/readyz")) and "waits" in found.text and found)
        assert answer.status_code == 503
    finally:
        chain.start()

    def is_ready() -> bool:
        answer = hub.says("/readyz")
        assert answer is not None, "nobody listens"
        return answer.status_code == 200

    wait_until(is_ready)
    assert hub.stop() == 0, hub.log
    assert "Traceback" not in hub.log


async def test_a_signal_as_it_takes_over_is_not_lost() -> None:
    class Made:
        is_closed = False

        async def close(self) -> None:
            self.is_closed = True

    made = Made()

    async def open_it(_tell: Callable[[str], None]) -> Made:
        await asyncio.sleep(1)  # What answers meanwhile takes signals by then.
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        return made

    listener = listen("127.0.0.1", 0)
    try:
        assert await opened(listener, open_it, max_connections=8) is None
        assert made.is_closed
    finally:
        listener.close()
