"""Machines with services installed by deploy/'s own scripts."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.deploy.machine import Machine
from tests.deploy.services import ProviderService
from tests.provider.conftest import provider_key, start_provider

__all__ = ["machine", "provider", "provider_key", "start_provider"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One on which install.sh has put all three services, with a release made from this checkout."""
    machine = Machine(tmp_path_factory.mktemp("machine"))
    done = machine.run(
        "install.sh", "--for", "provider,node,hub", "--name", "one", "--python", sys.executable, "--node-name", "main"
    )
    assert done.returncode == 0, done.stderr
    for unit in (machine.root / "etc/systemd/system").glob("aitbc-*.service"):
        # What dies is started again five times sooner: nobody has to wait for a release that never will work.
        unit.write_text(unit.read_text().replace("RestartSec=5\n", "RestartSec=1\n"))
    yield machine
    machine.stop_everything()


@pytest.fixture(scope="module")
def provider(machine: Machine) -> ProviderService:
    """A provider on that machine, made by `aitbc provider init`, running and healthy."""
    service = ProviderService.prepare(machine)
    service.start()
    return service
