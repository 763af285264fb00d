"""What the tests of contracts share: what solc makes of the sources, and an EVM chain."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.anvil import Evm, compile_contracts, running_anvil


@pytest.fixture(scope="session")
def compiled(node_tools: Path) -> dict[str, Any]:
    """Contract name → solc's output for it."""
    return compile_contracts(node_tools)


@pytest.fixture(scope="module")
def evm(node_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evm]:
    """A fresh EVM chain for a module's tests."""
    with running_anvil(node_tools, tmp_path_factory.mktemp("anvil") / "log") as chain:
        yield chain
