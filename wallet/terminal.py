"""How the wallet talks: data on stdout, everything else on stderr, an exit code per kind of failure."""

import json
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperGroup

from chain.primitives.keys import SignerUnavailable
from chain.primitives.rejection import Rejected, RejectionReason
from wallet.keystore import WrongPasswordError
from wallet.known_networks import NetworkMismatchError

_DEBUG_VARIABLE: Final = "AITBC_DEBUG"
_LONGEST_ANSWER: Final = 4096  # What a terminal's line holds.


class ExitCode(IntEnum):
    """Documented in `EXIT_CODES`, which `--help` shows."""

    FAILED = 1
    USAGE = 2
    WRONG_PASSWORD = 3
    NODE_UNAVAILABLE = 4
    REFUSED = 5
    NOT_FINAL = 6
    TRANSACTION_FAILED = 7
    NOT_VERIFIED = 8
    NOT_CONFIRMED = 9
    WRONG_NETWORK = 10


# \b keeps the lines that follow it as they are.
EXIT_CODES: Final = """\b
Exit codes:
  0  done                          6  not final (yet, or in time)
  1  failed (account, file, …)     7  final, but the transaction failed
  2  wrong usage                   8  a check failed
  3  wrong password                9  not confirmed
  4  no usable answer from a node  10 another network is meant
  5  refused, or too little AIT    130 interrupted
"""


class CommandError(Exception):
    """Ends the command with one line on stderr and this exit code."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


class WalletGroup(TyperGroup):
    """Turns what commands raise into one line and an exit code; what no command should raise passes through."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that the command line names."""
        _open_missing_streams()
        try:
            return super().invoke(ctx)
        except (CommandError, NetworkMismatchError, Rejected, SignerUnavailable, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            if os.environ.get(_DEBUG_VARIABLE):
                traceback.print_exc()
            say(f"aitbc: {error}")
            raise typer.Exit(_exit_code(error)) from None


def _open_missing_streams() -> None:
    """Stands in for stdin, stdout and stderr where whoever started us closed them, as some services do.

    Otherwise what is for the person would go to stdout, and a keystore could become file descriptor 2.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - as long as the process lives


def _exit_code(error: Exception) -> int:
    if isinstance(error, CommandError):
        return error.code
    if isinstance(error, NetworkMismatchError):
        return ExitCode.WRONG_NETWORK
    if isinstance(error, Rejected) and error.reason is RejectionReason.INSUFFICIENT_FUNDS:
        return ExitCode.REFUSED
    return ExitCode.WRONG_PASSWORD if isinstance(error, WrongPasswordError) else ExitCode.FAILED


def plain(text: str) -> str:
    """Without what could steer a terminal: some of what is shown comes from nodes and files of others."""
    return "".join(character if character.isprintable() else "?" for character in text)


def escaped(text: str) -> str:
    """The same with an escape for each such character: nothing of what is signed is left out or invisible."""
    return "".join(
        character if character.isprintable() and character != "\\" else character.encode("unicode_escape").decode()
        for character in text
    )


def say(text: str) -> None:
    """A line for the person, on stderr."""
    print(plain(text), file=sys.stderr)


def emit(as_json: bool, document: Mapping[str, object], lines: Iterable[str]) -> None:
    """The command's result on stdout: one JSON object, or lines for people."""
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        for line in lines:
            print(plain(line))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned lines; all have equally many cells."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def confirm(
    lines: Sequence[tuple[str, str]],
    *,
    yes: bool,
    heading: str = "This will be signed:",
    question: str = "Sign and send it?",
    otherwise: str = "nothing was signed",
) -> None:
    """Shows what will be done and asks; raises CommandError (not confirmed). `yes` shows it without asking.

    `otherwise` is what a person is told who does not confirm it.
    """
    say(heading)
    for line in columns(lines):
        say(f"  {line}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"nobody is there to confirm it: add --yes; {otherwise}", ExitCode.NOT_CONFIRMED)
    if ask(f"{question} [y/N] ").lower() not in ("y", "yes"):
        raise CommandError(f"not confirmed; {otherwise}", ExitCode.NOT_CONFIRMED)


def ask(prompt: str) -> str:
    """One line that a person types, without the spaces around it; the prompt is on stderr."""
    print(prompt, end="", file=sys.stderr, flush=True)
    try:
        return sys.stdin.readline(_LONGEST_ANSWER).strip()
    except UnicodeDecodeError:  # No question has such an answer.
        return ""


class Progress:
    """One line on stderr that rewrites itself; nothing at all where stderr is not a terminal."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = False

    def show(self, waited_s: float, state: str) -> None:
        """The state after so many seconds."""
        if sys.stderr.isatty():
            self._shown = True
            print(f"\r\x1b[K{self._what}: {plain(state[:60])}, {waited_s:.0f} s", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leaves an empty line to write on."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
