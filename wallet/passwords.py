"""Where a keystore's password comes from: a file, the environment, or a prompt on stderr. Never the command line."""

import getpass
import os
import sys
from pathlib import Path
from typing import Final

from wallet.keystore import MAX_PASSWORD_BYTES, KeystoreError

PASSWORD_VARIABLE: Final = "AITBC_PASSWORD"


def read_password(password_file: Path | None, *, purpose: str, is_new: bool = False) -> str:
    """The password from the file, else from AITBC_PASSWORD, else asked for (twice where it is new).

    Raises KeystoreError where none can be had: no terminal, an unreadable or empty file, two different answers.
    """
    if password_file is not None:
        return read_password_file(password_file)
    from_environment = os.environ.get(PASSWORD_VARIABLE)
    if from_environment:
        return from_environment
    if not has_terminal():
        raise KeystoreError(
            f"no password for {purpose}: there is no terminal to ask on. Use --password-file or {PASSWORD_VARIABLE}"
        )
    password = ask_hidden(f"Password for {purpose}: ")
    if not password:
        raise KeystoreError("an empty password protects nothing")
    if is_new and ask_hidden("The same password again: ") != password:
        raise KeystoreError("the two passwords differ; nothing was written")
    return password


def read_password_file(path: Path | str) -> str:
    """The file's content without one line end at its end; raises KeystoreError."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PASSWORD_BYTES + 3)
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise KeystoreError(f"cannot read the password file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise KeystoreError(f"the password file {path} is not UTF-8 text") from None
    if not password or len(password.encode()) > MAX_PASSWORD_BYTES:
        raise KeystoreError(f"the password file {path} must hold 1 to {MAX_PASSWORD_BYTES} bytes")
    return password


def read_secret(prompt: str, *, longest: int) -> str:
    """A key or words, from a hidden prompt or, where stdin is no terminal, from all of stdin; without space around it.

    Never from the command line, which others see. What is longer than `longest` is cut off one character later.
    """
    if is_person_asked():
        return ask_hidden(prompt)[: longest + 1].strip()
    try:
        return sys.stdin.read(longest + 1).strip()
    except UnicodeDecodeError:
        raise KeystoreError("what stands on stdin is not UTF-8 text") from None


def ask_hidden(prompt: str) -> str:
    """What a person types without seeing it; the prompt is on stderr."""
    try:
        return getpass.getpass(prompt, stream=sys.stderr)
    except UnicodeDecodeError:
        raise KeystoreError("what was typed is not UTF-8 text") from None


def is_person_asked() -> bool:
    """Whether a secret is asked for at a terminal, not read from stdin."""
    return sys.stdin.isatty() and has_terminal()


def has_terminal() -> bool:
    """Whether a person can be asked, even where stdin is a pipe: getpass opens the terminal itself."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin.isatty()
    return True
