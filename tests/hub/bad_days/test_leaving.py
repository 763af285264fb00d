"""A provider that drains in the middle of a job, and stays off: what it brought is checked, attested and paid."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from tests.hub.running import PRICE, Chain, HubProcess, wait_until
from wallet.keystore import LIGHT_SCRYPT_N, save_key

pytestmark = pytest.mark.timeout(600)

_START_S = 180.0
"""What two providers may take to load their model on a busy machine."""
_COMMAND = (sys.executable, "-m", "genesis.cli", "provider")
_CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}


class RealProvider:
    """`aitbc provider run` for one hub, with the embedded model."""

    def __init__(self, folder: Path, key: PrivateKey, chain: Chain, hub: HubProcess) -> None:
        folder.mkdir()
        self.folder, self.key = folder, key
        save_key(folder / "key.json", key, "secret", scrypt_n=LIGHT_SCRYPT_N)
        (folder / "password.txt").write_text("secret\n")
        (folder / "password.txt").chmod(0o600)
        flags = {
            "data-dir": folder / "data",
            "keystore": folder / "key.json",
            "password-file": folder / "password.txt",
            "node-url": chain.url,
            "port": 0,
            "cpu-threads": 1,
            "price-per-unit": int(PRICE),
            "unit-type": "images",
            "hub": hub.workers_url,
        }
        words = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*_COMMAND, "run", *words], stdout=log, stderr=log, env=_CLEAN)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def drain(self) -> str:
        """The command's last line."""
        words = [*_COMMAND, "drain", "--data-dir", str(self.folder / "data")]
        ended = subprocess.run(words, check=True, capture_output=True, text=True, env=_CLEAN, timeout=300)
        return ended.stderr.splitlines()[-1]


@pytest.fixture
def start(tmp_path: Path, chain: Chain) -> Iterator[Callable[[HubProcess, PrivateKey], RealProvider]]:
    """Providers that are ended with the test."""
    made: list[RealProvider] = []

    def begin(hub: HubProcess, key: PrivateKey) -> RealProvider:
        made.append(RealProvider(tmp_path / f"provider-{len(made)}", key, chain, hub))
        return made[-1]

    yield begin
    for provider in made:
        if provider.process.poll() is None:
            provider.process.send_signal(signal.SIGKILL)
        provider.process.wait()


def rows(hub: HubProcess, query: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(f"file:{hub.folder / 'data' / 'hub.sqlite3'}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def test_who_drains_and_stays_off_is_paid_for_what_it_brought(
    make_hub: Callable[..., HubProcess],
    chain: Chain,
    start: Callable[[HubProcess, PrivateKey], RealProvider],
) -> None:
    hub = make_hub(AITBC_HUB_CHECK_TIMEOUT_S=2)
    keys = [PrivateKey.generate(), PrivateKey.generate()]
    for key in keys:
        chain.register(key)
    leaving, _staying = (start(hub, key) for key in keys)

    wait_until(lambda: len(rows(hub, "SELECT 1 FROM sessions")) == len(keys), _START_S)
    name = to_checksum_address(leaving.key.address)
    job_id = hub.post_job(prompt="a red circle", n=8, steps=30, width=512, height=512, wait_s=0).json()["job_id"]
    its_leases = "SELECT lease_id FROM leases WHERE job_id = ? AND provider = ?"
    wait_until(lambda: rows(hub, its_leases, job_id, name), _START_S)
    said = leaving.drain()
    assert leaving.process.wait(60) == 0, leaving.log
    assert said == "drained", leaving.log
    assert hub.ended(job_id)["status"] == "done"
    brought = rows(hub, "SELECT state FROM results WHERE job_id = ? AND provider = ?", job_id, name)
    assert brought
    assert set(brought) == {("accepted",)}
    verdicts = rows(hub, "SELECT verdict FROM checks WHERE job_id = ? AND provider = ?", job_id, name)
    assert verdicts
    assert {verdict for (verdict,) in verdicts} <= {"passed", "abandoned"}
    wait_until(lambda: chain.balance(leaving.key) > 0)
