"""A real chain, hub processes as operators run them, and providers that dial in and do what a test says."""

import asyncio
import hashlib
import io
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from PIL import Image
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from chain.client import NodeClient, NodeError, NodeRefused
from chain.node.folder import write_key_file
from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.hub_messages import Assignment, Attested, Cancel, Challenge, SignReceipt, Taken, Welcome
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import REGISTER, REGISTRY
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.parameters import Parameters
from chain.primitives.provider_messages import Accepted, AttestationTaken, Hello, ReceiptSigned, Result
from chain.primitives.receipt import Receipt, combined_artifact_sha256, sign_receipt
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ZERO_ADDRESS, Address, Amount
from chain.primitives.units import MICRO, compute_amount
from chain.primitives.worker_fields import ModelOffer, octets_of
from chain.primitives.worker_hello import audience_of, sign_hello
from chain.primitives.worker_message import Heartbeat, Message, Refused
from chain.primitives.worker_messages import CHUNK_BYTES, attachment_of, decode_from_hub, encode, raw_json
from hub.workers.intake import TRY_AGAIN
from provider.minting.payment import Payment
from provider.storage.rows import ReceiptForm
from wallet.attester import AttesterNetwork, save_attester_key
from wallet.keystore import LIGHT_SCRYPT_N

MODEL: Final = "aitbc/tiny-sd"
PRICE: Final = Amount(10**17)
CLIENT_KEYS: Final = {"alice": "alice-0123456789abcdef", "bob": "bob-0123456789abcdef"}
PATIENCE_S: Final = 60.0
"""What nothing in these tests should ever take."""


def wait_until(condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """The condition's value once it is true; fails the test when it does not become so in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return value


def draw(prompt: str, seed: int, width: int, height: int) -> bytes:
    """A picture that follows from what was asked: blocks of colour, different enough to be no copies."""
    dice = random.Random(f"{prompt}/{seed}")
    small = Image.frombytes("RGB", (16, 16), dice.randbytes(16 * 16 * 3))
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


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
        assert made.wait(60) == 0, self.log
        self._process = self._aitbc("run", "--port", "0")
        self.url = wait_until(self._served_url)
        self.node = NodeClient(self.url)

    def kill(self) -> None:
        """kill -9 of the node."""
        self._process.kill()
        self._process.wait(60)

    def start(self) -> None:
        """The node again, on its folder and port, until it answers."""
        self._process = self._aitbc("run", "--port", self.url.rpartition(":")[2])
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log
        with suppress(NodeError):
            self.node.status()
            return True
        return False

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
        sent = self.node.wait_for_transaction(signed.hash, timeout_s=PATIENCE_S)
        assert sent.status == "success", sent.reason
        return sent.hash

    def register(self, key: PrivateKey, *models: str, price: int = PRICE, unit_type: str = "images") -> None:
        """Puts a provider's offer on the chain."""
        fields = ("http://127.0.0.1:9", list(models or (MODEL,)), price, unit_type, 0, ZERO_ADDRESS)
        self.send(key, REGISTRY, REGISTER.encode(*fields))

    def balance(self, key: PrivateKey) -> int:
        """In atoms."""
        return int(self.node.account(key.address).balance)

    def close(self) -> None:
        """Stops the node."""
        self.node.close()
        self._process.terminate()
        assert self._process.wait(30) == 0, self.log


class HubProcess:
    """`aitbc hub run` as an operator runs it, on a folder of its own."""

    def __init__(self, folder: Path, chain: Chain, **flags: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        keys = "".join(f'{name} = "{key}"\n' for name, key in CLIENT_KEYS.items())
        self._write("clients.toml", f"[clients]\n{keys}[quotas]\nbob = {{ pictures = 3 }}\n")
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
            "hub-id": "hub-1",
            "port": 0,
            "shutdown-grace-s": 2,
        } | {name.replace("_", "-"): value for name, value in flags.items() if name.islower()}
        self._environment = {name: str(value) for name, value in flags.items() if name.isupper()}
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        self._http = httpx.Client(timeout=PATIENCE_S, trust_env=False)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)

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

    def start(self) -> "HubProcess":
        """Starts it and waits until it serves; on the port that it had before, where it was started already."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
        with (self.folder / "log.txt").open("a") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=subprocess.PIPE, stderr=log, text=True, env=clean | self._environment
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, self.log
        self.url = line.split()[-1]
        self._flags["port"] = int(self.url.rpartition(":")[2])
        return self

    @property
    def workers_url(self) -> str:
        """Where providers dial."""
        return self.url.replace("http://", "ws://") + "/v1/workers"

    def kill(self) -> None:
        """kill -9."""
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
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def request(self, method: str, path: str, *, api_key: str = CLIENT_KEYS["alice"], **options: Any) -> httpx.Response:
        """One request with a client's key."""
        headers = {"Authorization": f"Bearer {api_key}"} | options.pop("headers", {})
        return self._http.request(method, self.url + path, headers=headers, **options)

    def post_job(self, *, headers: Mapping[str, str] | None = None, **fields: Any) -> httpx.Response:
        """A small job, by default waited for."""
        body = {"width": 256, "height": 256, "steps": 5, "wait_s": 50} | fields
        if "prompts" not in body:
            body.setdefault("prompt", "a red circle")
        return self.request("POST", "/v1/jobs", json=body, headers=dict(headers or {}))

    def job(self, job_id: str, **query: Any) -> Any:
        """What the hub says of a job."""
        answer = self.request("GET", f"/v1/jobs/{job_id}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, job_id: str) -> Any:
        """The job once it has ended."""
        return wait_until(lambda: job if (job := self.job(job_id, wait_s=5))["ended_at_ms"] else None)


Behaviour = Callable[["DialledProvider", Assignment], Awaitable[None]]


async def serve_honestly(provider: "DialledProvider", assignment: Assignment) -> None:
    """What a good provider does, at once."""
    await provider.deliver(assignment, provider.pictures(assignment))


@dataclass
class DialledProvider:
    """A provider's end of the protocol in a thread of its own; a test says how it behaves. It mints what it is sent."""

    key: PrivateKey
    chain: Chain
    models: tuple[str, ...] = (MODEL,)
    price: int = PRICE
    slots: int = 1
    max_pictures: int = 2
    behaviour: Behaviour = serve_honestly
    device_class: str = "cpu"
    mints: bool = True
    signs: bool = True
    stays_away: bool = False
    """Does not dial again, once its session has ended."""
    assignments: list[Assignment] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    attested: list[Attested] = field(default_factory=list)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    connecting: dict[str, Any] = field(default_factory=dict)
    """More for websockets' `connect`."""
    is_in: threading.Event = field(default_factory=threading.Event)
    _sent: dict[str, tuple[Result, tuple[bytes, ...]]] = field(default_factory=dict)
    _minting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        """As in receipts."""
        return to_checksum_address(self.key.address)

    def dial(self, url: str) -> "DialledProvider":
        """Keeps a session at this hub until `hang_up`; dials again when it ends."""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(url)), daemon=True)
        self._thread.start()
        assert self.is_in.wait(PATIENCE_S)
        return self

    def hang_up(self) -> None:
        """Ends the connection at once, as a power cut would."""
        self._is_over.set()
        self._thread.join(PATIENCE_S)
        self.is_in.clear()

    async def _run(self, url: str) -> None:
        while not self._is_over.is_set():
            with suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                async with connect(
                    url, compression=None, ping_interval=None, close_timeout=0.2, proxy=None, **self.connecting
                ) as socket:
                    await self._session(socket, audience_of(url))
            if self.stays_away and self.is_in.is_set():
                return
            await asyncio.sleep(0.1)

    async def _session(self, socket: ClientConnection, audience: str) -> None:
        self._socket = socket
        self._sending = asyncio.Lock()
        challenge = decode_from_hub((await socket.recv()).encode())  # type: ignore[union-attr]
        assert isinstance(challenge, Challenge)
        self.hub_id = challenge.hub_id
        await self.say(self._hello(challenge, audience))
        tasks: set[asyncio.Task[None]] = set()
        try:
            while not self._is_over.is_set():
                try:
                    async with asyncio.timeout(0.2):
                        frame = await socket.recv()
                except TimeoutError:
                    continue
                if isinstance(frame, bytes):
                    continue  # Files of a question: no provider here looks into them.
                task = asyncio.create_task(self._hear(decode_from_hub(frame.encode())))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            for task in tasks:
                task.cancel()

    def _hello(self, challenge: Challenge, audience: str) -> Hello:
        signature = sign_hello(
            self.key,
            chain_id=challenge.chain_id,
            hub_id=challenge.hub_id,
            audience=audience,
            nonce=parse_hash(challenge.nonce),
            genesis_hash=parse_hash(challenge.genesis_hash),
        )
        offers = tuple(
            ModelOffer(name=name, price_per_unit=str(self.price), is_loaded=True, vram_mib=0) for name in self.models
        )
        return Hello(
            address=self.address,
            signature=to_hex(signature),
            audience=audience,
            models=offers,
            unit_type="images",
            device="a test",
            device_class=self.device_class,
            vram_mib=0,
            slots=self.slots,
            concurrency=self.slots,
            max_pictures=self.max_pictures,
            records_trajectories=False,
            software="test",
        )

    async def say(self, message: Message, files: tuple[bytes, ...] = ()) -> None:
        """A message with its files."""
        async with self._sending:
            await self._socket.send(encode(message).decode())
            for file in files:
                for start in range(0, len(file), CHUNK_BYTES):
                    await self._socket.send(file[start : start + CHUNK_BYTES])

    async def _hear(self, message: Message) -> None:
        match message:
            case Welcome():
                self.is_in.set()
                for attested in list(self.attested):  # What an outbox still has from before.
                    await self._pay(attested)
            case Heartbeat():
                await self.say(Heartbeat(busy_slots=0, waiting_pictures=0, loaded=self.models))
            case Assignment():
                self.assignments.append(message)
                await self.say(Accepted(lease_id=message.lease_id))
                await self.behaviour(self, message)
            case Taken():
                self.taken.append(message.lease_id)
            case Cancel():
                self.cancelled.append(message.lease_id)
            case Refused():
                self.refusals.append(message)
                if message.reason == TRY_AGAIN and message.about in self._sent:
                    await asyncio.sleep(min(message.retry_after_s or 0.0, 1.0))
                    await self.say(*self._sent[message.about])
            case SignReceipt():
                await self._sign(message)
            case Attested():
                await self._take(message)
            case _:
                order_id = getattr(message, "order_id", None)
                if order_id is not None:
                    await self.say(Refused(about=order_id, reason="not_now", detail="a test's provider checks nobody"))

    # Work

    def pictures(self, assignment: Assignment) -> list[bytes]:
        """Those that were asked for."""
        run = assignment.run
        prompts = run.prompts if len(run.prompts) > 1 else run.prompts * run.count
        return [draw(prompt, run.seed_of(index), run.width, run.height) for index, prompt in enumerate(prompts)]

    def receipt(self, assignment: Assignment, pictures: list[bytes], **changes: Any) -> Receipt:
        """An honest one, but for `changes`."""
        units, price, now = MICRO * len(pictures), int(assignment.price_per_unit), int(time.time())
        signature = assignment.client_signature
        fields: dict[str, Any] = {
            "job_id": assignment.job_id,
            "provider": self.key.address,
            "client": assignment.client,
            "micro_units": units,
            "unit_type": assignment.unit_type,
            "model": assignment.run.model,
            "prompt_hash": assignment.run.prompt_hash(octets_of(assignment.prompt_salt)),
            "request_hash": parse_hash(assignment.request_hash),
            "client_signature": None if signature is None else parse_hex(signature),
            "started_at": now,
            "finished_at": now,
            "artifact_sha256": combined_artifact_sha256([hashlib.sha256(each).digest() for each in pictures]),
            "nonce": assignment.lease_id,
            "hub_id": self.hub_id,
            "chain_id": self.chain.chain_id,
            "price_per_unit": Amount(price),
            "amount": compute_amount(units, price),
        }
        return Receipt(**(fields | changes))

    async def deliver(self, assignment: Assignment, pictures: list[bytes], **changes: Any) -> None:
        """These pictures, with a receipt for them."""
        receipt = self.receipt(assignment, pictures, **changes)
        self.receipts[to_hex(receipt.hash)] = receipt
        run = assignment.run
        result = Result(
            lease_id=assignment.lease_id,
            receipt=raw_json(receipt.to_object()),
            provider_signature=to_hex(sign_receipt(self.key, receipt)),
            seeds=tuple(run.seed_of(index) for index in range(run.count)),
            profiles=(),
            duration_ms=5,
            compute_microseconds=5_000,
            gpu="a test",
            pictures=tuple(attachment_of(each) for each in pictures),
        )
        self._sent[assignment.lease_id] = (result, tuple(pictures))
        await self.say(result, tuple(pictures))

    async def _sign(self, order: SignReceipt) -> None:
        if not self.signs:
            await self.say(Refused(about=order.order_id, reason="wrong_shards", detail="not mine"))
            return
        receipt = Receipt.from_json(bytes(order.receipt))
        self.receipts[to_hex(receipt.hash)] = receipt
        await self.say(ReceiptSigned(order_id=order.order_id, signature=to_hex(sign_receipt(self.key, receipt))))

    async def _take(self, attested: Attested) -> None:
        self.attested.append(attested)
        await self.say(AttestationTaken(receipt_hash=attested.receipt_hash, state="attested"))
        await self._pay(attested)

    async def _pay(self, attested: Attested) -> None:
        receipt = self.receipts.get(attested.receipt_hash)
        if self.mints and receipt is not None and receipt.provider == self.key.address:
            await asyncio.to_thread(self._mint, receipt, attested)

    def _mint(self, receipt: Receipt, attested: Attested) -> None:
        """One after the other, as an outbox does; again while the chain is away, and not what is used already."""
        with self._minting:
            while not self._is_over.is_set():
                with suppress(NodeError):
                    if not self.is_used(attested.receipt_hash):
                        self._send_mint(receipt, attested)
                    return
                time.sleep(0.2)

    def is_used(self, receipt_hash: str) -> bool:
        """Whether the chain has taken it."""
        try:
            self.chain.node.receipt(receipt_hash)
        except NodeRefused:
            return False
        return True

    def _send_mint(self, receipt: Receipt, attested: Attested) -> None:
        payment = Payment.of(receipt, ReceiptForm(attested.form), attested.settlement)
        self.chain.send(self.key, *payment.call(octets_of(attested.signatures)))
