"""A child process with a log file, a check that it answers, and an orderly end."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import httpx

_POLL_S: Final = 0.1
_LOG_TAIL_BYTES: Final = 3_000
# Those from 32768 up are a system's own to give away, to connections that go out and to whoever asks for any port: one
# of them may be taken by the time a process listens on it, or while it is started again.
_PORTS: Final = range(10_000, 32_000)
_PORT_TRIES: Final = 1_000
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
# A provider reads them too; where a devnet is started, such common names are likely to mean something else.
_NAMES_OF_THE_PLAN: Final = frozenset({"API_KEY", "MODEL_ID", "BIND_HOST", "BIND_PORT"})


class ProcessFailed(Exception):
    """A process of the devnet ended or did not answer; the message holds the end of its log."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now, and that no system gives away."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different ones. Raises OSError where there are none."""
    found: list[int] = []
    with ExitStack() as probes:
        for port in random.SystemRandom().sample(_PORTS, _PORT_TRIES):
            probe = probes.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"no {count} free ports on 127.0.0.1")


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a child inherits of the environment."""
    kept = {name: value for name, value in environment.items() if name not in _NAMES_OF_THE_PLAN}
    return kept | {"PYTHONUNBUFFERED": "1"}


def _end_with_parent() -> None:
    """Runs in the child: where Linux allows it, the child is told to stop when its parent dies, even by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """One `aitbc` command running in the background. Its own session keeps the terminal's Ctrl-C from it."""

    def __init__(self, name: str, arguments: Sequence[str], *, log_file: Path, url: str, ready_path: str) -> None:
        self.name = name
        self.url = url
        self._ready_url = url + ready_path
        self._log_file = log_file
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            self._child = subprocess.Popen(
                # -P: no module comes from the folder that the user happens to be in.
                [sys.executable, "-P", "-m", "genesis.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - the devnet starts its processes from its only thread
                env=child_environment(os.environ),
            )

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative where a signal has killed it."""
        return self._child.poll()

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.exit_code is not None

    @property
    def was_stopped(self) -> bool:
        """False only where it has ended by itself, with an error: it runs, or somebody has stopped or killed it."""
        return (self.exit_code or 0) <= 0

    @property
    def end_text(self) -> str:
        """How it has ended, in words."""
        code = self.exit_code
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return "stopped" if code == 0 else f"exit code {code}"

    def answers(self) -> bool:
        """Whether it answers 200 with status ok."""
        if self.has_ended:
            return False
        try:
            # Without certificates, which would take 40 ms each time, and without a proxy.
            answer = httpx.get(self._ready_url, timeout=5.0, verify=False, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK and answer.json().get("status") == "ok"

    def require_running(self) -> None:
        """Raises ProcessFailed with the end of the log if the process has ended."""
        if self.has_ended:
            raise ProcessFailed(f"{self.name} ended with code {self.exit_code}.\n{self.log_tail()}")

    def wait_ready(self, timeout_s: float) -> None:
        """Returns once it answers; raises ProcessFailed if it ends before, or not in time."""
        wait_ready([self], timeout_s, check=lambda: None)

    def log_tail(self) -> str:
        """The last lines that it wrote, and where the rest is."""
        content = self._log_file.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        lines = "\n".join("  " + line for line in content.splitlines()[-12:])
        return f"The end of {self._log_file}:\n{lines}"

    def terminate(self) -> None:
        """Asks it to stop, without waiting."""
        if self._child.poll() is None:
            self._child.terminate()

    def wait_stopped(self, timeout_s: float) -> None:
        """Waits for the end; kills it if it takes longer."""
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def wait_ready(processes: Sequence[Process], timeout_s: float, *, check: Callable[[], None]) -> None:
    """Returns once all answer; raises ProcessFailed if one ends before, or not in time. `check` is called meanwhile."""
    deadline = time.monotonic() + timeout_s
    waiting = list(processes)
    while waiting := [each for each in waiting if not each.answers()]:
        for each in waiting:
            each.require_running()
        check()
        if time.monotonic() > deadline:
            raise ProcessFailed(f"{waiting[0].name} did not answer within {timeout_s:.0f} s.\n{waiting[0].log_tail()}")
        time.sleep(_POLL_S)
