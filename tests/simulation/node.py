"""A simulated node: carries out what its engine asks for, as effects.py demands, and can die at every point of that."""

from collections import deque
from collections.abc import Callable
from typing import Any

from chain.consensus.effects import (
    Ask,
    Blame,
    BlockCommitted,
    BuildBlock,
    CommitBlock,
    Effects,
    Event,
    ExecuteBlock,
    FetchFinal,
    ForgetBlocks,
    Halt,
    KeepEvidence,
    MessageReceived,
    PeerConnected,
    PruneJournal,
    Record,
    Recovered,
    Send,
    SetTimer,
    Started,
    Task,
    TimerFired,
    WaitingChanged,
)
from chain.consensus.messages import BlockMessage, GetBlock, GetRange, Message, Range, Status
from chain.consensus.simplex import SimplexEngine
from chain.node.catching_up.catch_up import FetchWanted, HeadMoved, PeerJoined, PeerLeft, PeerStatus, RangeReceived
from chain.primitives.types import Hash32
from tests.simulation.catching_up import CatchingUp
from tests.simulation.disk import SimulatedJournal
from tests.simulation.ledgers import NodeLedger, final_range
from tests.simulation.parts import BLAME_MS, START_MS, STATUS_INTERVAL_MS, Crash, NodeParts
from tests.simulation.signatures import SimulatedKey
from tests.simulation.worker import Work, Worker


class SimulatedNode:
    """One process, its disk and its clock. `key` None: a follower."""

    is_honest: bool = True

    def __init__(self, parts: NodeParts, ledger: NodeLedger, key: SimulatedKey | None) -> None:
        self.parts = parts
        self.index = len(parts.nodes)
        self.name = f"n{self.index}"
        self.key = key
        self.ledger = ledger
        self.journal = SimulatedJournal()
        self.skew_ms = 0
        self.engine: SimplexEngine
        self.is_up = False
        self.is_history_lost = False
        self.crash_after: int | None = None
        """The node dies after so many points more."""
        self.is_disk_failing = False
        """The next fdatasync fails, and the node stops."""
        self.on_start: Callable[[SimulatedNode], None] = lambda node: None
        self._incarnation = 0
        self._clear()
        parts.nodes.append(self)
        parts.network.join(self)

    def _clear(self) -> None:
        self._pending: deque[Effects] = deque()
        self._is_carrying = False
        self._timers: dict[str, int] = {}
        self._timer_count = 0
        self.unsynced: dict[Hash32, None] = {}
        """Final blocks that others follow, here already: the last one's sync is enough for them."""
        self._was_waiting = False
        self._is_status_due = False
        self._next_asked = self.index
        self._shunned: dict[int, int] = {}

    # Life

    def clock_ms(self) -> int:
        """The node's wall clock."""
        return START_MS + self.parts.schedule.now_ms + self.skew_ms

    def start(self) -> None:
        """The process starts with what its disk holds."""
        assert not self.is_up
        self.is_up = True
        self.crash_after = None
        self.is_disk_failing = False
        ledger, parts = self.ledger, self.parts
        self.engine = parts.engine_class(
            genesis_hash=parts.genesis_hash,
            key=self.key,
            settings=ledger.settings(),
            recovered=self.recovered(),
            recover=parts.book.recover,
        )
        self._worker = Worker(self)
        self._catching_up = CatchingUp(self)
        parts.oracles.started(self)
        self.dispatch(Started())
        self.on_start(self)
        for peer in self.peers():
            self.later(parts.random.randrange(1, 20), self.connected, peer)
            parts.nodes[peer].later(parts.random.randrange(1, 20), parts.nodes[peer].connected, self.index)

    def recovered(self) -> Recovered:
        """What a start finds."""
        return Recovered(
            floor=self.ledger.floor,
            head=self.ledger.head,
            records=self.journal.recovered(),
            is_journal_new=self.journal.is_new,
            is_vote_history_lost=self.is_history_lost,
        )

    def crash(self) -> None:
        """Kill −9 or a power cut: memory is gone, and what was written but not synced partly so."""
        if not self.is_up:
            return
        self.is_up = False
        self._incarnation += 1
        self.parts.crash_count += 1
        self.journal.tear(self.parts.random)
        self.parts.oracles.synced(self, self.journal.written)
        self.journal.sync()
        self.ledger.restart(self.parts.random)
        self._clear()
        for peer in range(len(self.parts.nodes)):
            other = self.parts.nodes[peer]
            if other.is_up:
                other.disconnected(self.index)

    def lose_journal(self) -> None:
        """Dies, and its journal is gone; started again, it says so."""
        self.crash()
        self.journal.lose()
        self.is_history_lost = True

    def excuse(self) -> None:
        """From now on its key may contradict itself."""
        if self.key is not None:
            self.parts.oracles.suspects[self.key.address] = None

    def later(self, delay_ms: int, action: Callable[..., None], *arguments: Any) -> None:
        """Unless the node dies before."""
        self.parts.schedule.after(delay_ms, self._if_alive, self._incarnation, action, arguments)

    def _if_alive(self, incarnation: int, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self._incarnation == incarnation and self.is_up:
            action(*arguments)

    def point(self) -> None:
        """A point at which the process may die."""
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after <= 0:
                self.crash_after = None
                raise Crash

    # Peers

    def peers(self) -> list[int]:
        """Who can be spoken to, as far as this node knows."""
        network, now_ms, shunned = self.parts.network, self.parts.schedule.now_ms, self._shunned
        return [
            index
            for index, node in enumerate(self.parts.nodes)
            if index != self.index
            and node.is_up
            and not (network.is_cut(self.index, index) and network.is_cut(index, self.index))
            and (not shunned or shunned.get(index, 0) <= now_ms)
        ]

    def connected(self, peer: int) -> None:
        """A peer can be spoken to (again)."""
        if self.parts.nodes[peer].is_up:
            self._catching_up.tell(PeerJoined(f"n{peer}"))
            self.dispatch(PeerConnected(f"n{peer}"))
            self._send_status(peer)

    def disconnected(self, peer: int) -> None:
        """A peer is gone."""
        self._catching_up.tell(PeerLeft(f"n{peer}"))

    # Events

    def dispatch(self, event: Event) -> None:
        """Tells the engine, and carries out what it wants done."""
        if not self.is_up:
            return
        oracles = self.parts.oracles
        oracles.before(self, event)
        effects = self.engine.handle(event, self.clock_ms())
        oracles.after(self, event, effects)
        for timer in effects.timers:
            self._set_timer(timer)
        for task in effects.tasks:
            if self._is_eager(task):
                self._start_task(task)
        if effects.records or effects.sends or effects.tasks:
            self._pending.append(effects)
            if not self._is_carrying:
                self._carry_out()

    def receive(self, sender: int, message: Message) -> None:
        """A message has arrived."""
        if not self.is_up or (self._shunned and self._shunned.get(sender, 0) > self.parts.schedule.now_ms):
            return
        peer = f"n{sender}"
        if isinstance(message, GetBlock):
            self._answer_block(sender, message)
        elif isinstance(message, GetRange):
            answer = final_range(self.ledger, message.from_height)
            self.send_one(sender, answer or Range(message.from_height, ()))
        elif isinstance(message, Range):
            self._catching_up.tell(RangeReceived(peer, message))
        else:
            self.parts.oracles.delivered(self, message)
            self.dispatch(MessageReceived(peer, message))
            if isinstance(message, Status):
                self._catching_up.tell(PeerStatus(peer, message.height))

    def receive_transaction(self, number: int, transaction: bytes) -> None:
        """A transaction has come by gossip."""
        self.ledger.receive(number, transaction)
        self._look_for_waiting()

    def _look_for_waiting(self) -> None:
        is_waiting = self.ledger.is_waiting()
        if is_waiting != self._was_waiting:
            self._was_waiting = is_waiting
            self.dispatch(WaitingChanged(is_waiting))

    def _set_timer(self, timer: SetTimer) -> None:
        if timer.delay_ms is None:
            self._timers.pop(timer.name, None)
            return
        self._timer_count += 1
        self._timers[timer.name] = self._timer_count
        self.later(max(0, timer.delay_ms), self._fire, timer.name, self._timer_count)

    def _fire(self, name: str, number: int) -> None:
        if self._timers.get(name) == number:
            del self._timers[name]
            self.dispatch(TimerFired(name))

    # Effects: records, one sync, sends, tasks

    def _carry_out(self) -> None:
        self._is_carrying = True
        try:
            while self._pending:
                effects = self._pending[0]
                if effects.records and self._record(effects.records):
                    return  # Goes on in `_synced`.
                self._pending.popleft()
                self._after_sync(effects)
        except Crash:
            self.crash()
        self._is_carrying = False

    def _record(self, records: tuple[Record, ...]) -> bool:
        """Whether the disk takes its time."""
        self.journal.append(records)
        self.point()
        if not any(record.is_vote for record in records):
            return False
        if self.is_disk_failing:
            raise Crash
        if self.parts.sync_ms:
            self.later(self.parts.random.randrange(self.parts.sync_ms + 1), self._synced)
            return True
        self._sync()
        return False

    def _sync(self) -> None:
        self.parts.oracles.synced(self, self.journal.written)
        self.journal.sync()
        self.point()

    def _synced(self) -> None:
        try:
            self._sync()
            self._after_sync(self._pending.popleft())
        except Crash:
            self.crash()
            return
        self._carry_out()

    def _after_sync(self, effects: Effects) -> None:
        for send in effects.sends:
            self.send(send)
            self.point()
        for task in effects.tasks:
            if not self._is_eager(task):
                self._start_task(task)

    def _is_eager(self, task: Task) -> bool:
        """What need not wait for a disk that takes its time."""
        return self.parts.sync_ms > 0 and isinstance(task, ExecuteBlock | BuildBlock | ForgetBlocks)

    def send(self, send: Send | Ask) -> None:
        """Carries out one send."""
        if isinstance(send, Ask):
            peer = self._peer_to_ask(send.peer)
            if peer is not None:
                self.send_one(peer, send.message)
        elif send.peer is not None:
            self.send_one(int(send.peer[1:]), send.message)
        else:
            for index in self.peers():
                self.send_one(index, send.message)

    def send_one(self, receiver: int, message: Message) -> None:
        """One message to one peer."""
        self.parts.oracles.sending(self, message)
        self.parts.network.send(self.index, receiver, message)

    def _peer_to_ask(self, named: str | None) -> int | None:
        peers = self.peers()
        if named is not None and int(named[1:]) in peers:
            return int(named[1:])
        if not peers:
            return None
        self._next_asked += 1
        return peers[self._next_asked % len(peers)]

    def _answer_block(self, sender: int, asked: GetBlock) -> None:
        block = self.engine.block(asked.block_hash) or self.ledger.stored_by_hash(asked.block_hash)
        if block is not None:
            self.send_one(sender, BlockMessage(block))

    def _send_status(self, peer: int | None = None) -> None:
        status = Status(self.engine.epoch, self.engine.view, self.ledger.head.height)
        for index in self.peers() if peer is None else (peer,):
            self.send_one(index, status)

    def _broadcast_status(self) -> None:
        self._is_status_due = False
        self._send_status()

    # Tasks

    def _start_task(self, task: Task) -> None:
        match task:
            case BuildBlock() | ExecuteBlock() | CommitBlock():
                self._worker.start(task)
            case ForgetBlocks(block_hashes):
                self._worker.forget(block_hashes)
            case PruneJournal():
                self._prune(task)
            case FetchFinal(peer):
                self._catching_up.tell(FetchWanted(peer))
            case KeepEvidence():
                pass  # The oracles have seen it.
            case Blame(peer, reason):
                self.blame(int(peer[1:]), reason)
            case Halt(reason):
                self.parts.oracles.halted(self, reason)
                raise Crash

    def _prune(self, task: PruneJournal) -> None:
        """Not where a power cut could take the chain back to a height that needs the records."""
        self.point()
        if self.ledger.synced_height == self.ledger.head.height and self.parts.random.random() < self.parts.prune_share:
            self.parts.oracles.synced(self, self.journal.written)
            self.journal.prune(task.epoch, task.view)

    def worked(self, task: Work, event: Event | None) -> None:
        """The worker has done something."""
        if isinstance(event, BlockCommitted):
            self._was_waiting = event.is_waiting
        if event is not None:
            self.dispatch(event)
        if isinstance(task, CommitBlock) and self.is_up:
            head = self.ledger.head
            self._catching_up.tell(HeadMoved(head.height, head.hash))
            if not self._is_status_due:
                self._is_status_due = True
                self.later(self.parts.random.randrange(STATUS_INTERVAL_MS), self._broadcast_status)

    def blame(self, peer: int, reason: str) -> None:
        """Disconnects a peer for a while."""
        self.parts.oracles.blamed(self, self.parts.nodes[peer], reason)
        self._shunned[peer] = self.parts.schedule.now_ms + BLAME_MS
        self.disconnected(peer)
        self.later(BLAME_MS, self.connected, peer)
