"""`aitbc wallet` without a node: keys, passwords, exit codes, and what never touches the command line."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINTER
from wallet.cli import app

PASSWORD = "correct horse battery staple"
RunWallet = Callable[..., Any]


def _commands(command: Any) -> Iterator[Any]:
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from _commands(each)


def test_no_option_takes_a_secret() -> None:
    """Other users of a machine can see a command line: options name files, or say what is to be asked for."""
    commands = list(_commands(typer.main.get_command(app)))
    assert len(commands) > 30
    taking_a_value = {
        name
        for command in commands
        for parameter in command.params
        for name in parameter.opts
        if name.startswith("-") and not getattr(parameter, "is_flag", False)
    }
    secrets = {name for name in taking_a_value if re.search("pass|key|words|secret|mnemonic|seed|phrase", name)}
    # A file with the password, files of keys, and the number of words.
    assert secrets <= {"--password-file", "--keystore", "--words"} | {"--client-key", "--tls-key"}


@pytest.mark.parametrize(
    ("to", "amount", "hint"),
    [
        ("0x" + "00" * 20, "1", "nobody has a key"),
        (to_checksum_address(MINTER), "1", "nobody has a key"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", "1", "checksum"),
        ("0x1234", "1", "20 bytes"),
        ("carol", "1", "no account 'carol'"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "1e3", "number of AIT"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0.0000000000000000001", "18 decimals"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "NaN", "number of AIT"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "1" + "0" * 60, "amount"),
    ],
)
def test_send_refuses_bad_arguments_before_anything_else(run: RunWallet, to: str, amount: str, hint: str) -> None:
    ended = run("send", to, amount, "--node-url", "http://127.0.0.1:1")
    assert (ended.code, ended.stdout) == (2, "")
    assert hint in ended.stderr


def test_send_in_atoms_takes_whole_numbers(run: RunWallet) -> None:
    payee = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert run("send", payee, "1.5", "--atoms", "--node-url", "http://127.0.0.1:1").code == 2
    # A negative number is an unknown option to the command line, which is usage as well.
    assert run("send", payee, "-1", "--node-url", "http://127.0.0.1:1").code == 2
    assert run("send", payee, "--node-url", "http://127.0.0.1:1", "--", "-1").code == 2


def test_a_node_that_is_none(run: RunWallet, key: PrivateKey) -> None:
    address = to_checksum_address(key.address)
    for command in (["balance", address], ["history", address]):
        assert run(*command, "--node-url", "ftp://x").code == 2
        unreachable = run(*command, "--node-url", "http://127.0.0.1:1")
        assert (unreachable.code, unreachable.stdout) == (4, "")
        assert "127.0.0.1:1" in unreachable.stderr
        assert run(*command, AITBC_NODE_URL="http://127.0.0.1:1").code == 4
    for command in (["balance"], ["balance", "alice"], ["history"]):
        assert run(*command, "--node-url", "http://127.0.0.1:1").code == 1


def test_which_account_is_meant(run: RunWallet) -> None:
    send = ("send", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "1", "--node-url", "http://127.0.0.1:1")
    nobody = run(*send)
    assert nobody.code == 1
    assert "aitbc wallet new" in nobody.stderr
    made = run("new", "alice", "--light", "--json", AITBC_PASSWORD=PASSWORD).json
    assert run(*send).code == 4  # The only account there is.
    assert run(*send, "--from", made["address"]).code == 4
    assert run("new", "bob", "--light", AITBC_PASSWORD=PASSWORD).code == 0
    unclear = run(*send)
    assert unclear.code == 1
    assert "alice, bob" in unclear.stderr
    assert run(*send, "--from", "bob").code == 4
    assert run(*send, "--from", "carol").code == 1
    assert run(*send, "--from", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed").code == 1
    for command in (send[:3], ("show",), ("export", "--private-key"), ("remove", "--yes")):
        mistyped = ("--from", "0x12") if command[0] == "send" else ("0x12",)
        assert run(*command, *mistyped).code == 2


def test_debug_shows_where_and_keeps_the_exit_code(run: RunWallet) -> None:
    ended = run("balance", "alice", "--node-url", "http://127.0.0.1:1", AITBC_DEBUG="1")
    assert ended.code == 1
    assert "Traceback" in ended.stderr


def test_every_exit_code_is_in_the_help(run: RunWallet) -> None:
    shown = run("--help").stdout
    for code in (*range(11), 130):
        assert f"{code} " in shown


def test_starts_without_what_takes_long() -> None:
    unwanted = ("httpx", "fastapi", "torch", "eth_keyfile", "eth_account", "py_ecc")
    script = f"import sys, wallet.cli; print([name for name in {unwanted} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
