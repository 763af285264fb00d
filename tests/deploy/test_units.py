"""The units of deploy/systemd: understood by systemd, closed as far as the services bear, and true to the settings."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from hub.settings import HubSettings
from provider.settings import ProviderSettings
from tests.deploy.machine import DEPLOY, Machine, run_program
from tests.deploy.supervisor import Unit

SERVICES = ("aitbc-node@main.service", "aitbc-hub.service", "aitbc-provider.service")
GPU = "aitbc-gpu.service"
MOST_EXPOSURE = {"aitbc-node@.service": 15, "aitbc-hub.service": 15, "aitbc-provider.service": 20}
"""Tenths, as systemd-analyze counts; 100 is a service without any restriction."""


@pytest.fixture
def installed(tmp_path: Path) -> Machine:
    """All three services, without a release."""
    machine = Machine(tmp_path)
    done = machine.run("install.sh", "--for", "node,hub,provider", "--no-release")
    assert done.returncode == 0, done.stderr
    return machine


@pytest.mark.programs("systemd-analyze")
def test_systemd_understands_every_line(installed: Machine) -> None:
    """Commands must exist to be verified: the units' own stand below the test's folder."""
    folder = installed.root / "etc/systemd/system"
    for role in ("node", "hub", "provider"):
        program = installed.root / "opt/aitbc" / role / "bin/aitbc"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    programs = installed.root / "usr/bin"
    programs.mkdir(parents=True)
    (programs / "nvidia-modprobe").symlink_to("/bin/true")
    for unit in folder.iterdir():
        text = unit.read_text().replace("/opt/aitbc", f"{installed.root}/opt/aitbc")
        unit.write_text(text.replace("/usr/bin/nvidia", f"{programs}/nvidia"))
    done = run_program("systemd-analyze", "verify", "--man=no", *(folder / name for name in (*SERVICES, GPU)))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_the_gpu_has_its_devices_before_the_provider_is_confined(installed: Machine) -> None:
    """systemd translates DeviceAllow=char-nvidia* by the drivers that are loaded at its start.

    Afterwards nothing in the service makes a device, not even `ExecStartPre=+`: DevicePolicy holds for the whole
    control group (systemd.service(5)).
    """
    provider, gpu = installed.unit("aitbc-provider.service"), installed.unit(GPU)
    assert provider.values("ExecStartPre") == []
    assert GPU in provider.last("Wants").split()
    assert GPU in provider.last("After").split()
    assert gpu.last("Type") == "oneshot", "only such a unit has ended before those that come after it begin"
    assert gpu.values("ExecStart")[0].startswith("/usr/bin/nvidia-modprobe -u")
    for restriction in ("DevicePolicy", "DeviceAllow", "PrivateDevices", "User", "CapabilityBoundingSet"):
        assert gpu.values(restriction) == []
    # Every start of the provider asks again: a driver may have been loaded anew.
    assert gpu.values("RemainAfterExit") == []


def test_no_other_machine_gets_the_gpus_unit(tmp_path: Path) -> None:
    assert Machine(tmp_path).run("install.sh", "--for", "node,hub", "--no-release").returncode == 0
    assert not (tmp_path / "etc/systemd/system" / GPU).exists()


@pytest.mark.programs("systemd-analyze")
@pytest.mark.parametrize(("unit", "most"), MOST_EXPOSURE.items())
def test_little_is_exposed(unit: str, most: int) -> None:
    done = run_program(
        *("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={most}"),
        DEPLOY / "systemd" / unit,
    )
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.programs("systemd-sysusers", "systemd-tmpfiles")
def test_users_and_folders(installed: Machine) -> None:
    root = installed.root
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    users = run_program("systemd-sysusers", f"--root={root}", DEPLOY / "systemd/aitbc.sysusers")
    assert users.returncode == 0, users.stderr
    named = {line.partition(":")[0] for line in (root / "etc/passwd").read_text().splitlines()}
    assert named == {"root", "aitbc-node", "aitbc-hub", "aitbc-provider"}
    for name in SERVICES:
        assert installed.unit(name).last("User") in named
    folders = run_program("systemd-tmpfiles", f"--root={root}", "--create", DEPLOY / "systemd/aitbc.tmpfiles")
    assert "syntax" not in folders.stderr.lower()
    assert "unknown" not in folders.stderr.lower()
    for folder in ("etc/aitbc/provider", "opt/aitbc/releases", "var/lib/aitbc-node", "var/lib/aitbc-update"):
        assert (root / folder).is_dir()


def test_a_service_has_the_time_to_finish_what_it_accepted(installed: Machine) -> None:
    provider = sum(ProviderSettings.model_fields[name].default for name in ("drain_timeout_s", "drain_hubs_timeout_s"))
    hub = HubSettings.model_fields["shutdown_grace_s"].default
    assert "aitbc-hub.service" in installed.unit("aitbc-provider.service").last("After").split()
    assert float(installed.unit("aitbc-provider.service").last("TimeoutStopSec")) >= provider + 30
    assert float(installed.unit("aitbc-hub.service").last("TimeoutStopSec")) >= hub + 30
    for name in SERVICES:
        unit = installed.unit(name)
        assert (unit.last("KillSignal"), unit.last("KillMode")) == ("SIGTERM", "mixed")


def test_every_variable_is_a_setting(installed: Machine) -> None:
    known = {f"AITBC_PROVIDER_{name.upper()}" for name in ProviderSettings.model_fields}
    known |= {f"AITBC_HUB_{name.upper()}" for name in HubSettings.model_fields}
    known |= set(re.findall(r'envvar="(AITBC_\w+)"', _sources("chain/node")))
    for name in SERVICES:
        unit = installed.unit(name)
        assert {variable for variable in _environment(unit) if variable.startswith("AITBC_")} <= known
    for file in (DEPLOY / "settings").iterdir():
        assert set(re.findall(r"^#?(AITBC_\w+)=", file.read_text(), re.MULTILINE)) <= known
        assert len(set(re.findall(r"^#?(AITBC_\w+)=", file.read_text(), re.MULTILINE))) >= 4


def test_no_secret_is_an_argument_or_a_variable(installed: Machine) -> None:
    for name in SERVICES:
        unit = installed.unit(name)
        assert re.fullmatch(r"/opt/aitbc/\w+/bin/aitbc \w+ run( --wait)?", unit.last("ExecStart"))
        for variable, value in _environment(unit).items():
            if re.search("PASSWORD|KEYSTORE|KEYS_FILE|CLIENTS", variable):
                assert value.startswith(str(unit.credentials)), variable
        sources = [value.partition(":")[2] for value in unit.values("LoadCredential")]
        assert all(source.startswith("/etc/aitbc/") for source in sources)


def _environment(unit: Unit) -> dict[str, str]:
    """Of the unit's own lines."""
    words = [word for value in unit.values("Environment") for word in value.split()]
    return dict(word.split("=", 1) for word in words)


def _sources(folder: str) -> str:
    return "".join(path.read_text() for path in (DEPLOY.parent / folder).rglob("*.py"))


@pytest.mark.programs("systemd-analyze")
def test_a_misspelt_line_would_be_noticed(installed: Machine) -> None:
    unit = installed.root / "etc/systemd/system/aitbc-hub.service"
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHomes=yes").replace("/opt/aitbc", "/nowhere"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert "ProtectHomes" in done.stderr
