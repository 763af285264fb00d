"""The folders of tests that use Node.js say exactly which packages they mean, and name no registry."""

import json
import re
from pathlib import Path

import pytest

FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("*/package.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_versions_are_exact_and_locked(folder: Path) -> None:
    named = json.loads((folder / "package.json").read_text())["dependencies"]
    lock = (folder / "package-lock.json").read_text()
    locked = json.loads(lock)["packages"]
    assert locked[""]["dependencies"] == named
    for name, version in named.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all(entry["integrity"].startswith("sha512-") for path, entry in locked.items() if path)
    assert "://registry" not in lock
    assert '"resolved"' not in lock
