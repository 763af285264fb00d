"""Passwords and keys that are no text: a terminal, an environment and a pipe may hold any bytes."""

from collections.abc import Callable
from typing import Any

import pytest

from chain.primitives.keys import PrivateKey

RunWallet = Callable[..., Any]
NO_TEXT = "\udcff\udcfe"  # How Python gives bytes that are not UTF-8.


def test_an_environment_that_holds_no_text(run: RunWallet, people: dict[str, PrivateKey]) -> None:
    for command in (["export", "alice", "--private-key", "--yes"], ["new", "carol", "--light"]):
        refused = run(*command, AITBC_PASSWORD=NO_TEXT)
        assert (refused.code, refused.stdout) == (1, "")
        assert "the password is not UTF-8 text" in refused.stderr


@pytest.mark.parametrize("command", [["import", "carol"], ["import", "carol", "--words"], ["derive"]])
def test_a_pipe_that_holds_no_text(run: RunWallet, command: list[str]) -> None:
    refused = run(*command, stdin=b"\xff\xfe", AITBC_PASSWORD="secret")
    assert (refused.code, refused.stdout) == (1, "")
    assert "not UTF-8 text" in refused.stderr


def test_a_person_who_types_no_text(run_at_terminal: RunWallet, people: dict[str, PrivateKey]) -> None:
    asked = [("Password for the account alice: ", NO_TEXT)]
    refused = run_at_terminal("export", "alice", "--private-key", "--yes", answers=asked)
    assert (refused.code, refused.stdout) == (1, "")
    assert "what was typed is not UTF-8 text" in refused.stderr
    refused = run_at_terminal("export", "alice", "--private-key", answers=[("[y/N] ", NO_TEXT)])
    assert (refused.code, refused.stdout) == (9, "")
