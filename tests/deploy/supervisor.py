"""A stand-in for systemctl where no systemd runs: `supervisor.py ROOT start|stop|is-active|reset-failed|show UNIT`.

It reads the very units that install.sh has put below ROOT, and of each what decides whether its service starts, is
started again, and ends well: environment, settings file, credentials, command, restarts, signal and time to stop. Paths
of the units are taken below ROOT; users, sandboxes and other units are left out. A stopped service gets its signal
once, then the time that its unit allows, then SIGKILL. Each service has a process of this program beside it (`watch`),
which waits for its end and starts it again where its unit says so.
"""

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

POLL_S = 0.05
CLEAN_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)


class Unit:
    """One service of a machine below `root`."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        prefix, at, rest = name.partition("@")
        self.instance = rest.removesuffix(".service") if at else ""
        file = root / "etc/systemd/system" / (f"{prefix}@.service" if at else name)
        self.lines = [line.strip() for line in file.read_text().splitlines() if line[:1] not in ("#", ";", "")]
        self.credentials = root / "run/credentials" / name
        self._state_file = root / "run" / f"{name}.json"
        self._lock_file = root / "run" / f"{name}.lock"  # Held as long as the service is watched.
        self._stop_file = root / "run" / f"{name}.stopping"  # There while it is to end; `timeout` once it was killed.

    def values(self, key: str) -> list[str]:
        """All of a setting's values, with specifiers replaced."""
        return [self._expand(line.partition("=")[2]) for line in self.lines if line.partition("=")[0] == key]

    def last(self, key: str) -> str:
        """A setting's last value."""
        return self.values(key)[-1]

    def environment(self) -> dict[str, str]:
        """What the service would see; as under systemd, nothing of whoever starts it but the PATH."""
        settings = {"PATH": os.environ["PATH"]}
        for value in self.values("Environment"):
            settings |= dict(part.split("=", 1) for part in shlex.split(value))
        for value in self.values("EnvironmentFile"):
            for line in self._below_root(value).read_text().splitlines():
                if line and not line.startswith("#"):
                    name, _, text = line.partition("=")
                    settings[name] = text
        return settings

    def start(self) -> None:
        """Starts the service, which outlives this process; returns once its program runs, or could not."""
        (self.root / "run").mkdir(exist_ok=True)
        with self._lock_file.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # It runs, or is about to: whoever began to start it may have been killed since.
                while self.process_id is None and self._is_watched():
                    time.sleep(POLL_S)
                return
            self._stop_file.unlink(missing_ok=True)
            self._write(state="activating", restarts=0, result="success", pid=None)
            self._copy_credentials()
            with self._open_log() as log:
                watcher = subprocess.Popen(
                    [sys.executable, __file__, str(self.root), "watch", self.name],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(lock.fileno(),),
                )
        while self.process_id is None and watcher.poll() is None:
            time.sleep(POLL_S)

    def watch(self) -> None:
        """Runs the service as often as its unit says; for the process beside it."""
        restarts = 0
        while True:
            process = self._spawn()
            self._write(state="active", restarts=restarts, pid=process.pid, started=_started(process.pid))
            code = process.wait()
            if self._is_to_stop():
                self._write(state="inactive", result=self._stop_file.read_text() or "success")
                return
            is_clean = code == 0 or -code in CLEAN_SIGNALS
            if not self._comes_back(code, is_clean):
                self._write(state="inactive" if is_clean else "failed", result="success" if is_clean else "exit-code")
                return
            self._write(state="activating")
            if self._is_to_stop(within_s=float(self.last("RestartSec"))):
                self._write(state="inactive")
                return
            restarts += 1

    def stop(self) -> None:
        """As systemd stops it."""
        if not self._is_watched():
            return
        self._stop_file.write_text("")
        deadline = time.monotonic() + float(self.last("TimeoutStopSec"))
        signalled = None
        while self._is_watched():
            process_id = self.process_id
            if process_id is not None and process_id != signalled and self.is_active():
                os.kill(process_id, signal.Signals[self.last("KillSignal")])
                signalled = process_id
            if process_id is not None and self.is_active() and time.monotonic() > deadline:
                self._stop_file.write_text("timeout")
                os.killpg(process_id, signal.SIGKILL)
            time.sleep(POLL_S)

    def is_active(self) -> bool:
        """Whether its process is there, and still the same one."""
        started = self._read().get("started")
        return started is not None and self.process_id is not None and _started(self.process_id) == started

    @property
    def process_id(self) -> int | None:
        """Of the process that was started last."""
        pid = self._read().get("pid")
        return pid if isinstance(pid, int) else None

    def property(self, name: str) -> str:
        """`ActiveState`, `NRestarts`, `Result` or `Job`, as `systemctl show` says them; there are no jobs here."""
        kept = {"ActiveState": "state", "NRestarts": "restarts", "Result": "result"}
        return "" if name == "Job" else str(self._read()[kept[name]])

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = shlex.split(self.last("ExecStart"))
        command[0] = str(self._below_root(command[0]))
        with self._open_log() as log:
            return subprocess.Popen(
                command,
                cwd=self._below_root(self.last("WorkingDirectory")),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _copy_credentials(self) -> None:
        self.credentials.mkdir(parents=True, exist_ok=True)
        for value in self.values("LoadCredential"):
            name, _, source = value.partition(":")
            shutil.copy(self._below_root(source), self.credentials / name)

    def _comes_back(self, code: int, is_clean: bool) -> bool:
        if str(code) in " ".join(self.values("RestartPreventExitStatus")).split():
            return False
        return self.last("Restart") == "always" or not is_clean

    def _is_to_stop(self, within_s: float = 0.0) -> bool:
        deadline = time.monotonic() + within_s
        while not self._stop_file.exists():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _is_watched(self) -> bool:
        """Whether anybody holds the lock: from before the first start to after the last end."""
        if not self._lock_file.exists():
            return False
        with self._lock_file.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _open_log(self) -> BinaryIO:
        return (self.root / "run" / f"{self.name}.log").open("ab")

    def _expand(self, text: str) -> str:
        replaced = {
            "%S": self.root / "var/lib",
            "%C": self.root / "var/cache",
            "%d": self.credentials,
            "%i": self.instance,
        }
        for specifier, value in replaced.items():
            text = text.replace(specifier, str(value))
        return text

    def _below_root(self, path: str) -> Path:
        return Path(path) if path.startswith(str(self.root)) else self.root / path.lstrip("/")

    def _read(self) -> dict[str, object]:
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads(self._state_file.read_text()))
        return {"state": "inactive", "restarts": 0, "result": "success"}

    def _write(self, **changes: object) -> None:
        """Whoever reads meanwhile finds the old state or the new one, whole."""
        partial = self._state_file.with_suffix(".partial")
        partial.write_text(json.dumps(self._read() | changes))
        partial.replace(self._state_file)


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in ("Z", "X") else fields[19]


def units(root: Path) -> Iterator[Unit]:
    """Those that were started once."""
    for file in (root / "run").glob("*.json"):
        yield Unit(root, file.stem)


def main(arguments: list[str]) -> int:
    """The exit code, as systemctl's."""
    root, verb, *rest = arguments
    unit = Unit(Path(root), rest[-1])
    match verb:
        case "start":
            unit.start()
            return 0 if unit.process_id is not None else 1
        case "stop":
            unit.stop()
        case "watch":
            unit.watch()
        case "is-active":
            return 0 if unit.is_active() else 3
        case "show":
            print(unit.property(rest[rest.index("--property") + 1]))
        case "reset-failed":
            pass
        case _:
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
