"""How the wallet talks: data on stdout, everything else on stderr, an exit code per kind of failure."""

import json
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

import typer
from typer.core import TyperGroup

from chain.primitives.rejection import Rejected, RejectionReason
from wallet.keystore import WrongPasswordError
from wallet.known_networks import NetworkMismatchError

_DEBUG_VARIABLE: Final = "AITBC_DEBUG"


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
  0  done                          6  sent, but not final in time
  1  failed (account, file, …)     7  final, but the transaction failed
  2  wrong usage                   8  a check of the receipt failed
  3  wrong password                9  not confirmed
  4  no usable answer from a node  10 the node serves another network
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
        try:
            return super().invoke(ctx)
        except (CommandError, NetworkMismatchError, Rejected, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            if os.environ.get(_DEBUG_VARIABLE):
                traceback.print_exc()
            say(f"aitbc: {error}")
            raise typer.Exit(_exit_code(error)) from None


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


def confirm(lines: Sequence[tuple[str, str]], *, yes: bool) -> None:
    """Shows what will be signed and asks; raises CommandError (not confirmed). `yes` shows it without asking."""
    say("This will be signed:")
    for line in columns(lines):
        say(f"  {line}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("nobody is there to confirm it: add --yes. Nothing was signed", ExitCode.NOT_CONFIRMED)
    print("Sign and send it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("not confirmed; nothing was signed", ExitCode.NOT_CONFIRMED)


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
