"""A hub's workers on a socket, a desk that keeps what it is given, and a provider that says what a test wants."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from fastapi import FastAPI
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from chain.primitives.hexadecimal import parse_hash, to_checksum_address, to_hex
from chain.primitives.hub_messages import Assignment, Challenge, Outstanding, Welcome
from chain.primitives.keys import PrivateKey
from chain.primitives.provider_messages import Hello, Result
from chain.primitives.receipt import Receipt, combined_artifact_sha256, sign_receipt
from chain.primitives.types import Address, Amount
from chain.primitives.units import MICRO, compute_amount
from chain.primitives.worker_fields import ModelOffer, PictureRun
from chain.primitives.worker_hello import audience_of, sign_hello
from chain.primitives.worker_message import Heartbeat, Message
from chain.primitives.worker_messages import CHUNK_BYTES, attachment_of, decode_from_hub, encode, raw_json
from chain.web.server import Server, listen
from hub.workers.desk import (
    Delivery,
    Grant,
    HubIdentity,
    LeaseProgress,
    WorkerView,
)
from hub.workers.errors import ResultRefused
from hub.workers.intake import SessionTools
from hub.workers.mailbox import Mailbox
from hub.workers.spool import Spool
from hub.workers.workers import PATH, WorkerBounds, Workers

HUB: Final = HubIdentity("main-hub", 424_242, "0x" + "17" * 32)
PATIENCE_S: Final = 60.0
"""What nothing in these tests should ever take."""
REQUEST_HASH: Final = "0x" + "ab" * 32
SALT: Final = bytes(range(32))
M = TypeVar("M", bound=Message)


class KeepingDesk:
    """Gives out `waiting`, keeps everything that it is told; `open` are leases as the database would have them."""

    def __init__(self) -> None:
        self.waiting: list[Grant] = []
        self.open: dict[str, Grant] = {}
        self.delivered_pictures: dict[str, tuple[bytes, ...]] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.returns: list[tuple[str, str, bool]] = []
        self.progresses: list[tuple[str, LeaseProgress]] = []
        self.closed_sessions: list[str] = []
        self.refusal: ResultRefused | None = None
        self.trouble: Exception | None = None
        self.looked_at: list[str] = []
        self.open_checks = 0
        """Of what was delivered, as the database would have them."""
        self.questions = 0
        """How often it was asked what is open."""
        self.gate = asyncio.Event()
        """Results are kept, and questions answered, while it is open."""
        self.gate.set()
        self.news = asyncio.Event()

    async def assign(self, workers: Sequence[WorkerView]) -> Sequence[Grant]:
        present = {view.address for view in workers}
        granted = [grant for grant in self.waiting if grant.provider in present]
        self.waiting = [grant for grant in self.waiting if grant not in granted]
        self.open.update({grant.lease_id: grant for grant in granted})
        return granted

    async def open_grants(self, provider: Address) -> Sequence[Grant]:
        return [grant for grant in self.open.values() if grant.provider == provider]

    async def opened(self, view: WorkerView) -> None:
        self.news.set()

    async def closed(self, session_id: str) -> None:
        self.closed_sessions.append(session_id)
        self.news.set()

    async def progress(self, lease_id: str, progress: LeaseProgress) -> None:
        self.progresses.append((lease_id, progress))
        self.news.set()

    async def delivered(self, delivery: Delivery) -> None:
        self.looked_at.append(delivery.lease_id)
        await self.gate.wait()
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        if self.refusal is not None:
            raise self.refusal
        self.delivered_pictures[delivery.lease_id] = tuple(file.path.read_bytes() for file in delivery.pictures)
        self.deliveries[delivery.lease_id] = delivery
        self.open.pop(delivery.lease_id, None)
        self.news.set()

    async def is_taken(self, lease_id: str, provider: Address, receipt_hash: str) -> bool:
        kept = self.deliveries.get(lease_id)
        return kept is not None and (kept.provider, to_hex(kept.receipt.hash)) == (provider, receipt_hash)

    async def outstanding(self, provider: Address, order_id: str) -> Outstanding:
        self.questions += 1
        await self.gate.wait()
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        open_leases = len(await self.open_grants(provider))
        return Outstanding(order_id=order_id, leases=open_leases, checks=self.open_checks, jobs=0, attestations=0)

    async def returned(
        self, lease_id: str, reason: str, detail: str, *, is_fault: bool, retry_after_s: float | None = None
    ) -> None:
        self.returns.append((lease_id, reason, is_fault))
        self.open.pop(lease_id, None)
        self.news.set()


@dataclass
class OpenRegistry:
    """Everybody is registered but those who are named here."""

    strangers: set[Address] = field(default_factory=set)
    bans: dict[Address, str] = field(default_factory=dict)
    trouble: Exception | None = None

    async def is_registered(self, provider: Address) -> bool:
        if self.trouble is not None:
            raise self.trouble
        return provider not in self.strangers

    async def ban_of(self, provider: Address) -> str | None:
        return self.bans.get(provider)


@dataclass
class RunningHub:
    """Workers that answer on a socket."""

    url: str
    port: int
    workers: Workers
    desk: KeepingDesk
    registry: OpenRegistry
    spool: Path


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    desk: KeepingDesk | None = None,
    registry: OpenRegistry | None = None,
    port: int = 0,
    hub: HubIdentity = HUB,
    mailbox: Mailbox | None = None,
    **bounds: Any,
) -> AsyncIterator[RunningHub]:
    """A hub's workers until the block ends, with the server that a hub has."""
    desk, registry = desk or KeepingDesk(), registry or OpenRegistry()
    quick = replace(WorkerBounds(poll_s=0.2, heartbeat_s=5.0), **bounds)
    workers = Workers(SessionTools(hub, desk, Spool(folder / "spool")), registry, quick, mailbox)
    application = FastAPI()
    application.router.routes.append(WebSocketRoute(PATH, workers))
    listener = listen("127.0.0.1", port)
    port = listener.getsockname()[1]
    ready = asyncio.Event()
    server = Server(application, listener, max_connections=4_000)
    serving_task = asyncio.create_task(server.serve(lambda _url: ready.set()))
    running = asyncio.create_task(workers.run())
    try:
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        yield RunningHub(f"ws://127.0.0.1:{port}{PATH}", port, workers, desk, registry, folder / "spool")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await workers.drain(0)
        server.stop()
        await asyncio.wait_for(serving_task, PATIENCE_S)


async def until(condition: Callable[[], object]) -> None:
    """Waits for something that must become true."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds
            await asyncio.sleep(0.01)


class Peer:
    """A provider's end, frame by frame."""

    def __init__(self, connection: ClientConnection, key: PrivateKey, audience: str) -> None:
        self.connection = connection
        self.key = key
        self.audience = audience
        self.challenge: Challenge | None = None

    async def send(self, message: Message, files: Sequence[bytes] = ()) -> None:
        await self.connection.send(encode(message).decode())
        for file in files:
            for start in range(0, len(file), CHUNK_BYTES):
                await self.connection.send(file[start : start + CHUNK_BYTES])

    async def receive(self) -> Message | bytes:
        async with asyncio.timeout(PATIENCE_S):
            frame = await self.connection.recv()
        return frame if isinstance(frame, bytes) else decode_from_hub(frame)

    async def expect(self, kind: type[M]) -> M:
        """The next message but heartbeats, which must be of this kind."""
        while True:
            message = await self.receive()
            if not isinstance(message, Heartbeat):
                assert isinstance(message, kind), message
                return message

    async def ended(self) -> str:
        """The reason with which the hub closes."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while True:
                    await self.connection.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.reason if closed.rcvd is not None else ""

    def hello(self, audience: str | None = None, **changes: Any) -> Hello:
        """What an honest provider answers to the challenge; `audience` is the hub's own if it has dialled that."""
        audience = audience or self.audience
        assert self.challenge is not None
        signature = sign_hello(
            self.key,
            chain_id=self.challenge.chain_id,
            hub_id=self.challenge.hub_id,
            audience=audience,
            nonce=parse_hash(self.challenge.nonce),
            genesis_hash=parse_hash(self.challenge.genesis_hash),
        )
        fields: dict[str, Any] = {
            "address": to_checksum_address(self.key.address),
            "signature": to_hex(signature),
            "audience": audience,
            "models": (ModelOffer(name="aitbc/tiny-sd", price_per_unit="100", is_loaded=True, vram_mib=0),),
            "unit_type": "images",
            "device": "a test",
            "device_class": "cpu",
            "vram_mib": 0,
            "slots": 1,
            "concurrency": 4,
            "max_pictures": 4,
            "records_trajectories": False,
            "software": "test",
        }
        return Hello(**(fields | changes))


def key_of(number: int) -> PrivateKey:
    """One of many providers'."""
    return PrivateKey(hashlib.sha256(b"worker %d" % number).digest())


@asynccontextmanager
async def dialled(url: str, number: int = 1, **options: Any) -> AsyncIterator[Peer]:
    """A connection that has its challenge and has said nothing."""
    async with connect(url, compression=None, ping_interval=None, close_timeout=1, proxy=None, **options) as connection:
        peer = Peer(connection, key_of(number), audience_of(url))
        peer.challenge = await peer.expect(Challenge)
        yield peer


@asynccontextmanager
async def joined(url: str, number: int = 1, **changes: Any) -> AsyncIterator[Peer]:
    """A provider that is in."""
    async with dialled(url, number) as peer:
        await peer.send(peer.hello(**changes))
        await peer.expect(Welcome)
        yield peer


def run_of(count: int = 1, **changes: Any) -> PictureRun:
    """Small pictures."""
    fields: dict[str, Any] = {
        "model": "aitbc/tiny-sd",
        "prompts": ("a red circle",),
        "steps": 5,
        "guidance": 2.5,
        "width": 256,
        "height": 256,
        "seed": 7,
        "count": count,
    }
    return PictureRun(**(fields | changes))


def grant_to(number: int, lease_id: str = "lease-1", *, deadline_s: float = 600.0, **changes: Any) -> Grant:
    """A piece of work for one of the providers."""
    fields: dict[str, Any] = {
        "lease_id": lease_id,
        "job_id": "job-1",
        "client": "alice",
        "request_hash": REQUEST_HASH,
        "prompt_salt": to_hex(SALT),
        "run": run_of(),
        "unit_type": "images",
        "price_per_unit": "100",
        "deadline_s": deadline_s,
    }
    return Grant(key_of(number).address, Assignment(**(fields | changes)), deadline_s)


def receipt_for(key: PrivateKey, assignment: Assignment, pictures: Sequence[bytes], **changes: Any) -> Receipt:
    """What an honest provider makes out."""
    units = MICRO * len(pictures)
    price = int(assignment.price_per_unit)
    fields: dict[str, Any] = {
        "job_id": assignment.job_id,
        "provider": key.address,
        "client": assignment.client,
        "micro_units": units,
        "unit_type": assignment.unit_type,
        "model": assignment.run.model,
        "prompt_hash": assignment.run.prompt_hash(SALT),
        "request_hash": parse_hash(assignment.request_hash),
        "started_at": 1_800_000_000,
        "finished_at": 1_800_000_001,
        "artifact_sha256": combined_artifact_sha256([hashlib.sha256(each).digest() for each in pictures]),
        "nonce": assignment.lease_id,
        "hub_id": HUB.hub_id,
        "chain_id": HUB.chain_id,
        "price_per_unit": Amount(price),
        "amount": compute_amount(units, price),
    }
    return Receipt(**(fields | changes))


def result_for(
    key: PrivateKey,
    assignment: Assignment,
    pictures: Sequence[bytes],
    *,
    signer: PrivateKey | None = None,
    **changes: Any,
) -> Result:
    """The message, with a receipt that has these changes."""
    receipt = receipt_for(key, assignment, pictures, **changes)
    run = assignment.run
    return Result(
        lease_id=assignment.lease_id,
        receipt=raw_json(receipt.to_object()),
        provider_signature=to_hex(sign_receipt(signer or key, receipt)),
        seeds=tuple(run.seed_of(index) for index in range(run.count)),
        profiles=(),
        duration_ms=5,
        compute_microseconds=5_000,
        gpu="a test",
        pictures=tuple(attachment_of(each) for each in pictures),
    )
