"""A real S3 server for tests: moto's, as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from typing import Final

import httpx

from genesis.processes import free_port

START_TIMEOUT_S: Final = 120.0


class S3Server:
    """moto's S3 as a process of its own, on a loopback socket; it can be paused and killed."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            assert self._child.poll() is None, "the S3 server did not start"
            assert time.monotonic() < deadline
            try:
                httpx.get(self.url, timeout=5)
                return
            except httpx.TransportError:
                time.sleep(0.05)

    def make_bucket(self, name: str) -> None:
        """An empty bucket."""
        assert httpx.put(f"{self.url}/{name}", timeout=30).status_code == 200

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that keeps its pictures here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_REGION": "us-east-1",
        }

    def pause(self) -> None:
        """It takes connections and answers none, until `go_on`."""
        os.kill(self._child.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """It answers again, also what came meanwhile."""
        os.kill(self._child.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Ends it at once; what it held is gone."""
        if self._child.poll() is None:
            os.kill(self._child.pid, signal.SIGKILL)
        self._child.wait()
