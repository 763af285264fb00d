"""One authenticated peer: a task that reads, one that writes, one that keeps time; the first to end, ends all three."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from chain.consensus.effects import PeerId
from chain.consensus.messages import BlockMessage, GetBlock, GetRange, Message, Range, Status, decode_message
from chain.node.peers.bans import address_group
from chain.node.peers.frames import Chunk, FrameOpener, FrameSealer, Lane, lane_of
from chain.node.peers.handshake import Session
from chain.node.peers.inbox import Inbox, max_block_message_bytes
from chain.node.peers.messages import Control, Neighbours, Ping, Pong, Transactions, Urls
from chain.node.peers.outbox import Outbox, PeerTooSlow
from chain.node.peers.quotas import PeerQuota, ThrottleMeter
from chain.node.peers.settings import PeerSettings, PeerView
from chain.node.peers.sockets import CloseCode, Socket, SocketClosed
from chain.primitives import message_pack
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.parameters import PARAMETER_BOUNDS
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address

_LARGEST_BLOCK_BYTES: Final = PARAMETER_BOUNDS["max_block_bytes"][1]
"""What a peer may send does not hang on the parameter's value: who is behind does not know the present one yet."""
_SHORTEST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 5.0
_MESSAGES_PER_TURN: Final = 32
"""Of one peer, before the others have theirs."""
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node.peers")


@dataclass(frozen=True, slots=True)
class End:
    """Why a connection has ended."""

    code: int
    reason: str
    is_fault: bool = False
    """The peer has done what no honest one does: it is kept away for a while."""


class Owner(Protocol):
    """Who takes what a connection receives."""

    async def take_message(self, connection: "Connection", message: Message) -> None:
        """A message between engines."""

    async def take_transactions(self, connection: "Connection", raws: tuple[bytes, ...]) -> bool:
        """Waits while too many of the peer's wait already; whether it did because the peer is over its quota."""

    def take_urls(self, connection: "Connection", urls: tuple[str, ...]) -> None:
        """Where the peer has found others."""


class Connection:
    """A peer, from the handshake's success to its end."""

    def __init__(
        self,
        socket: Socket,
        session: Session,
        owner: Owner,
        *,
        settings: PeerSettings,
        is_inbound: bool,
        max_block_bytes: int,
    ) -> None:
        now_s = time.monotonic()
        self.peer: PeerId = to_checksum_address(session.identity)
        self.identity: Address = session.identity
        self.instance = session.instance
        self.listen_url = session.listen_url
        self.is_inbound = is_inbound
        self.is_validator = False
        self._has_standing = False
        self.host = socket.host
        self.group = address_group(socket.host)
        self.neighbours: frozenset[bytes] = frozenset()
        self.outbox = Outbox(max_block_message_bytes(max_block_bytes))
        self.inbox = Inbox(_LARGEST_BLOCK_BYTES)
        self.started_s = now_s
        self.unasked = 0
        """Answers that came although nobody had asked."""
        self._socket = socket
        self._owner = owner
        self._settings = settings
        self._sealer = FrameSealer(session.sending_key)
        self._opener = FrameOpener(session.receiving_key)
        self._quota = PeerQuota(settings.other_quota, None, now_s)
        self._meter = ThrottleMeter(now_s)
        self._closing: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._heard_s = now_s
        self._is_reading = True
        self._sending_since_s: float | None = None
        self._ping: tuple[int, float] | None = None
        self._pings = 0
        self._rtt_ms: float | None = None
        self._bytes_sent = 0
        self._bytes_received = 0
        self._status = Status(0, 0, 0)

    def set_standing(self, *, is_validator: bool, others_together: PeerQuota) -> None:
        """Whether the peer is a validator of the present epoch. Where that changes, a new quota begins."""
        if self._has_standing and is_validator == self.is_validator:
            return
        self._has_standing = True
        self.is_validator = self.inbox.is_validator = is_validator
        quota = self._settings.validator_quota if is_validator else self._settings.other_quota
        self._quota = PeerQuota(quota, None if is_validator else others_together, time.monotonic())

    def set_max_block_bytes(self, max_block_bytes: int) -> None:
        """Governance has changed it."""
        self.outbox.max_block_message_bytes = max_block_message_bytes(max_block_bytes)

    def send(self, message: Message, encoded: bytes) -> None:
        """Queues a message of an engine's."""
        if isinstance(message, GetBlock | GetRange):
            self.inbox.expect_answer(time.monotonic())
        self.put(lane_of(message), encoded)

    def put(self, lane: Lane, encoded: bytes) -> None:
        """Queues a message. A peer that does not take urgent ones is left."""
        try:
            self.outbox.put(lane, encoded, time.monotonic())
        except PeerTooSlow as slow:
            self.close(End(CloseCode.TOO_SLOW, str(slow)))

    def close(self, end: End) -> None:
        """Begins the end; the first reason counts."""
        if not self._closing.done():
            self._closing.set_result(end)

    async def run(self) -> End:
        """Until one side ends it."""
        tasks = [
            asyncio.create_task(self._end_of(work), name=f"{name} {self.peer}")
            for name, work in (("read", self._read()), ("write", self._write()), ("time", self._keep_time()))
        ]
        try:
            end = await asyncio.shield(self._closing)
        except asyncio.CancelledError:
            end = End(CloseCode.GOING_AWAY, "this node stops")
            raise
        finally:
            self.close(end)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._socket.close(end.code, end.reason)
        return end

    def view(self) -> PeerView:
        """For people and metrics."""
        return PeerView(
            peer=self.peer,
            address=self.identity,
            is_validator=self.is_validator,
            is_inbound=self.is_inbound,
            url=self.listen_url,
            remote=self._socket.remote,
            epoch=self._status.epoch,
            view=self._status.view,
            height=self._status.height,
            rtt_ms=self._rtt_ms,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            queued_bytes=self.outbox.queued_bytes,
            connected_s=time.monotonic() - self.started_s,
        )

    async def _end_of(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except SocketClosed as closed:
            self.close(End(closed.code, str(closed)))
        except Rejected as rejected:
            self.close(End(CloseCode.MISBEHAVED, str(rejected), is_fault=True))
        except Exception as error:  # noqa: BLE001 - a fault of this node's; the others' connections must go on
            _log.exception("peer_connection_failed", peer=self.peer, fault=str(error))
            self.close(End(CloseCode.GOING_AWAY, "a fault in this node"))

    async def _read(self) -> None:
        while True:
            self._heard_s, self._is_reading = time.monotonic(), True
            frame = await self._socket.receive()
            self._heard_s, self._is_reading = time.monotonic(), False
            self._bytes_received += len(frame)
            chunks = self._opener.open(frame)
            free_bytes = sum(len(chunk.piece) for chunk in chunks if self._is_asked_for(chunk))
            self._quota.take_frame(len(frame) - free_bytes, len(chunks), self._heard_s)
            for index, chunk in enumerate(chunks):
                if index % _MESSAGES_PER_TURN == 0:
                    await asyncio.sleep(0)
                encoded = self.inbox.add(chunk, self._heard_s)
                if encoded is not None:
                    await self._take(chunk.lane, encoded)
                    await self._throttle()
            await self._throttle()

    def _is_asked_for(self, chunk: Chunk) -> bool:
        return chunk.lane in (Lane.BLOCKS, Lane.RANGES) and self.inbox.expects_answer(self._heard_s)

    async def _throttle(self) -> None:
        """Reads nothing for a while: the peer's writing then stops, too."""
        began_s = time.monotonic()
        delay_s = self._quota.delay_s(began_s)
        if delay_s > _SHORTEST_PAUSE_S:
            is_own_doing = self._quota.own_delay_s(began_s) > _SHORTEST_PAUSE_S
            await asyncio.sleep(min(delay_s, _LONGEST_PAUSE_S))
            if is_own_doing:
                self._count_wait(time.monotonic() - began_s)

    def _count_wait(self, waited_s: float) -> None:
        if self._meter.add(waited_s, time.monotonic()) > self._settings.max_throttled_s:
            end = End(CloseCode.MISBEHAVED, "over its quota for too long", is_fault=not self.is_validator)
            self.close(end)

    async def _take(self, lane: Lane, encoded: bytes) -> None:
        match lane:
            case Lane.CONTROL:
                control: Control = message_pack.decode(encoded, Control)  # type: ignore[arg-type]
                self._quota.take_control(control, time.monotonic())
                self._take_control(control)
            case Lane.TRANSACTIONS:
                raws = message_pack.decode(encoded, Transactions).raws
                began_s = time.monotonic()
                if await self._owner.take_transactions(self, raws):
                    self._count_wait(time.monotonic() - began_s)
            case _:
                await self._take_message(lane, decode_message(encoded))

    async def _take_message(self, lane: Lane, message: Message) -> None:
        if lane is not lane_of(message):
            self.close(End(CloseCode.MISBEHAVED, "a message on the wrong lane", is_fault=True))
            return
        now_s = time.monotonic()
        self._quota.take_message(message, now_s)
        if isinstance(message, BlockMessage | Range) and not self.inbox.take_answer(now_s):
            self.unasked += 1
            return
        if isinstance(message, Status):
            self._status = message
        await self._owner.take_message(self, message)

    def _take_control(self, control: Control) -> None:
        match control:
            case Ping():
                self.put(Lane.CONTROL, message_pack.encode(Pong(control.number)))
            case Pong():
                if self._ping is not None and self._ping[0] == control.number:
                    self._rtt_ms = (time.monotonic() - self._ping[1]) * 1000
                    self._ping = None
            case Neighbours():
                self.neighbours = frozenset(control.identities)
            case Urls():
                self._owner.take_urls(self, control.urls)

    async def _write(self) -> None:
        while True:
            chunks = await self.outbox.next_chunks()
            frame = self._sealer.seal(chunks)
            self._sending_since_s = time.monotonic()
            await self._socket.send(frame)
            self._sending_since_s = None
            self._bytes_sent += len(frame)
            await asyncio.sleep(0)  # While the kernel takes everything, `send` never waits.

    async def _keep_time(self) -> None:
        while True:
            self._check_times(time.monotonic())
            if self._ping is None:
                self._pings += 1
                self._ping = (self._pings, time.monotonic())
            self.put(Lane.CONTROL, message_pack.encode(Ping(self._ping[0])))
            slept_s = time.monotonic()
            await asyncio.sleep(self._settings.heartbeat_s)
            if time.monotonic() - slept_s > 2 * self._settings.heartbeat_s:
                self._heard_s = time.monotonic()  # It was this process that stood still.
                self._sending_since_s = None

    def _check_times(self, now_s: float) -> None:
        waits = [since for since in (self._sending_since_s, self.outbox.waits_since()) if since is not None]
        if self._is_reading and now_s - self._heard_s > self._settings.dead_after_s:
            self.close(End(CloseCode.TOO_SLOW, f"silent for {now_s - self._heard_s:.0f} s"))
        elif waits and now_s - min(waits) > self._settings.slow_after_s:
            self.close(End(CloseCode.TOO_SLOW, "does not take what is sent"))
        elif self.inbox.is_overdue(now_s):
            self.close(End(CloseCode.MISBEHAVED, "a message that never ends", is_fault=True))
