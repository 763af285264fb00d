"""What every test shares: how hypothesis runs, and which tests need something that a machine may lack."""

import gc
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

TESTS = Path(__file__).parent
PROGRAM_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""With what an administrator's PATH has besides: nginx, ufw."""

# Each httpx.get, and each client that is made, would read all of a machine's authorities from one file, in 30 ms, and a
# test that asks until something is so would burn a core. A folder is only looked into where TLS needs one of them.
os.environ.pop("SSL_CERT_FILE", None)
os.environ.setdefault("SSL_CERT_DIR", "/etc/ssl/certs")

# The files that take longest, in this order: a long one at the end would leave the other core with nothing to do. The
# rest follow as they were found.
LONGEST_FILES = (
    "provider/test_process.py",
    "deploy/test_update.py",
    "genesis/test_devnet.py",
    "deploy/test_update_chain.py",
    "hub/bad_days/test_killed_hub.py",
    "processes/test_damage.py",
    "provider/engine/backends/test_ray.py",
    "simulation/test_seeds.py",
    "provider/http/test_schema_fuzzing.py",
    "hub/bad_days/test_two_processes.py",
    "browser/test_metamask.py",
    "provider/commands/test_run_on_ray.py",
    "provider/commands/test_drain.py",
    "provider/jobs/test_service.py",
    "processes/test_remote_signer.py",
    "hub/http/test_jobs.py",
    "hub/jobs/test_checks.py",
    "chain/node/test_cli.py",
    "provider/hub_link/test_real_model.py",
    "hub/verification/test_cheats.py",
    "processes/test_chaos.py",
    "genesis/test_nodes.py",
    "browser/test_hub_page.py",
    "processes/test_malicious_node.py",
    "hub/test_cli.py",
    "chain/node/peers/test_flooded_peer.py",
    "browser/test_exchange_trouble.py",
    "contracts/test_swap_commands.py",
    "browser/test_browser.py",
    "browser/test_exchange.py",
    "chain/node/governance/test_governance_cli.py",
    "hub/bad_days/test_chain_away.py",
    "hub/bad_days/test_bad_providers.py",
    "provider/engine/backends/test_local.py",
    "chain/node/test_network.py",
    "hub/scheduling/test_fleets.py",
)

# A deadline per example would judge the machine's load. In CI the examples are the same in every run, so that a change
# is never blamed for what a lucky draw found; elsewhere each run looks at new ones.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A command that runs in this process logs to its own test's standard error, which is closed after it."""
    root, configuration = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configuration)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; within a file nothing changes."""
    place = {TESTS / name: position for position, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What all modules bring stays: to look through it for garbage takes seconds here, and again in the tests."""
    gc.disable()
    yield
    gc.collect()
    gc.freeze()
    gc.enable()


def _missing_node_packages(folder: Path) -> str | None:
    """Why tests that need the Node.js packages of a folder cannot run here; None when they can."""
    if shutil.which("node") is None:
        return "Node.js is not installed"
    named = json.loads((folder / "package.json").read_text())["dependencies"]
    missing = [name for name in named if not (folder / "node_modules" / name).exists()]
    return (
        f"{', '.join(missing)} not installed in {folder.relative_to(TESTS.parent)}: make test-tools"
        if missing
        else None
    )


def _what_is_missing(item: pytest.Item) -> str | None:
    """What a test marked `node`, `chromium` or `programs` lacks on this machine."""
    if marker := item.get_closest_marker("node"):
        folders = [TESTS / name for name in marker.args] or [item.path.parent]
        for reason in map(_missing_node_packages, folders):
            if reason:
                return reason
    if item.get_closest_marker("chromium") and shutil.which("chromium") is None:
        return "Chromium is not installed"
    if marker := item.get_closest_marker("programs"):
        missing = [name for name in marker.args if shutil.which(name, path=PROGRAM_PATH) is None]
        if missing:
            return f"{', '.join(missing)} not installed"
    if item.get_closest_marker("postgresql"):
        from tests.hub.postgresql import server_folder

        if server_folder() is None:
            return "PostgreSQL's server is not installed"
    return None


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose marker names what the machine lacks; CI demands all but the GPU with AITBC_REQUIRE_NODE=1."""
    if reason := _what_is_missing(item):
        if os.environ.get("AITBC_REQUIRE_NODE") == "1":
            pytest.fail(f"AITBC_REQUIRE_NODE=1, but {reason}")
        pytest.skip(reason)
    if item.get_closest_marker("gpu") and not _has_gpu():
        pytest.skip("no NVIDIA GPU")


@pytest.fixture(scope="session")
def node_tools() -> Path:
    """The folder with `anvil` and `solcjs`, for tests marked `node("contracts")`."""
    return TESTS / "contracts" / "node_modules" / ".bin"


@pytest.fixture(scope="session")
def cast() -> Path:
    """Foundry's `cast`, for tests marked `node("clients")`: the program itself, as npm's launcher loses exit codes."""
    (binary,) = (TESTS / "clients" / "node_modules" / "@foundry-rs").glob("cast-*/bin/cast*")
    return binary
