"""What the wallet's tests share: a receipt to sign, and the wallet's command line, in this process and as its own."""

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt
from chain.primitives.types import Hash32
from chain.primitives.units import compute_amount
from tests.wallet.running_node import RunningNode
from wallet.cli import app
from wallet.keystore import LIGHT_SCRYPT_N, save_key

MakeReceipt = Callable[..., Receipt]
PASSWORD = "correct horse battery staple"


class Ran(msgspec.Struct, frozen=True):
    """What a command said, and how it ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Its stdout, which must be one JSON document."""
        return json.loads(self.stdout)


RunWallet = Callable[..., Ran]
Answer = str | Callable[[str], str]


def _environment(tmp_path: Path, changes: dict[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
    return clean | {"AITBC_HOME": str(tmp_path / "home"), "COLUMNS": "120"} | changes


@pytest.fixture
def key() -> PrivateKey:
    """A fresh key."""
    return PrivateKey.generate()


@pytest.fixture
def make_receipt() -> MakeReceipt:
    """Receipts of jobs; keywords replace fields."""

    def make(**fields: Any) -> Receipt:
        values: dict[str, Any] = {
            "job_id": "job-1",
            "provider": PrivateKey(b"\x01" * 32).address,
            "client": "test-client",
            "micro_units": 1_250_000,
            "unit_type": "gpu_seconds",
            "model": "tiny-sd",
            "prompt_hash": "sha256:" + "ab" * 32,
            "request_hash": Hash32(b"\x02" * 32),
            "started_at": 1_760_000_000,
            "finished_at": 1_760_000_002,
            "artifact_sha256": "cd" * 32,
            "nonce": "nonce-1",
            "hub_id": "hub-1",
            "chain_id": 3_141_592_653,
            "price_per_unit": 10**18,
            **fields,
        }
        values.setdefault("amount", compute_amount(values["micro_units"], values["price_per_unit"]))
        return Receipt(**values).checked()

    return make


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    """A file with the test accounts' password, as an editor leaves it: with a line end."""
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    return path


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """One node for all of the wallet's tests; each test has accounts of its own."""
    running = RunningNode(tmp_path_factory.mktemp("node") / "main")
    yield running
    running.stop()


@pytest.fixture
def people(tmp_path: Path) -> dict[str, PrivateKey]:
    """Two accounts in the wallet's home, with the keys that only a test would know."""
    keys = {"alice": PrivateKey.generate(), "bob": PrivateKey.generate()}
    for name, key in keys.items():
        save_key(tmp_path / "home" / "keys" / f"{name}.json", key, PASSWORD, scrypt_n=LIGHT_SCRYPT_N)
    return keys


@pytest.fixture
def run(tmp_path: Path) -> RunWallet:
    """`aitbc wallet …` within this process: no start-up to wait for. Its home is `tmp_path / "home"`."""

    def run_here(*arguments: str | Path, stdin: str | bytes = "", **environment: str) -> Ran:
        saved = dict(os.environ)
        os.environ.clear()
        os.environ.update(_environment(tmp_path, environment))
        try:
            ended = CliRunner().invoke(app, [*map(str, arguments)], input=stdin)
        finally:
            os.environ.clear()
            os.environ.update(saved)
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return Ran(ended.exit_code, ended.stdout, ended.stderr)

    return run_here


@pytest.fixture
def run_process(tmp_path: Path) -> RunWallet:
    """The same as a process of its own, through `aitbc`, with no terminal to ask on."""

    def run_there(*arguments: str | Path, stdin: str = "", **environment: str) -> Ran:
        ended = subprocess.run(
            [sys.executable, "-m", "genesis.cli", "wallet", *map(str, arguments)],
            input=stdin,
            env=_environment(tmp_path, environment),
            capture_output=True,
            text=True,
            timeout=60,
            start_new_session=True,  # No controlling terminal: a prompt fails instead of waiting for ever.
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    return run_there


# Opening a terminal as the leader of a new session makes it the session's own, so that /dev/tty means it.
AT_TERMINAL = """
import os, sys
for descriptor in (0, 2):
    os.dup2(os.open(sys.argv[1], os.O_RDWR), descriptor)
sys.argv[1] = "wallet"
from genesis.cli import main
main()
"""


def _read_screen(screen: int) -> bytes:
    """What has been written since; nothing once the other end is closed."""
    readable, _, _ = select.select([screen], [], [], 60)
    assert readable, "nothing more is said"
    try:
        return os.read(screen, 65536)
    except OSError:
        return b""


@pytest.fixture
def run_at_terminal(tmp_path: Path) -> RunWallet:
    """The same with a person at a terminal, who waits for each prompt and types the answer. `stderr` is the screen.

    An answer may be found by looking at the screen so far.
    """

    def run_there(*arguments: str | Path, answers: list[tuple[str, Answer]], **environment: str) -> Ran:
        screen, terminal = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, os.ttyname(terminal), *map(str, arguments)],
            env=_environment(tmp_path, environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            seen, answered = b"", 0
            for prompt, answer in answers:
                while prompt.encode() not in seen[answered:]:
                    seen += _read_screen(screen)
                answered = len(seen)
                typed = answer if isinstance(answer, str) else answer(seen.decode())
                os.write(screen, typed.encode(errors="surrogateescape") + b"\n")
            stdout, _ = process.communicate(timeout=60)
            os.close(terminal)
            while more := _read_screen(screen):
                seen += more
            os.close(screen)
        return Ran(process.returncode, stdout, seen.decode(errors="replace").replace("\r\n", "\n"))

    return run_there


@pytest.fixture
def wallet(run: RunWallet, node: RunningNode) -> RunWallet:
    """The wallet with the node and the password set."""

    def run_with_node(*arguments: str | Path, stdin: str | bytes = "", **environment: str) -> Ran:
        return run(*arguments, stdin=stdin, **{"AITBC_NODE_URL": node.url, "AITBC_PASSWORD": PASSWORD} | environment)

    return run_with_node


@pytest.fixture
def offline(run: RunWallet) -> RunWallet:
    """The wallet with its password on a machine where no node can be reached."""

    def run_without_node(*arguments: str | Path, stdin: str | bytes = "", **environment: str) -> Ran:
        unreachable = {"AITBC_NODE_URL": "http://127.0.0.1:1", "AITBC_PASSWORD": PASSWORD}
        return run(*arguments, stdin=stdin, **unreachable | environment)

    return run_without_node
