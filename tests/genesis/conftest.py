"""One devnet of real processes for all tests of this folder: starting one takes most of a minute."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_START_S = 420.0
_STOP_S = 120.0
ORDERED_ONLY = {"AITBC_HUB_CANARIES_PER_DAY": "0"}
"""So that each mint is of a job that was ordered, and sums can be told."""


class RunningDevnet:
    """An `aitbc devnet` in its own process, and what it wrote."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.child = subprocess.Popen(
            [sys.executable, "-m", "genesis.cli", "devnet", "--dir", str(folder), "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **ORDERED_ONLY, "AITBC_HOME": str(folder)},
        )
        try:
            self.summary = self._read_summary()
            self.description: dict[str, Any] = json.loads((folder / "devnet.json").read_text())
        except BaseException:
            self.child.kill()
            raise

    def _read_summary(self) -> dict[str, Any]:
        """The JSON line on stdout after the first job."""
        assert self.child.stdout is not None
        assert self.child.stderr is not None
        alarm = signal.signal(signal.SIGALRM, _too_slow)
        signal.setitimer(signal.ITIMER_REAL, _START_S)
        try:
            line = self.child.stdout.readline()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
        if not line:
            pytest.fail(f"the devnet did not start:\n{self.child.stderr.read()}")
        summary: dict[str, Any] = json.loads(line)
        return summary

    @property
    def node_url(self) -> str:
        """Of the follower's API."""
        url: str = self.node("follower")["url"]
        return url

    def node(self, name: str) -> dict[str, Any]:
        """Name, role, url and pid as they are now: a follower that was started again has another pid."""
        nodes = json.loads((self.folder / "devnet.json").read_text())["nodes"]
        found: dict[str, Any] = next(node for node in nodes if node["name"] == name)
        return found

    def account(self, name: str) -> dict[str, str]:
        """Name, address and private key."""
        return next(account for account in self.description["accounts"] if account["name"] == name)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.child.terminate()
        return self.child.wait(_STOP_S)

    def pids(self) -> list[int]:
        """Of every process that the devnet started."""
        parts = [*self.description["nodes"], self.description["hub"], *self.description["providers"]]
        return [part["pid"] for part in parts]


def _too_slow(number: int, frame: object) -> None:
    raise TimeoutError(f"the devnet ran no job within {_START_S} s")


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until_gone(pids: list[int], timeout_s: float) -> list[int]:
    """Those that still run after so long."""
    deadline = time.monotonic() + timeout_s
    while (left := [pid for pid in pids if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@pytest.fixture(scope="session")
def start_devnet() -> type[RunningDevnet]:
    """To start one; the test stops it."""
    return RunningDevnet


@pytest.fixture(scope="session")
def still_running() -> Callable[[list[int], float], list[int]]:
    """`still_running(pids, timeout_s)`: those that have not ended by then."""
    return wait_until_gone
