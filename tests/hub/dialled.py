"""A provider that dials in and does what a test says: the real protocol, in a thread of its own."""

import asyncio
import hashlib
import io
import random
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from chain.client import NodeError, NodeRefused
from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.hub_messages import Assignment, Attested, Cancel, Challenge, SignReceipt, Taken, Welcome
from chain.primitives.keys import PrivateKey
from chain.primitives.provider_messages import Accepted, AttestationTaken, Hello, ReceiptSigned, Result
from chain.primitives.receipt import Receipt, combined_artifact_sha256, sign_receipt
from chain.primitives.types import Amount
from chain.primitives.units import MICRO, compute_amount
from chain.primitives.worker_fields import ModelOffer, octets_of
from chain.primitives.worker_hello import audience_of, sign_hello
from chain.primitives.worker_message import Heartbeat, Message, Refused
from chain.primitives.worker_messages import CHUNK_BYTES, attachment_of, decode_from_hub, encode, raw_json
from hub.workers.intake import TRY_AGAIN
from provider.minting.payment import Payment
from provider.storage.rows import ReceiptForm
from tests.hub.running import MODEL, PATIENCE_S, PRICE, Chain


def draw(prompt: str, seed: int, width: int, height: int) -> bytes:
    """A picture that follows from what was asked: blocks of colour, different enough to be no copies."""
    dice = random.Random(f"{prompt}/{seed}")
    small = Image.frombytes("RGB", (16, 16), dice.randbytes(16 * 16 * 3))
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


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
