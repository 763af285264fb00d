"""A stand-in for systemctl where no systemd runs: `supervisor.py ROOT start|stop|is-active|reset-failed|show UNIT`.

It reads the very units that install.sh has put below ROOT, and of each what decides whether its service starts and
ends well: environment, settings file, credentials, command, signal and time to stop. Paths of the units are taken below
ROOT; users and sandboxes are left out. A stopped service gets its signal once, then the time that its unit allows, then
SIGKILL.
"""

import contextlib
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

POLL_S = 0.05


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
        self.state_file = root / "run" / f"{name}.json"

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
        """Starts the service; it outlives this process."""
        if self.is_active():
            return
        self.credentials.mkdir(parents=True, exist_ok=True)
        for value in self.values("LoadCredential"):
            name, _, source = value.partition(":")
            shutil.copy(self._below_root(source), self.credentials / name)
        command = shlex.split(self.last("ExecStart"))
        command[0] = str(self._below_root(command[0]))
        with (self.root / "run" / f"{self.name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self._below_root(self.last("WorkingDirectory")),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._write({"pid": process.pid, "started": _started(process.pid), "result": "success"})

    def stop(self) -> None:
        """As systemd stops it."""
        if not self.is_active():
            return
        process_id = self.process_id
        assert process_id is not None
        os.kill(process_id, signal.Signals[self.last("KillSignal")])
        deadline = time.monotonic() + float(self.last("TimeoutStopSec"))
        while self.is_active():
            if time.monotonic() > deadline:
                self._write({**self._read(), "result": "timeout"})
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

    def result(self) -> str:
        """`success` or `timeout`."""
        return str(self._read().get("result", "success"))

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
            return dict(json.loads(self.state_file.read_text()))
        return {}

    def _write(self, state: dict[str, object]) -> None:
        self.state_file.write_text(json.dumps(state))


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
    (Path(root) / "run").mkdir(exist_ok=True)
    unit = Unit(Path(root), rest[-1])
    match verb:
        case "start":
            unit.start()
        case "stop":
            unit.stop()
        case "is-active":
            return 0 if unit.is_active() else 3
        case "show":
            print(unit.result())
        case "reset-failed":
            pass
        case _:
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
