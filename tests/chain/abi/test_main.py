"""The ABI files are those of this version, and they are in the package."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from chain.primitives.contract_abi import CONTRACTS, contract_abi


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_file_is_what_the_declarations_say(name: str) -> None:
    text = resources.files("chain.abi").joinpath(f"{name}.json").read_text(encoding="utf-8")
    assert json.loads(text) == contract_abi(name), "run `make abi`"


def test_there_is_no_file_without_a_module() -> None:
    files = {entry.name for entry in resources.files("chain.abi").iterdir() if entry.name.endswith(".json")}
    assert files == {f"{name}.json" for name in CONTRACTS}


def test_make_abi_writes_them_byte_for_byte(tmp_path: Path) -> None:
    present = Path(str(resources.files("chain.abi")))
    shutil.copy(present / "__main__.py", tmp_path / "__main__.py")
    subprocess.run([sys.executable, str(tmp_path / "__main__.py")], check=True, timeout=60, cwd=present.parents[1])
    for name in CONTRACTS:
        assert (tmp_path / f"{name}.json").read_bytes() == (present / f"{name}.json").read_bytes()
