"""A machine below a temporary folder: installed by install.sh, its releases made by release.sh, run by `supervisor`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from tests.deploy.supervisor import Unit, units

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
WAIT_S = 120.0


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_program(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, whatever that is."""
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, **options)


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

    def files(self) -> dict[str, Any]:
        """Every file and link with its content, to see that nothing has changed."""
        return {
            str(path.relative_to(self.root)): path.readlink() if path.is_symlink() else path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if (path.is_symlink() or path.is_file()) and "releases" not in path.relative_to(self.root).parts
        }


def start_healthy(service: ProviderService) -> None:
    """Starts a provider and waits until it takes jobs."""
    unit = service.machine.unit(service.unit)
    unit.start()

    def is_healthy() -> bool:
        assert unit.is_active(), service.machine.log_of(service.unit)
        return health_of(service.url).get("status") == "ok"

    until(is_healthy, "a healthy provider")


def health_of(url: str) -> dict[str, Any]:
    """What a provider says of itself; empty where nobody answers."""
    try:
        return dict(json.loads(httpx.get(f"{url}/v1/health", timeout=10).content))
    except (httpx.HTTPError, ValueError):
        return {}


class ProviderService:
    """The provider of a machine, as its unit runs it."""

    unit = "aitbc-provider.service"

    def __init__(self, machine: Machine, url: str, api_key: str) -> None:
        self.machine = machine
        self.url = url
        self.api_key = api_key
        self.data_dir = machine.root / "var/lib/aitbc-provider"

    @classmethod
    def prepare(cls, machine: Machine, port: int) -> ProviderService:
        """Key, API key and settings; and a chain that it knows already, so that it serves without a node."""
        folder = machine.root / "etc/aitbc/provider"
        made = run_program(
            *(machine.root / "opt/aitbc/provider/bin/aitbc", "provider", "init", "--json"),
            *("--data-dir", folder, "--env-file", folder / "init.env"),
            env=machine.environment,
        )
        assert made.returncode == 0, made.stderr
        machine.set(
            "provider.env",
            AITBC_PROVIDER_BIND_PORT=port,
            AITBC_PROVIDER_NODE_URL="http://127.0.0.1:9",  # Nobody listens there: the node is down.
            AITBC_PROVIDER_CPU_THREADS=1,
            AITBC_PROVIDER_RATE_LIMIT="10000/minute",
        )
        service = cls(machine, f"http://127.0.0.1:{port}", json.loads(made.stdout)["api_key"])
        with Database(service.data_dir) as database:
            identity = FolderIdentity(database)
            identity.bind("genesis_hash", "0x" + "17" * 32)
            identity.bind("chain_id", "424242")
        return service

    def order(self, **fields: Any) -> dict[str, Any]:
        """The body of a small, quick order."""
        quick = {"steps": 5, "width": 256, "height": 256, "guidance": 2.5}
        return {"api_key": self.api_key, "prompt": "a red circle on a blue background", **quick, **fields}
