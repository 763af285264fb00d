"""A machine below a temporary folder: installed by install.sh, its releases made by release.sh, run by `supervisor`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.deploy.supervisor import Unit, units

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
WAIT_S = 300.0


def run_program(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, whatever that is; pytest bounds how long a test may take."""
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def until(condition: Callable[[], Any], what: str, seconds: float = WAIT_S) -> Any:
    """Waits until it holds and returns what it gave; a busy machine may need long."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.1)


class Machine:
    """Where scripts of deploy/ are run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        supervisor = Path(__file__).parent / "supervisor.py"
        installed = sysconfig.get_paths()["purelib"]
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "AITBC_ROOT": str(root),
            "AITBC_SYSTEMCTL": f"{sys.executable} {supervisor} {root}",
            "AITBC_PYTHON": sys.executable,
            # A release has its own aitbc and shares everything else with the tests: torch again would take minutes.
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads a no as what comes after NO_: builds are not isolated.
            "PIP_NO_INDEX": "1",
            "PYTHONPATH": installed,
            "OMP_NUM_THREADS": "1",
        }

    def set(self, settings_file: str, **settings: str | int) -> None:
        """Appends to a service's settings in etc/aitbc."""
        path = self.root / "etc/aitbc" / settings_file
        lines = {"PYTHONPATH": self.environment["PYTHONPATH"], "OMP_NUM_THREADS": 1, **settings}
        path.write_text(path.read_text() + "".join(f"{name}={value}\n" for name, value in lines.items()))

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a script of deploy/ to its end."""
        return run_program(DEPLOY / script, *arguments, env=self.environment | environment, cwd=self.root)

    def unit(self, name: str) -> Unit:
        """An installed service."""
        return Unit(self.root, name)

    def stop_everything(self) -> None:
        """Ends all services."""
        for unit in units(self.root):
            unit.stop()

    def log_of(self, name: str) -> str:
        """What a service has written."""
        return (self.root / "run" / f"{name}.log").read_text()

    def runs(self, role: str) -> str:
        """The release that a role's link names."""
        return str((self.root / "opt/aitbc" / role).readlink()).removeprefix("releases/")

    def copy_release(self, name: str, new_name: str) -> Path:
        """The same release under another name; pip has written the folder's path into its programs."""
        releases = self.root / "opt/aitbc/releases"
        shutil.copytree(releases / name, releases / new_name, symlinks=True)
        for program in (releases / new_name / "bin").iterdir():
            if not program.is_symlink() and program.read_bytes().startswith(b"#!"):
                program.write_text(program.read_text().replace(f"/releases/{name}/", f"/releases/{new_name}/"))
        return releases / new_name

    def wrap_release(self, name: str, *lines: str) -> Path:
        """A copy of release `one` whose services do as these lines of shell say before they start; its path."""
        release = self.copy_release("one", name)
        program = release / "bin/aitbc"
        program.rename(release / "bin/aitbc-real")
        start = 'case "$*" in *--help*) exec "$0-real" "$@" ;; esac'
        program.write_text("\n".join(["#!/bin/sh", start, *lines, 'exec "$0-real" "$@"', ""]))
        program.chmod(0o755)
        return release

    def files(self) -> dict[str, Any]:
        """Every file and link with its content, to see that nothing has changed."""
        return {
            str(path.relative_to(self.root)): path.readlink() if path.is_symlink() else path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if (path.is_symlink() or path.is_file()) and "releases" not in path.relative_to(self.root).parts
        }
