"""What the hub's tests share: honest answers to bend, providers that lie on demand, a chain, and hub processes."""

import base64
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from chain.client import NodeClient
from chain.node.folder import write_key_file
from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER, REGISTER, REGISTRY
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.parameters import Parameters
from chain.primitives.receipt import Receipt, salted_prompt_hash, sign_receipt
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ZERO_ADDRESS, Address, Amount, Hash32
from chain.primitives.units import compute_amount
from hub.selection import Offer
from hub.verification import Measured, SentJob
from wallet.attester import AttesterNetwork, save_attester_key
from wallet.keystore import LIGHT_SCRYPT_N

MODEL = "aitbc/tiny-sd"
PRICE = Amount(10**17)


def make_png(width: int = 256, height: int = 256, mode: str = "RGB", colour: Any = (200, 30, 30)) -> bytes:
    """A plain picture."""
    buffer = io.BytesIO()
    Image.new(mode, (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Answering:
    """What an honest provider would answer to a job; a test bends a part of it, `body` signs and serialises the rest.

    `receipt` replaces fields of the receipt before it is signed, `fields` replaces fields of the answer afterwards.
    """

    job: SentJob
    offer: Offer
    key: PrivateKey
    png: bytes
    started_at: int
    finished_at: int
    micro_units: int = 1_500_000
    receipt: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)

    png_of = staticmethod(make_png)

    def make_receipt(self) -> Receipt:
        """The receipt, not checked: it may contradict itself."""
        values: dict[str, Any] = {
            "job_id": self.job.job_id,
            "provider": self.key.address,
            "client": self.job.client,
            "micro_units": self.micro_units if self.offer.unit_type == "gpu_seconds" else 1_000_000,
            "unit_type": self.offer.unit_type,
            "model": self.offer.models[0],
            "prompt_hash": salted_prompt_hash(self.job.prompt_salt, self.job.prompt),
            "request_hash": self.job.request_hash,
            "client_signature": self.job.client_signature,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "artifact_sha256": sha256(self.png).hex(),
            "nonce": self.job.nonce,
            "hub_id": self.job.hub_id,
            "chain_id": self.job.chain_id,
            "price_per_unit": self.offer.price_per_unit,
            **self.receipt,
        }
        values.setdefault("amount", compute_amount(values["micro_units"], values["price_per_unit"]))
        return Receipt(**values)

    def answer(self) -> dict[str, Any]:
        """The JSON object."""
        receipt = self.make_receipt()
        return {
            "status": "ok",
            "job_id": self.job.job_id,
            "image_base64": "data:image/png;base64," + base64.b64encode(self.png).decode(),
            "duration_ms": 1600,
            "gpu_seconds": receipt.micro_units / 10**6,
            "seed": self.job.seed,
            "device": "cpu",
            "gpu": "test",
            "model": receipt.model,
            "receipt": receipt.to_object(),
            "receipt_hash": to_hex(receipt.hash),
            "provider_signature": to_hex(sign_receipt(self.key, receipt)),
            "prompt_salt": to_hex(self.job.prompt_salt),
        } | self.fields

    def body(self) -> bytes:
        """The bytes on the wire."""
        return json.dumps(self.answer()).encode()

    def with_receipt(self, **fields: Any) -> "Answering":
        """A copy whose receipt says something else, and is signed like that."""
        return replace(self, receipt=self.receipt | fields)

    def with_fields(self, **fields: Any) -> "Answering":
        """A copy with other fields beside the receipt."""
        return replace(self, fields=self.fields | fields)


Behaviour = Callable[["ProviderServer", Answering, BaseHTTPRequestHandler], None]


def answer_honestly(_server: "ProviderServer", answering: Answering, handler: BaseHTTPRequestHandler) -> None:
    """What a good provider does, at once and with a plain picture."""
    send(handler, 200, answering.body())


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    """A whole HTTP answer."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.wfile.write(body)


class ProviderServer:
    """A real HTTP server in the place of a provider, which does what `behaviour` says: the adversary of these tests.

    It keeps what it was asked, and the attestations that it was given while `takes_attestations` is set.
    """

    def __init__(self, key: PrivateKey) -> None:
        self.key = key
        self.api_key = f"key-of-{key.address.hex()}"
        self.offer = Offer(key.address, "", (MODEL,), PRICE, "gpu_seconds", 0)
        self.behaviour: Behaviour = answer_honestly
        self.takes_attestations = True
        self.requests: list[dict[str, Any]] = []
        self.attestations: list[tuple[str, str]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler_class())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        """As in the registry."""
        return to_checksum_address(self.key.address)

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def reset(self) -> None:
        """Honest again, with nothing remembered."""
        self.behaviour, self.takes_attestations = answer_honestly, True
        self.requests.clear()
        self.attestations.clear()

    def close(self) -> None:
        """Stops listening."""
        self._http.shutdown()
        self._http.server_close()

    def answering(self, request: Mapping[str, Any]) -> Answering:
        """The honest answer to a request as the hub sends it, with a GPU second of a thousandth."""
        job = request["job"]
        signature = job["client_signature"]
        now = int(time.time())
        return Answering(
            job=SentJob(
                hub_id=job["hub_id"],
                chain_id=self.chain_id,
                job_id=job["job_id"],
                nonce=job["nonce"],
                client=job["client"],
                request_hash=parse_hash(job["request_hash"]),
                client_signature=None if signature is None else parse_hex(signature),
                prompt=request["prompt"],
                prompt_salt=parse_hex(job["prompt_salt"]),
                width=request["width"],
                height=request["height"],
                seed=request["seed"],
                model=None,
            ),
            offer=self.offer,
            key=self.key,
            png=make_png(request["width"], request["height"]),
            started_at=now,
            finished_at=now,
            micro_units=1_000,
        )

    chain_id: int = 0
    """Set by the network that it is registered on."""

    def _handler_class(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/v1/attestations":
                    server._take_attestation(self, body)
                    return
                server.requests.append(body)
                if body["api_key"] != server.api_key:
                    send(self, 401, b'{"reason": "invalid_api_key"}')
                    return
                with contextlib.suppress(ConnectionError):  # The hub has had enough: that is what is tested.
                    server.behaviour(server, server.answering(body), self)

            def log_message(self, *_arguments: Any) -> None:
                """Nothing: the tests look at `requests`."""

        return Handler

    def _take_attestation(self, handler: BaseHTTPRequestHandler, body: Mapping[str, str]) -> None:
        if handler.headers["Authorization"] != f"Bearer {self.api_key}":
            send(handler, 401, b'{"reason": "invalid_api_key"}')
        elif not self.takes_attestations:
            send(handler, 503, b'{"reason": "node_unreachable"}')
        else:
            self.attestations.append((body["receipt_hash"], body["attestation"]))
            send(handler, 200, b'{"state": "attested"}')


CLIENT_KEYS = {"alice": "alice-0123456789abcdef", "bob": "bob-0123456789abcdef"}
START_TIMEOUT_S = 30.0


def wait_until(condition: Callable[[], Any], timeout_s: float = 15.0) -> Any:
    """The condition's value once it is true; fails the test when it does not become so in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return value


class HubProcess:
    """`aitbc hub run` as an operator runs it, on a folder of its own."""

    def __init__(self, folder: Path, chain: "Chain", providers: Iterable[ProviderServer], **flags: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._write("clients.toml", "[clients]\n" + "".join(f'{n} = "{key}"\n' for n, key in CLIENT_KEYS.items()))
        self._write("providers.toml", "[providers]\n" + "".join(f'"{p.address}" = "{p.api_key}"\n' for p in providers))
        self._write("password.txt", "secret\n")
        if not (folder / "attester.json").exists():
            network = AttesterNetwork(chain.chain_id, parse_hash(chain.genesis_hash))
            save_attester_key(folder / "attester.json", chain.attester, "secret", network, scrypt_n=LIGHT_SCRYPT_N)
        self._flags = {
            "data-dir": folder / "data",
            "node": chain.url,
            "attester-keystore": folder / "attester.json",
            "attester-password-file": folder / "password.txt",
            "clients-file": folder / "clients.toml",
            "providers-file": folder / "providers.toml",
            "hub-id": "hub-1",
            "port": 0,
        } | {name.replace("_", "-"): value for name, value in flags.items() if name.islower()}
        self._environment = {name: str(value) for name, value in flags.items() if name.isupper()}
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        # One for all requests: to make a client costs more than a request does.
        self._http = httpx.Client(timeout=60, trust_env=False)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)

    def add_provider(self, address: str, api_key: str) -> None:
        """One more provider that the hub may ask, from its next start on."""
        path = self.folder / "providers.toml"
        path.write_text(f'{path.read_text()}"{address}" = "{api_key}"\n')

    @property
    def log(self) -> str:
        """Everything that all its processes logged."""
        return (self.folder / "log.txt").read_text()

    def settings(self) -> dict[str, Any]:
        """What the flags say, for a hub that is opened in the test's own process."""
        names = {name.replace("-", "_"): value for name, value in self._flags.items()}
        return {"node_url": names.pop("node")} | names

    def command(self) -> list[str]:
        """The command line."""
        given = {name: value for name, value in self._flags.items() if value is not None}
        flags = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        return [sys.executable, "-m", "genesis.cli", "hub", "run", *flags]

    def spawn(self, *more: str) -> "subprocess.Popen[str]":
        """Starts the process without waiting for it."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
        with (self.folder / "log.txt").open("a") as log:
            self.process = subprocess.Popen(
                [*self.command(), *more],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=clean | self._environment,
            )
        return self.process

    def start(self) -> "HubProcess":
        """Starts it and waits until it serves."""
        process = self.spawn()
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, self.log
        self.url = line.split()[-1]
        return self

    def kill(self) -> None:
        """kill −9."""
        assert self.process is not None
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self._reap()

    def _reap(self) -> int:
        assert self.process is not None
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def request(self, method: str, path: str, *, api_key: str = CLIENT_KEYS["alice"], **options: Any) -> httpx.Response:
        """One request with a client's key."""
        headers = {"Authorization": f"Bearer {api_key}"} | options.pop("headers", {})
        return self._http.request(method, self.url + path, headers=headers, **options)

    def post_job(self, *, headers: Mapping[str, str] | None = None, **fields: Any) -> httpx.Response:
        """A small job."""
        body = {"prompt": "a red circle", "width": 256, "height": 256, "steps": 5} | fields
        return self.request("POST", "/v1/jobs", json=body, headers=dict(headers or {}))

    def job(self, job_id: str) -> Any:
        """What the hub says of a job."""
        answer = self.request("GET", f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()


class Chain:
    """A real network: one validator as `aitbc node run` runs it, on a folder and keys of its own."""

    def __init__(self, folder: Path) -> None:
        self.attester = PrivateKey.generate()
        validator = PrivateKey.generate()
        network = Network(
            chain_id=424_242,
            name="hub-tests",
            block_interval_ms=100,
            validators=(Validator(validator.address, validator.public_key),),
            attesters=(AttesterAllowance(self.attester.address, 10**27, 1_000_000),),
            parameters=Parameters(),
        )
        self.chain_id = network.chain_id
        self.genesis_hash = to_hex(network.genesis_hash)
        self._folder = folder
        (folder / "network.toml").write_text(network_to_toml(network))
        write_key_file(folder / "validator.key", validator)
        made = self._aitbc("init", "--network", folder / "network.toml", "--key-file", folder / "validator.key")
        assert made.wait(30) == 0, self.log
        self._process = self._aitbc("run", "--port", "0")
        self.url = wait_until(self._served_url, 30)
        self._nonces: dict[bytes, int] = {}
        self.node = NodeClient(self.url)

    @property
    def log(self) -> str:
        """What the node logged."""
        return (self._folder / "log.txt").read_text()

    def _aitbc(self, command: str, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        with (self._folder / "log.txt").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "genesis.cli", "node", command, "--data-dir", self._folder / "node", *arguments],
                stdout=log,
                stderr=log,
            )

    def _served_url(self) -> str | None:
        assert self._process.poll() is None, self.log
        found = re.search(r'"url": "(http://[^"]+)"', self.log)
        return found[1] if found else None

    def send(self, key: PrivateKey, to: Address, call_data: bytes) -> str:
        """Sends a call and waits until it has succeeded and is final; its transaction hash."""
        nonce = self.node.account(key.address).nonce
        signed = sign_transaction(key, chain_id=self.chain_id, nonce=nonce, to=to, data=call_data)
        self.node.send_transaction(signed.raw)
        sent = self.node.wait_for_transaction(signed.hash, timeout_s=20)
        assert sent.status == "success", sent.reason
        return sent.hash

    def register(self, server: ProviderServer) -> None:
        """Puts the provider's offer on the chain, with the endpoint where it listens."""
        server.chain_id = self.chain_id
        offer = server.offer
        fields = (server.url, list(offer.models), offer.price_per_unit, offer.unit_type, offer.vram_mib, ZERO_ADDRESS)
        self.send(server.key, REGISTRY, REGISTER.encode(*fields))

    def mint(self, key: PrivateKey, receipt_hash: str, attestation: str, *, amount: int) -> str:
        """What a provider does with its attestation; the transaction's hash."""
        values = (key.address, amount, parse_hash(receipt_hash), parse_hex(attestation))
        return self.send(key, MINTER, MINT_WITH_RECEIPT.encode(*values))

    def close(self) -> None:
        """Stops the node."""
        self.node.close()
        self._process.terminate()
        assert self._process.wait(20) == 0, self.log


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """The network of all tests of the hub."""
    network = Chain(tmp_path_factory.mktemp("chain"))
    yield network
    network.close()


@pytest.fixture(scope="session")
def provider_key() -> PrivateKey:
    """The registered provider's key."""
    return PrivateKey(b"\x21" * 32)


@pytest.fixture(scope="session")
def client_key() -> PrivateKey:
    """A client that signs its requests."""
    return PrivateKey(b"\x31" * 32)


@pytest.fixture
def offer(provider_key: PrivateKey) -> Offer:
    """What the provider has registered."""
    return Offer(provider_key.address, "http://127.0.0.1:9", (MODEL, "other/model"), PRICE, "gpu_seconds", 0)


@pytest.fixture
def sent_job() -> SentJob:
    """What the hub sent."""
    return SentJob(
        hub_id="hub-1",
        chain_id=424_242,
        job_id="2026-11-22-0011223344556677",
        nonce="ab" * 16,
        client="alice",
        request_hash=Hash32(b"\x05" * 32),
        client_signature=None,
        prompt="a red circle on a blue background",
        prompt_salt=b"\x77" * 32,
        width=256,
        height=256,
        seed=12345,
        model=None,
    )


@pytest.fixture
def measured() -> Measured:
    """The hub's clock: 2 seconds for the call."""
    return Measured(
        sent_at_s=1_770_000_000.4,
        received_at_s=1_770_000_002.4,
        wall_s=2.0,
        clock_tolerance_s=5.0,
        metering_slack_s=0.25,
    )


@pytest.fixture
def honest(sent_job: SentJob, offer: Offer, provider_key: PrivateKey) -> Answering:
    """The honest answer to `sent_job`."""
    return Answering(sent_job, offer, provider_key, make_png(), started_at=1_770_000_000, finished_at=1_770_000_002)


@pytest.fixture(scope="session")
def png_of() -> Callable[..., bytes]:
    """`make_png`, for test files (which cannot import from here)."""
    return make_png


@pytest.fixture(scope="session")
def liar(chain: Chain) -> Iterator[ProviderServer]:
    """A registered provider that tests make lie; it alone has registered `liar/model`."""
    server = ProviderServer(PrivateKey(b"\x51" * 32))
    server.offer = replace(server.offer, models=("liar/model", MODEL))
    chain.register(server)
    yield server
    server.close()


@pytest.fixture(scope="session")
def good(chain: Chain) -> Iterator[ProviderServer]:
    """A registered provider that stays honest; it alone has registered `good/model`."""
    server = ProviderServer(PrivateKey(b"\x52" * 32))
    server.offer = replace(server.offer, models=("good/model", MODEL))
    chain.register(server)
    yield server
    server.close()


@pytest.fixture
def make_provider() -> Iterator[Callable[[PrivateKey], ProviderServer]]:
    """Makes providers of the test's own, not registered yet."""
    servers: list[ProviderServer] = []

    def make(key: PrivateKey) -> ProviderServer:
        servers.append(ProviderServer(key))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def shared_hub(
    tmp_path_factory: pytest.TempPathFactory, chain: Chain, liar: ProviderServer, good: ProviderServer
) -> Iterator[HubProcess]:
    """A hub that most tests share: nobody is benched, so that one test's liar may lie again in the next."""
    hub = HubProcess(
        tmp_path_factory.mktemp("hub"),
        chain,
        (liar, good),
        provider_timeout_s=1.5,
        AITBC_HUB_BENCH_LIE_S=0,
        AITBC_HUB_BENCH_FAILURE_S=0,
        AITBC_HUB_DELIVERY_FIRST_RETRY_S=0.1,
        AITBC_HUB_CLOCK_TOLERANCE_S=5,
    )
    yield hub.start()
    assert hub.stop() == 0, hub.log


@pytest.fixture
def hub(shared_hub: HubProcess, liar: ProviderServer, good: ProviderServer) -> HubProcess:
    """The shared hub, with providers that are honest again."""
    liar.reset()
    good.reset()
    return shared_hub


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """`wait_until`, for test files (which cannot import from here)."""
    return wait_until


@pytest.fixture(scope="session")
def hub_process(chain: Chain, liar: ProviderServer, good: ProviderServer) -> Callable[..., HubProcess]:
    """Makes a hub of the test's own in a folder, not started yet."""
    return lambda folder, **flags: HubProcess(folder, chain, (liar, good), **flags)


@pytest.fixture
def make_hub(tmp_path: Path, hub_process: Callable[..., HubProcess]) -> Iterator[Callable[..., HubProcess]]:
    """The same in the test's folder; what still runs at the end is stopped."""
    hubs: list[HubProcess] = []

    def make(**flags: Any) -> HubProcess:
        hubs.append(hub_process(tmp_path, **flags))
        return hubs[-1]

    yield make
    for hub in hubs:
        if hub.process is not None and hub.process.poll() is None:
            hub.kill()
