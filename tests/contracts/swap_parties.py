"""Two people with a wallet each, between a real validator and an EVM chain, whose requests can be cut off anywhere."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.main import get_command

from chain.primitives.abi import Function
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import HTLC, TOKEN_BALANCE_OF
from chain.primitives.types import ZERO_ADDRESS, Address
from tests.contracts.anvil import Evm
from tests.contracts.faulty_proxy import Choose, Fault, FaultyProxy, is_sending
from tests.wallet.running_node import RunningNode
from wallet.cli import app
from wallet.keystore import LIGHT_SCRYPT_N, save_key

PASSWORD = "correct horse battery staple"
ETHER = 10**18
TRANSFER = Function("transfer(address to, uint256 value)")
SET_CALLED = Function("setCalled(address target)")
REFUSED, USAGE, NOT_CONFIRMED = 5, 2, 9
_WALLET = get_command(app)
_HEX = re.compile(r"0x((?:[0-9a-f]{2})+)")


class Network(msgspec.Struct, frozen=True):
    """Both chains, what is deployed on the other one, and a proxy in front of each."""

    node: RunningNode
    evm: Evm
    contract: Address
    token: Address
    node_proxy: FaultyProxy
    evm_proxy: FaultyProxy

    def ait(self, who: Party) -> int:
        """Atoms."""
        return self.node.balance(who.key.address)

    def locked_ait(self) -> int:
        """Atoms in all swaps."""
        return self.node.balance(HTLC)

    def ether(self, owner: Address) -> int:
        """Wei."""
        return int(self.evm.call("eth_getBalance", to_hex(owner), "latest"), 16)

    def tokens(self, owner: Address) -> int:
        """The token's smallest units."""
        units: int = self.evm.view(self.token, TOKEN_BALANCE_OF, owner)
        return units

    def pause_token(self, *, is_paused: bool) -> None:
        """A paused one refuses every transfer."""
        somebody = PrivateKey(b"\x71" * 32)
        called = somebody.address if is_paused else ZERO_ADDRESS
        assert self.evm.send(somebody, self.token, SET_CALLED.encode(called))["status"] == "0x1"

    def fail_with(self, choose: Choose, victim: int | None = None) -> None:
        """What becomes of the wallet's requests from now on."""
        for proxy in (self.node_proxy, self.evm_proxy):
            proxy.choose, proxy.victim = choose, victim


class Ended(msgspec.Struct, frozen=True):
    """A command that is over."""

    exit_code: int
    stdout: str
    stderr: str


class Party:
    """Somebody with a wallet, ether for fees, and what `fund` gives."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.key = PrivateKey.generate()
        self.address = to_checksum_address(self.key.address)
        self.home = folder / self.address[2:8]
        save_key(self.home / "keys" / "me.json", self.key, PASSWORD, scrypt_n=LIGHT_SCRYPT_N)
        network.evm.call("anvil_setBalance", self.address, hex(10 * ETHER))

    def fund(self, *, ait: int = 0, tokens: int = 0) -> Party:
        """Mints atoms, and sends tokens of the deployer's."""
        if ait:
            self.network.node.fund(self.key, ait)
        if tokens:
            evm = self.network.evm
            call = {
                "from": evm.call("eth_accounts")[0],
                "to": to_hex(self.network.token),
                "data": to_hex(TRANSFER.encode(self.key.address, tokens)),
            }
            assert evm.mined(evm.call("eth_sendTransaction", call))["status"] == "0x1"
        return self

    @property
    def environment(self) -> dict[str, str]:
        """Of the wallet's commands."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
        return clean | {
            "AITBC_HOME": str(self.home),
            "AITBC_NODE_URL": self.network.node_proxy.url,
            "AITBC_OTHER_RPC": self.network.evm_proxy.url,
            "AITBC_PASSWORD": PASSWORD,
        }

    def words(self, command: str, *arguments: str | Path, is_agreed: bool = True) -> list[str]:
        """A command line; margins are short, as nobody here has hours."""
        signing = [] if command == "show" or not is_agreed else ["--yes"]
        quick = [] if "--margin-s" in arguments else ["--margin-s", "1"]
        return ["swap", command, *map(str, arguments), *quick, "--confirmations", "1", "--json", *signing]

    def swap(self, command: str, *arguments: str | Path, is_agreed: bool = True) -> Ended:
        """Runs a command in this process; where it is not agreed to, nobody is there to confirm it."""
        saved, out, err = dict(os.environ), io.StringIO(), io.StringIO()
        os.environ.clear()
        os.environ.update(self.environment)
        try:
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
                _WALLET.main(self.words(command, *arguments, is_agreed=is_agreed), prog_name="aitbc wallet")
        finally:
            os.environ.clear()
            os.environ.update(saved)
        return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def does(self, command: str, *arguments: str | Path) -> Any:
        """The same; it must succeed."""
        ended = self.swap(command, *arguments)
        assert ended.exit_code == 0, ended.stderr
        return json.loads(ended.stdout)

    def claims_in_secret(self, file: Path) -> Any:
        """Claims; nobody, not even a node, sees the maker's secret before the wallet has written down that it is shown.

        Declined at first, so that nothing at all is shown for a claim that is not made.
        """
        (path,) = (self.home / "swaps").iterdir()
        secret, told = bytes.fromhex(json.loads(path.read_text())["secret"][2:]), []

        def choose(path_: str, body: bytes) -> Fault:
            seen = body + b"".join(bytes.fromhex(each) for each in _HEX.findall(body.decode()))
            if secret in seen or secret.hex().encode() in seen:
                told.append(json.loads(path.read_text())["was_shown"])
            return Fault.NONE

        self.network.fail_with(choose)
        try:
            declined = self.swap("claim", file, is_agreed=False)
            assert (declined.exit_code, told) == (NOT_CONFIRMED, []), declined.stderr
            claimed = self.does("claim", file)
        finally:
            self.network.fail_with(lambda path, body: Fault.NONE)
        assert told
        assert all(told)
        return claimed

    def is_killed(self, fault: Fault, which: int, command: str, *arguments: str | Path) -> None:
        """Runs a command as a process of its own, which the proxies kill -9 at its transaction of that number."""
        numbers = itertools.count(1)

        def choose(path: str, body: bytes) -> Fault:
            return fault if is_sending(path, body) and next(numbers) == which else Fault.NONE

        process = subprocess.Popen(
            [sys.executable, "-m", "genesis.cli", "wallet", *self.words(command, *arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.network.fail_with(choose, process.pid)
        try:
            _, said = process.communicate(timeout=600)
        finally:
            self.network.fail_with(lambda path, body: Fault.NONE)
        assert process.returncode == -signal.SIGKILL, said


def terms(to: Party, give: str, want: str) -> list[str]:
    """Of a new offer."""
    return ["--to", to.address, "--give", give, "--want", want]


def in_tokens(network: Network, amount: str) -> str:
    return f"{amount} {to_checksum_address(network.token)}"
