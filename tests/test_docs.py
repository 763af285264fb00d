"""What the documents point at is there: files, make targets, commands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "provider" / "README.md"])
PACKAGES = ("chain", "provider", "wallet", "hub", "genesis", "tests", "docs")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_is_named_exists(document: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(PACKAGES)})/[\w./-]+\.(?:py|md|sol|toml))`", document.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(), re.MULTILINE))
    assert named <= targets


def test_the_readme_names_where_things_are() -> None:
    table = re.findall(r"\| `([^`]+)` \| `([^`]+)` \|", (ROOT / "README.md").read_text())
    assert len(table) >= 10
    assert [path for row in table for path in row if not (ROOT / path).exists()] == []
