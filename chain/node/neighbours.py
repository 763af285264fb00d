"""This node among its peers: what they say goes to the engine, to `CatchUp` or to the mempool, and is answered.

The engine's effects that concern peers end here too.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

import structlog

from chain.consensus.effects import (
    Ask,
    Blame,
    BlockCommitted,
    ChainReceived,
    Event,
    FetchFinal,
    KeepEvidence,
    MessageReceived,
    PeerConnected,
    PeerId,
    Send,
    SetTimer,
    Settings,
)
from chain.consensus.messages import GetBlock, GetRange, Message, Range, Status
from chain.consensus.simplex import SimplexEngine
from chain.node.blocks import BlockWork
from chain.node.catching_up.catch_up import (
    BlockHead,
    CatchUp,
    CatchUpEvent,
    FetchWanted,
    HeadMoved,
    PeerJoined,
    PeerLeft,
    PeerStatus,
    Progress,
    RangeReceived,
    Tick,
)
from chain.node.clock import monotonic_ms
from chain.node.intake import Forged, Intake
from chain.node.ledger import Ledger
from chain.node.metrics import NodeMetrics
from chain.node.peers.network import PeerNetwork
from chain.node.serving import Serving
from chain.node.timers import Timers
from chain.primitives import message_pack
from chain.primitives.certificate import verify_certificate
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from chain.rules.state import State
from chain.storage.errors import StorageError
from chain.storage.keys import evidence_key

_REPEAT_TIMER: Final = "repeat"
_REPEAT_INTERVAL_MS: Final = 1_500

_PROGRESS_INTERVAL_MS: Final = 5_000

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node")


class Neighbours:
    """See the module. It is the network's handler and the driver's messenger; everything is on the event loop."""

    def __init__(
        self,
        ledger: Ledger,
        engine: SimplexEngine,
        blocks: BlockWork,
        network: PeerNetwork,
        *,
        intake: Intake,
        thread: Executor,
        metrics: NodeMetrics,
        on_event: Callable[[Event], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """`thread` reads the disk for peers; `on_event` takes what is for the engine."""
        self._ledger = ledger
        self._engine = engine
        self._blocks = blocks
        self._network = network
        self._intake = intake
        self._metrics = metrics
        self._thread = thread
        self._logged_at_ms = monotonic_ms() - _PROGRESS_INTERVAL_MS
        self._on_error = on_error
        self._serving = Serving(ledger, engine, network, thread=thread)
        self._catch_up = CatchUp(head=BlockHead(ledger.head.height, ledger.head.block_hash))
        self._timers = Timers(self._on_timer)
        self._settings = ledger.settings()
        self._on_event = on_event
        self._pending: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Begins to dial and to answer."""
        self._tell_network(self._settings)
        self._timers.set(SetTimer(_REPEAT_TIMER, _REPEAT_INTERVAL_MS))
        await self._network.start(self)

    async def stop(self) -> None:
        """Leaves."""
        await self._network.stop()  # The last peers to go still set timers.
        self._timers.cancel()
        self._serving.stop()

    def progress(self) -> Progress:
        """How far this node is, and how far it knows others to be."""
        validators = frozenset(to_checksum_address(address) for address in self._settings.validators)
        return self._catch_up.progress(monotonic_ms(), validators=validators)

    # From the network

    def on_connected(self, peer: PeerId) -> None:
        """A peer can be spoken to."""
        self._serving.tell(peer)
        self._tell_catch_up(PeerJoined(peer))
        self._on_event(PeerConnected(peer))

    def on_disconnected(self, peer: PeerId, reason: str) -> None:
        """It is gone."""
        _log.debug("peer_gone", peer=peer, reason=reason)
        self._tell_catch_up(PeerLeft(peer))

    async def on_message(self, peer: PeerId, message: Message) -> None:
        """One message of a peer's; the next one comes when this is done."""
        try:
            await self._take(peer, message)
        except StorageError as error:
            self._on_error(error)

    async def _take(self, peer: PeerId, message: Message) -> None:
        match message:
            case GetBlock():
                await self._serving.give_block(peer, message)
            case GetRange():
                await self._serving.give_range(peer, message)
            case Range():
                self._tell_catch_up(RangeReceived(peer, message))
            case Status():
                self._tell_catch_up(PeerStatus(peer, message.height))
                self._on_event(MessageReceived(peer, message))
            case _:
                self._on_event(MessageReceived(peer, message))

    async def on_transactions(self, peer: PeerId, raws: tuple[bytes, ...]) -> None:
        """Transactions that a peer passes on."""
        try:
            await self._intake.take(peer, raws)
        except Forged as forged:
            self._network.blame(peer, str(forged))

    def on_error(self, error: Exception) -> None:
        """The network cannot go on, so this node cannot."""
        self._on_error(error)

    # From the driver

    def send(self, send: Send | Ask) -> None:
        """Says something to peers."""
        if isinstance(send, Send):
            self._network.send(send.message, send.peer)
        else:
            self._network.ask(send.message, send.peer)

    def on_task(self, task: FetchFinal | KeepEvidence | Blame) -> None:
        """What the engine wants of peers, or of the record on them."""
        match task:
            case FetchFinal(peer):
                self._tell_catch_up(FetchWanted(peer))
            case Blame(peer, reason):
                self._network.blame(peer, reason)
            case KeepEvidence():
                self._keep(task)

    def after_commit(self, committed: BlockCommitted) -> None:
        """The engine knows of this commit now."""
        head = self._ledger.head
        if committed.settings.epoch != self._settings.epoch:
            _log.info("epoch", epoch=committed.settings.epoch, validators=len(committed.settings.validators))
        self._settings = committed.settings
        self._tell_network(self._settings)
        self._tell_catch_up(HeadMoved(head.height, head.block_hash))
        if self._blocks.is_head_synced:
            self._serving.tell_all()

    def _tell_network(self, settings: Settings) -> None:
        self._network.set_validators(settings.validators)
        self._network.set_max_block_bytes(State(self._ledger.view()).parameters().max_block_bytes)

    def _keep(self, evidence: KeepEvidence) -> None:
        first, second = evidence.first, evidence.second
        self._metrics.evidence.inc()
        _log.error(
            "validator_contradicts_itself",
            validator=to_checksum_address(self._settings.validators[first.signer]),
            epoch=first.epoch,
            view=first.view,
            first=first.kind.name.lower(),
            second=second.kind.name.lower(),
        )
        key, value = evidence_key(first.epoch, first.signer), message_pack.encode((first, second))
        loop = asyncio.get_running_loop()
        keeping = loop.run_in_executor(self._thread, self._ledger.store.keep_evidence, key, value)
        keeping.add_done_callback(self._on_done)
        self._pending.add(keeping)

    def _on_done(self, done: asyncio.Future[None], then: Callable[[], None] | None = None) -> None:
        self._pending.discard(done)
        error = done.exception()
        if isinstance(error, Exception):
            self._on_error(error)
        elif then is not None:
            then()

    # Catching up

    def _tell_catch_up(self, event: CatchUpEvent) -> None:
        try:
            effects = self._catch_up.handle(event, monotonic_ms())
        except Exception as error:  # noqa: BLE001 - a fault of this node's must not look like one of a peer's
            self._on_error(error)
            return
        for send in effects.sends:
            self._network.send(send.message, send.peer)
        for timer in effects.timers:
            self._timers.set(timer)
        for blame in effects.blames:
            self._network.blame(blame.peer, blame.reason)
        for chain in effects.chains:
            self._hand_over(chain)

    def _hand_over(self, chain: ChainReceived) -> None:
        """To the engine, once a thread has recovered the certificates' signatures: it will find them in the cache."""
        self._log_progress()
        loop = asyncio.get_running_loop()
        recovering = loop.run_in_executor(self._thread, self._recover, chain, self._settings.validators)
        recovering.add_done_callback(lambda done: self._on_done(done, lambda: self._on_event(chain)))
        self._pending.add(recovering)

    def _log_progress(self) -> None:
        """A line now and then while it goes on for long."""
        if monotonic_ms() - self._logged_at_ms >= _PROGRESS_INTERVAL_MS:
            self._logged_at_ms = monotonic_ms()
            progress = self.progress()
            _log.info(
                "catching_up",
                height=progress.height,
                target_height=progress.target_height,
                blocks_per_second=round(progress.blocks_per_second, 1),
            )

    def _recover(self, chain: ChainReceived, validators: tuple[Address, ...]) -> None:
        for _, certificate in chain.links:
            if certificate is not None:
                with contextlib.suppress(Rejected):  # The engine will say what is wrong with it.
                    verify_certificate(
                        certificate,
                        genesis_hash=self._ledger.network.genesis_hash,
                        validators=validators,
                        recover=self._ledger.signatures.recover,
                    )

    def _on_timer(self, name: str) -> None:
        try:
            if name == _REPEAT_TIMER:
                self._timers.set(SetTimer(_REPEAT_TIMER, _REPEAT_INTERVAL_MS))
                self._intake.repeat()
            else:
                self._tell_catch_up(Tick())
        except Exception as error:  # noqa: BLE001 - in a timer's callback it would only be logged
            self._on_error(error)
