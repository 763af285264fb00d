"""What every test shares: how hypothesis runs, and which tests need something that a machine may lack."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

NODE_TOOLS = Path(__file__).parent / "contracts" / "node_modules" / ".bin"

# A deadline per example would judge the machine's load. In CI the examples are the same in every run, so that a change
# is never blamed for what a lucky draw found; elsewhere each run looks at new ones.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def _missing_node_tools() -> str | None:
    """Why tests that need Node.js cannot run here; None when they can."""
    if shutil.which("node") is None:
        return "Node.js is not installed"
    missing = [name for name in ("anvil", "solcjs") if not (NODE_TOOLS / name).exists()]
    return f"{' and '.join(missing)} not installed: make test-tools" if missing else None


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test marked `node` or `gpu` where the machine lacks it; CI demands Node.js with AITBC_REQUIRE_NODE=1."""
    if item.get_closest_marker("node") and (reason := _missing_node_tools()):
        if os.environ.get("AITBC_REQUIRE_NODE") == "1":
            pytest.fail(f"AITBC_REQUIRE_NODE=1, but {reason}")
        pytest.skip(reason)
    if item.get_closest_marker("gpu") and not _has_gpu():
        pytest.skip("no NVIDIA GPU")


@pytest.fixture(scope="session")
def node_tools() -> Path:
    """The folder with `anvil` and `solcjs`, for tests marked `node`."""
    return NODE_TOOLS
