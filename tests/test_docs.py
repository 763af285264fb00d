"""What the documents point at is there: files, make targets, commands and their options."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from genesis.cli import GROUPS, load_group

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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_exists(document: Path) -> None:
    """And has the options that it is given; what stands for something else is in capitals or ends in `…`."""
    wrong = [line for line in _command_lines(document.read_text()) if not _exists(shlex.split(line, comments=True))]
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "exists"),
    [
        ("aitbc node status --url http://127.0.0.1:1 > status", True),
        ("aitbc wallet market sell AIT/DUSD 5 0.25 --kind post-only", True),
        ("aitbc node governance propose issuer|market", True),
        ("aitbc wallet market …", True),
        ("aitbc nodes status", False),
        ("aitbc node governance propose issuer|markets", False),
        ("aitbc wallet market hold", False),
        ("aitbc node status --uri http://127.0.0.1:1", False),
    ],
)
def test_commands_are_told_from_what_is_none(line: str, exists: bool) -> None:
    assert _exists(shlex.split(line, comments=True)) is exists


def _command_lines(text: str) -> Iterator[str]:
    """What begins with `aitbc`, in code blocks (after a prompt or sudo) and between backticks."""
    blocks = re.findall(r"^```(?:sh|console|)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        for line in block.replace("\\\n", " ").split("\n"):
            if found := re.match(r"(?:\w* ?[$#] +|[a-z]+ \$ |sudo (?:-u \S+ )?)*(?:\S*/)?(aitbc .*)", line):
                yield found[1]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (re.sub(r"\s+", " ", found) for found in re.findall(r"`(aitbc [^`]+)`", prose))


def _exists(words: list[str]) -> bool:
    """Whether the command tree has it; a word may name several commands, `a|b`."""
    command = takewhile(lambda word: word not in (">", "|", "&&"), words[1:])
    return _leads_somewhere(_tree(), list(command))


def _leads_somewhere(command: Any, words: list[str]) -> bool:
    if command is None or not words or words[0].endswith("…"):
        return command is not None
    if words[0].startswith("--debug") or words[0] == "--install-completion":
        return _leads_somewhere(command, words[1:])
    commands = command if isinstance(command, dict) else getattr(command, "commands", None)
    if commands is not None and not words[0].startswith("-"):
        return all(_leads_somewhere(commands.get(name), words[1:]) for name in words[0].split("|"))
    known = {name for each in getattr(command, "params", ()) for name in (*each.opts, *each.secondary_opts)} | {
        "--help"
    }
    return {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z0-9-]*(=.*)?", word)} <= known


@cache
def _tree() -> dict[str, Any]:
    return {group.name: load_group(group) for group in GROUPS}
