"""`aitbc provider run` as a process of its own on bad days: killed at the worst moments, drained, out of disk."""

import contextlib
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from chain.primitives.hexadecimal import parse_hash, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import attestation_digest
from genesis.secrets import DevnetSecrets
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from provider.storage.job_log import JobLog
from provider.storage.outbox import Outbox
from provider.storage.rows import ReceiptState
from tests.clients.network import DevnetNetwork
from wallet.keystore import LIGHT_SCRYPT_N, save_key

Eventually = Callable[..., None]
SECRET = "client-secret-0123456789"
LONG: dict[str, Any] = {"steps": 100, "width": 1024, "height": 1024}
START_S = 120.0

pytestmark = pytest.mark.timeout(400)


class ProviderSubprocess:
    """One process of `aitbc provider run`; its log is read as it is written."""

    def __init__(self, folder: Path, **flags: Any) -> None:
        given = {
            "keystore": folder / "key.json",
            "password-file": folder / "password",
            "api-keys-file": folder / "keys.toml",
            "data-dir": folder / "data",
            "node-url": "http://127.0.0.1:9",  # Nobody listens there.
            "port": 0,
            "cpu-threads": 1,
        } | {name.replace("_", "-"): value for name, value in flags.items()}
        words = [text for name, value in given.items() for text in (f"--{name}", str(value))]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genesis.cli", "provider", "run", *words],
            stderr=subprocess.PIPE,
            text=True,
            env=clean | {"AITBC_PROVIDER_RATE_LIMIT": "10000/minute"},
            cwd=folder,
        )
        self.log = ""
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line
            with contextlib.suppress(ValueError):  # A library's own words.
                self.lines.append(json.loads(line))

    def said(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one kind."""
        return [line for line in self.lines if line.get("event") == event]

    @property
    def url(self) -> str:
        """Once it serves."""
        return str(self.said("serving")[0]["url"])

    def get(self, path: str) -> httpx.Response:
        """With the client's key."""
        return httpx.get(self.url + path, headers={"Authorization": f"Bearer {SECRET}"}, timeout=30)

    def generate(self, key: str | None = None, **fields: Any) -> httpx.Response:
        """Asks for a quick picture unless fields say otherwise."""
        body = {"api_key": SECRET, "prompt": "a red circle", "steps": 5, "width": 256, "height": 256, **fields}
        headers = {} if key is None else {"Idempotency-Key": key}
        return httpx.post(self.url + "/v1/generate-image", json=body, headers=headers, timeout=180)

    def states(self) -> list[str]:
        """Of all jobs, newest first."""
        return [item["state"] for item in self.get("/v1/jobs").json()["items"]]

    def receipts(self) -> list[dict[str, Any]]:
        """Newest first."""
        items: list[dict[str, Any]] = self.get("/v1/receipts").json()["items"]
        return items

    def wait_for_log(self) -> None:
        """Returns once all is read that it has said, after its end."""
        self._reader.join(90)

    def kill(self) -> None:
        """As a power cut does."""
        self.process.kill()
        self.process.wait(90)
        self.wait_for_log()


@pytest.fixture
def folder(tmp_path: Path, provider_key: PrivateKey) -> Path:
    """Keystore, API keys, and a data folder that knows its chain."""
    save_key(tmp_path / "key.json", provider_key, "password", scrypt_n=LIGHT_SCRYPT_N)
    (tmp_path / "password").write_text("password\n")
    (tmp_path / "keys.toml").write_text(f'[clients]\nalice = "{SECRET}"\n')
    for name in ("password", "keys.toml"):
        (tmp_path / name).chmod(0o600)
    return tmp_path


def know_chain(folder: Path) -> None:
    with Database(folder / "data") as database:
        identity = FolderIdentity(database)
        identity.bind("genesis_hash", "0x" + "17" * 32)
        identity.bind("chain_id", "424242")


@pytest.fixture
def run_provider(folder: Path, eventually: Eventually) -> Iterator[Callable[..., ProviderSubprocess]]:
    """Starts a provider in the folder, and returns once it serves."""
    started: list[ProviderSubprocess] = []

    def run(**flags: Any) -> ProviderSubprocess:
        provider = ProviderSubprocess(folder, **flags)
        started.append(provider)
        eventually(lambda: provider.said("serving") or provider.process.poll() is not None, START_S)
        eventually(lambda: provider.get("/v1/health").json()["status"] == "ok", START_S)
        return provider

    yield run
    for provider in started:
        provider.kill()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


def in_background(pool: ThreadPoolExecutor, work: Callable[[], httpx.Response]) -> "Future[httpx.Response | None]":
    """The answer, or None where the connection broke."""

    def ask() -> httpx.Response | None:
        try:
            return work()
        except httpx.TransportError:
            return None

    return pool.submit(ask)


# Killed


def test_killed_between_picture_and_receipt(
    folder: Path,
    run_provider: Callable[..., ProviderSubprocess],
    pool: ThreadPoolExecutor,
    eventually: Eventually,
) -> None:
    know_chain(folder)
    first_run = run_provider()
    answer = in_background(pool, lambda: first_run.generate("once", seed=7, steps=100))
    eventually(lambda: first_run.states() == ["running"], 60)
    # Whoever holds the write lock keeps the receipt from being stored; the picture is stored before it.
    with sqlite3.connect(folder / "data" / "outbox.sqlite3", isolation_level=None) as database:
        database.execute("BEGIN IMMEDIATE")
        eventually(lambda: list((folder / "data" / "artifacts").rglob("*.png")), 90)
        first_run.kill()
        database.execute("ROLLBACK")
    database.close()
    assert answer.result(60) is None

    second_run = run_provider()
    assert second_run.states() == ["interrupted"]
    assert second_run.receipts() == []
    again = second_run.generate("once", seed=7, steps=100)
    assert again.status_code == 200, again.text
    assert [item["receipt_hash"] for item in second_run.receipts()] == [again.json()["receipt_hash"]]
    assert second_run.states() == ["done", "interrupted"]
    repeated = second_run.generate("once", seed=7, steps=100)
    assert repeated.json() == again.json()


class Forwarder:
    """The way to the chain's node, which can be cut and mended."""

    def __init__(self, url: str) -> None:
        self._target = (str(urlsplit(url).hostname), urlsplit(url).port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.is_cut = False
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends every connection and refuses new ones."""
        self.is_cut = True
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self.is_cut:
                client.close()
                continue
            node = socket.create_connection(self._target)
            self._open += [client, node]
            for source, sink in ((client, node), (node, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65_536):
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


def test_killed_between_receipt_and_mint_while_the_chain_is_down(
    folder: Path, run_provider: Callable[..., ProviderSubprocess], provider_key: PrivateKey, eventually: Eventually
) -> None:
    with DevnetNetwork(folder / "net", validators=1) as network:
        attester = DevnetSecrets.load_or_draw(folder / "net", validators=1).key("attester")
        way = Forwarder(network.url)

        def attest(provider: ProviderSubprocess, made: dict[str, Any]) -> str:
            receipt_hash = parse_hash(made["receipt_hash"])
            digest = attestation_digest(provider_key.address, int(made["receipt"]["amount"]), receipt_hash)
            body = {"receipt_hash": made["receipt_hash"], "attestation": to_hex(attester.sign(digest))}
            headers = {"Authorization": f"Bearer {SECRET}"}
            answer = httpx.post(provider.url + "/v1/attestations", json=body, headers=headers, timeout=60)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["state"])

        first_run = run_provider(node_url=way.url)
        minted = first_run.generate("one").json()
        attest(first_run, minted)
        eventually(lambda: first_run.receipts()[0]["state"] == "final", 60)
        way.cut()
        waiting = first_run.generate("two").json()
        assert attest(first_run, waiting) == "attested", "the attesters are known from a moment ago"
        assert network.balance(provider_key.address) == int(minted["receipt"]["amount"])
        first_run.kill()

        second_run = run_provider(node_url=way.url)
        assert second_run.generate("two").json() == waiting
        assert [item["state"] for item in second_run.receipts()] == ["attested", "final"]
        way.is_cut = False
        eventually(lambda: [item["state"] for item in second_run.receipts()] == ["final", "final"], 90)
        total = sum(int(made["receipt"]["amount"]) for made in (minted, waiting))
        assert network.balance(provider_key.address) == total
        assert len(network.client.account_mints(second_run.receipts()[0]["receipt"]["provider"]).items) == 2


# Drained


def test_a_signal_finishes_what_was_accepted_and_refuses_the_rest(
    folder: Path,
    run_provider: Callable[..., ProviderSubprocess],
    pool: ThreadPoolExecutor,
    eventually: Eventually,
) -> None:
    know_chain(folder)
    (folder / ".env").write_text("AITBC_PROVIDER_QUEUE_LIMITS=3\n")
    provider = run_provider()
    fields: dict[str, Any] = {"steps": 100}
    answers = [
        in_background(pool, partial(provider.generate, **fields, scheduler=scheduler))
        for scheduler in ("default", "euler")
    ]
    eventually(lambda: sorted(provider.states()) in (["queued", "running"], ["running", "running"]), 60)
    provider.process.send_signal(signal.SIGTERM)
    provider.process.send_signal(signal.SIGINT)  # At once: the same wish, from a process group's parent.
    eventually(lambda: provider.said("draining"), 60)
    provider.process.send_signal(signal.SIGTERM)
    refused = provider.generate()
    assert (refused.status_code, refused.json()["reason"]) == (503, "draining")
    assert int(refused.headers["retry-after"]) >= 1
    assert provider.get("/v1/health").json()["status"] == "draining"
    assert provider.get("/healthz").status_code == 503
    made = [answer.result(180) for answer in answers]
    assert [answer is not None and answer.status_code for answer in made] == [200, 200]
    assert provider.process.wait(60) == 0
    provider.wait_for_log()
    (misspelt,) = provider.said("unknown_settings")
    assert misspelt["names"] == ["AITBC_PROVIDER_QUEUE_LIMITS"]
    lines = {line["job_id"]: line for line in provider.said("job_done")}
    assert len(lines) == 2
    for body in (answer.json() for answer in made if answer is not None):
        line = lines[body["job_id"]]
        assert (line["exit_code"], line["receipt_hash"]) == (0, body["receipt_hash"])
        assert (line["duration_ms"], line["gpu_seconds"]) == (body["duration_ms"], body["gpu_seconds"])
        assert (line["bytes_out"] > 0, line["prompt_hash"]) == (True, body["receipt"]["prompt_hash"])
    for secret in (SECRET, "circle", "Traceback"):
        assert secret not in provider.log
    with Database(folder / "data", read_only=True) as database:
        assert Outbox(database).counts()[ReceiptState.SIGNED] == 2


def test_a_second_interrupt_ends_at_once(
    folder: Path,
    run_provider: Callable[..., ProviderSubprocess],
    pool: ThreadPoolExecutor,
    eventually: Eventually,
) -> None:
    know_chain(folder)
    provider = run_provider()
    answer = in_background(pool, lambda: provider.generate("again", count=4, **LONG))
    eventually(lambda: provider.states() == ["running"], 60)
    provider.process.send_signal(signal.SIGTERM)
    eventually(lambda: provider.said("draining"), 60)

    def is_ending() -> bool:
        provider.process.send_signal(signal.SIGINT)
        return bool(provider.said("ending_at_once")) or provider.process.poll() is not None

    eventually(is_ending, 60)
    assert provider.process.wait(120) == 0
    ended = answer.result(60)
    assert ended is None or ended.status_code == 409
    assert stored_state(folder) == "cancelled"
    with Database(folder / "data", read_only=True) as database:
        assert sum(Outbox(database).counts().values()) == 0


def test_the_time_for_a_drain_is_bounded(
    folder: Path,
    run_provider: Callable[..., ProviderSubprocess],
    pool: ThreadPoolExecutor,
    eventually: Eventually,
) -> None:
    know_chain(folder)
    (folder / ".env").write_text("AITBC_PROVIDER_DRAIN_TIMEOUT_S=0.5\n")
    provider = run_provider()
    in_background(pool, lambda: provider.generate(count=4, **LONG))
    eventually(lambda: provider.states() == ["running"], 60)
    provider.process.send_signal(signal.SIGTERM)
    assert provider.process.wait(120) == 0
    provider.wait_for_log()
    assert provider.said("drain_timed_out")
    (line,) = provider.said("job_cancelled")
    assert (line["exit_code"], line["bytes_out"], line["gpu_seconds"]) == (130, 0, 0.0)
    assert line["prompt_hash"].startswith("sha256:")
    assert line["duration_ms"] > 0


# Out of disk


def test_a_full_disk_refuses_and_loses_nothing(
    folder: Path,
    run_provider: Callable[..., ProviderSubprocess],
    pool: ThreadPoolExecutor,
    eventually: Eventually,
) -> None:
    know_chain(folder)
    provider = run_provider()
    kept = provider.generate("kept").json()

    def limit_files(size_bytes: int) -> None:
        resource.prlimit(provider.process.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    limit_files(0)
    refused = provider.generate()
    # SQLite knows a full disk by another error than a file that may not grow, which is what a test can arrange.
    told = (refused.status_code, refused.json()["reason"])
    assert told in ((507, "storage_full"), (503, "storage_failed"))
    limit_files(resource.RLIM_INFINITY)

    # The disk fills up while the picture is drawn.
    for key in (None, "late"):
        answer = in_background(pool, partial(provider.generate, key, steps=100, seed=1))
        eventually(lambda: provider.states()[0] == "running", 60)
        limit_files(0)
        failed = answer.result(120)
        assert failed is not None
        assert (failed.status_code, failed.json()["reason"]) == (507, "storage_full")
        assert provider.states()[0] == "failed"
        assert stored_state(folder) == "running", "the log could not be told"
        assert provider.get("/v1/health").json()["status"] == "ok"
        assert [item["receipt_hash"] for item in provider.receipts()] == [kept["receipt_hash"]]
        limit_files(resource.RLIM_INFINITY)
        eventually(lambda: stored_state(folder) == "failed", 60)

    made = provider.generate("late", steps=100, seed=1)
    assert made.status_code == 200, made.text
    assert provider.generate("kept").json() == kept
    assert len(provider.receipts()) == 2
    assert provider.states()[0] == "done"


def stored_state(folder: Path) -> str:
    """Of the newest job, as `aitbc provider status` and the next start find it."""
    with Database(folder / "data", read_only=True) as database:
        return JobLog(database).page(None, before=None, limit=1)[0].state.value


# Started


def test_it_answers_before_the_model_is_there(folder: Path, eventually: Eventually) -> None:
    """A chain that is not known is said too: nothing is served that could not be paid for."""
    provider = ProviderSubprocess(folder)
    try:
        eventually(lambda: provider.said("serving"), START_S)
        assert provider.get("/v1/health").json()["status"] in ("loading", "waiting_for_node")
        assert provider.get("/healthz").status_code == 503
        eventually(lambda: provider.get("/v1/health").json()["status"] == "waiting_for_node", START_S)
        refused = provider.generate()
        assert (refused.status_code, refused.json()["reason"]) == (503, "waiting_for_node")
    finally:
        provider.kill()


def test_a_model_that_cannot_be_loaded_ends_the_process(folder: Path) -> None:
    know_chain(folder)
    broken = folder / "broken"
    broken.mkdir()
    (broken / "model_index.json").write_text("{}")
    provider = ProviderSubprocess(folder, model=broken)
    assert provider.process.wait(START_S) == 1
