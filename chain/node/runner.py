"""A node at work: ledger, engine, journal, mempool and peers, wired to asyncio, threads and a clock.

The event loop holds the engine, the mempool and the peers. Three threads work beside it: one executes, builds and
commits blocks, one syncs the vote journal, one reads the disk for peers and recovers the signatures of what they pass
on. Whatever moment the process dies at, the folder holds the last whole block and every vote that was sent, and a start
goes on from there.
"""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from chain.consensus.effects import BlockCommitted, Event, PeerId, Recovered, SignerReturned, Started, WaitingChanged
from chain.consensus.simplex import SimplexEngine
from chain.node.blocks import BlockWork
from chain.node.catching_up.catch_up import Progress
from chain.node.driver import Driver, Halted
from chain.node.feed import Feed
from chain.node.intake import Intake
from chain.node.ledger import Ledger, UnknownProtocolVersion
from chain.node.mempool import Mempool
from chain.node.metrics import NodeMetrics
from chain.node.neighbours import Neighbours
from chain.node.outbox import Outbox
from chain.node.peers.network import PeerNetwork
from chain.node.peers.settings import PeerSettings
from chain.node.pool_limits import PoolLimits
from chain.node.waiting import Entry
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import Signer
from chain.primitives.rejection import Rejected
from chain.storage.errors import StorageError
from chain.storage.journal import VoteJournal

if TYPE_CHECKING:
    from chain.remote_signer import RemoteSigner

_SWITCH_S: Final = 0.0005
"""How long a thread may keep the interpreter while another one wants it."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node")


def settle_interpreter() -> None:
    """Call once when everything is loaded.

    Executing a block makes many objects and hardly any cycles: with Python's defaults the collector took 5 to 8% of the
    time that importing a block takes. And each call into libsecp256k1 gives the interpreter away: with the default of
    5 ms, a thread that recovers signatures got it back half as often beside one that is busy.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    sys.setswitchinterval(_SWITCH_S)


class Node:
    """A validator (with a key) or a follower (without). `start` and `stop` once each, on one event loop.

    A key that is in no validator set, not yet or no longer, follows.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        key: Signer | None,
        journal: VoteJournal | None,
        limits: PoolLimits,
        metrics: NodeMetrics,
        peers: PeerSettings | None = None,
        is_vote_history_lost: bool = False,
    ) -> None:
        """Takes over ledger and journal, to close them in `stop`. Who has a key needs a journal.

        Raises UnknownProtocolVersion and StorageError.
        """
        assert key is None or journal is not None
        ledger.check_protocol_version()
        self.ledger = ledger
        self.pool = Mempool(
            limits,
            chain_id=ledger.network.chain_id,
            recover=ledger.signatures.recover,
            decode=ledger.transactions.decode,
        )
        self.pool.rebase(ledger.view(), ledger.head)
        self.feed = Feed()
        self.fault: str | None = None
        """What has gone wrong for good, None while all is well."""
        self.on_fault: Callable[[], None] = lambda: None
        """Called once when the node cannot go on; `fault` says why."""
        self._key = key
        self._signer: RemoteSigner | None = None
        self._journal = journal
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="peers")
        self.engine = SimplexEngine(
            genesis_hash=ledger.network.genesis_hash,
            key=key,
            settings=ledger.settings(),
            recovered=Recovered(
                floor=ledger.floor(),
                head=ledger.head.header,
                records=journal.records if journal is not None else (),
                is_journal_new=journal is not None and journal.is_new,
                is_vote_history_lost=is_vote_history_lost,
            ),
            recover=ledger.signatures.recover,
        )
        self.network = PeerNetwork(network=ledger.network, key=key, settings=peers or PeerSettings())
        self._wire(metrics)
        metrics.observe(self)

    def _wire(self, metrics: NodeMetrics) -> None:
        self._blocks = BlockWork(
            self.ledger,
            self.pool,
            proposer=self._key.address if self._key is not None else None,
            metrics=metrics,
            on_event=self.report,
            on_error=self._fail,
        )
        self._intake = Intake(
            self.ledger, self.pool, thread=self._thread, share=self._share, on_admitted=self._on_admitted
        )
        self._neighbours = Neighbours(
            self.ledger,
            self.engine,
            self._blocks,
            self.network,
            intake=self._intake,
            thread=self._thread,
            metrics=metrics,
            on_event=self.report,
            on_error=self._fail,
        )
        self._outbox = Outbox(
            self._journal, on_error=self._fail, sync_seconds=metrics.journal_sync_seconds, votes=metrics.votes
        )
        self._driver = Driver(self.engine, self._blocks, self._outbox, self._neighbours, on_error=self._fail)

    def watch_signer(self, signer: "RemoteSigner") -> None:
        """Call before `start` where the key is this signer's: the engine is told when it signs again."""
        self._signer = signer

    async def start(self) -> None:
        """Begins to work."""
        if self._signer is not None:
            self._signer.on_change = partial(self._on_signer_changed, asyncio.get_running_loop())
        _log.info(
            "node_started",
            network=self.ledger.network.name,
            chain_id=self.ledger.network.chain_id,
            genesis_hash=to_hex(self.ledger.network.genesis_hash),
            height=self.ledger.head.height,
            epoch=self.engine.epoch,
            view=self.engine.view,
            key=to_checksum_address(self._key.address) if self._key is not None else None,
            is_validator=self.engine.is_validator,
        )
        self._driver.dispatch(Started())
        await self._neighbours.start()

    async def stop(self) -> None:
        """Ends after the block and the sync in hand, and closes journal and ledger."""
        if self._signer is not None:
            self._signer.on_change = lambda fault: None
        self._driver.stop()
        await self._neighbours.stop()
        await self._outbox.close()
        await self._blocks.close()
        self._thread.shutdown()
        if self._journal is not None:
            self._journal.close()
        self.ledger.close()
        _log.info("node_stopped", height=self.ledger.head.height)

    def submit(self, raw: bytes) -> Entry:
        """Takes a transaction into the mempool and passes it on, or finds it there; raises Rejected.

        On the event loop's thread.
        """
        return self._intake.submit(raw)

    async def submit_all(self, raws: Sequence[bytes]) -> list[Entry | Rejected]:
        """A batch, each as `submit` would take it, in this order; others have their turns in between."""
        return await self._intake.submit_all(raws)

    def progress(self) -> Progress:
        """How far this node is, and how far it knows others to be."""
        return self._neighbours.progress()

    @property
    def ailment(self) -> str | None:
        """Why this node does not do all its work, in a sentence for anybody; None while it does."""
        if self.fault is None and self.is_signer_away:
            return "the remote signer gives no signatures, so this validator casts no votes"
        return self.fault

    @property
    def is_signer_away(self) -> bool:
        """Whether the key is in a remote signer that does not sign now."""
        return self._signer is not None and self._signer.fault is not None

    @property
    def validator_index(self) -> int | None:
        """This node's place in the present validator set, None where it has none."""
        validators = self.ledger.settings().validators
        address = self._key.address if self._key is not None else None
        return validators.index(address) if address in validators else None

    def report(self, event: Event) -> None:
        """Hands the engine an event; what goes wrong with it is the node's fault, never the caller's."""
        self._driver.dispatch(event)
        if isinstance(event, BlockCommitted):
            self.feed.tell_block(self.ledger.head.height)

    def _on_signer_changed(self, loop: asyncio.AbstractEventLoop, fault: str | None) -> None:
        # On whatever thread has noticed it.
        if fault is not None:
            _log.error("signer_away", fault=fault)
            return
        _log.info("signer_returned")
        loop.call_soon_threadsafe(self.report, SignerReturned())

    def _share(self, raws: Iterable[bytes], source: PeerId | None) -> None:
        self.network.share(raws, source)

    def _on_admitted(self, entry: Entry) -> None:
        self.feed.tell_transaction(entry)
        if not self._driver.is_waiting and self._blocks.is_new(entry):
            self._driver.dispatch(WaitingChanged(is_waiting=True))

    def _fail(self, error: Exception) -> None:
        """The node cannot go on; what follows from the first error is only logged."""
        is_explained = isinstance(error, StorageError | UnknownProtocolVersion | Halted)
        fault = str(error) or type(error).__name__
        _log.critical("node_failed", fault=fault, exc_info=None if is_explained else error)
        self._driver.stop()
        if self.fault is None:
            self.fault = fault
            self.on_fault()
