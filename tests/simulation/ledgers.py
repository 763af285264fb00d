"""What one node keeps of the chain: final blocks on its disk, executed ones and waiting transactions in memory."""

from random import Random
from typing import Final, Protocol

import msgspec

from chain.consensus.effects import Floor, Settings, Verdict
from chain.consensus.messages import Link, Range
from chain.primitives import message_pack
from chain.primitives.block import Block, Header
from chain.primitives.certificate import Certificate
from chain.primitives.types import Address, Hash32
from tests.simulation.light_chain import MAX_TRANSACTIONS, Executed, Invalid, LightRules
from tests.simulation.violation import Violation

MAX_RANGE_BLOCKS: Final = 16


class StoredBlock(msgspec.Struct, frozen=True):
    """A committed block."""

    block: Block
    certificate: Certificate | None


class NodeLedger(Protocol):
    """The driver's view of a chain; the light one and the real one."""

    @property
    def head(self) -> Header:
        """Of the newest committed block."""

    @property
    def floor(self) -> Floor:
        """As committed with it."""

    def settings(self) -> Settings:
        """As they are in the committed state."""

    def state_root(self) -> Hash32:
        """Of the committed state, computed here."""

    def is_executed(self, block_hash: Hash32) -> bool:
        """Whether a block can be executed or built on it."""

    def execute(self, block: Block) -> tuple[Verdict, str]:
        """Keeps the execution of a valid block; its parent is executed or the head."""

    def build(
        self, parent_hash: Hash32, *, proposer: Address, time_ms: int, may_be_empty: bool, must_be_empty: bool
    ) -> Block | None:
        """Keeps the execution; None where there is nothing to build."""

    def commit(self, block_hash: Hash32, certificate: Certificate | None, floor: Floor, *, sync: bool) -> Block:
        """In one batch, which a power cut may take back where it is not synced."""

    @property
    def synced_height(self) -> int:
        """Up to where no power cut takes anything back."""

    def forget(self, block_hashes: tuple[Hash32, ...]) -> None:
        """They can never be final."""

    def restart(self, random: Random) -> None:
        """What was in memory is gone, and perhaps what was not synced."""

    def stored(self, height: int) -> StoredBlock | None:
        """A committed block."""

    def stored_by_hash(self, block_hash: Hash32) -> Block | None:
        """A committed block."""

    def receive(self, number: int, transaction: bytes) -> None:
        """A transaction that goes round."""

    def is_waiting(self) -> bool:
        """Whether one waits that could be executed now."""

    def next_number(self) -> int:
        """The first transaction that the committed chain does not hold."""

    def on_any(self, parent_hash: Hash32, *, proposer: Address, time_ms: int) -> Block | None:
        """A valid block on any block that was ever executed, for a forking leader; None where it cannot be had."""


class LightLedger:
    """Of the light chain."""

    def __init__(self, genesis: Executed, rules: LightRules) -> None:
        header = genesis.block.header
        self._rules = rules
        self._floor = Floor(0, 0, header.height, header.hash)
        self._head = genesis
        self._blocks = [StoredBlock(genesis.block, None)]
        self._history = [(genesis, self._floor)]
        self._heights = {header.hash: 0}
        self._synced_height = 0
        self._executed: dict[Hash32, Executed] = {}
        self._pool: dict[int, bytes] = {}

    @property
    def head(self) -> Header:
        return self._head.block.header

    @property
    def floor(self) -> Floor:
        return self._floor

    def settings(self) -> Settings:
        return self._head.state.settings

    def state_root(self) -> Hash32:
        return self._head.state.root

    def _parent(self, parent_hash: Hash32) -> Executed | None:
        return self._head if parent_hash == self.head.hash else self._executed.get(parent_hash)

    def is_executed(self, block_hash: Hash32) -> bool:
        return block_hash == self.head.hash or block_hash in self._executed

    def execute(self, block: Block) -> tuple[Verdict, str]:
        parent = self._parent(block.header.parent_hash)
        assert parent is not None
        outcome = self._rules.execute(parent, block)
        if isinstance(outcome, Invalid):
            return outcome.verdict, outcome.reason
        self._executed[block.header.hash] = outcome
        return Verdict.VALID, ""

    def build(
        self, parent_hash: Hash32, *, proposer: Address, time_ms: int, may_be_empty: bool, must_be_empty: bool
    ) -> Block | None:
        parent = self._parent(parent_hash)
        assert parent is not None
        if time_ms <= parent.block.header.time_ms:
            raise Violation("driver contract", "a block is to be built that is no younger than its parent")
        transactions = [] if must_be_empty else self._select(parent)
        if not transactions and not may_be_empty:
            return None
        built = self._rules.build(parent, transactions, proposer=proposer, time_ms=time_ms)
        self._executed[built.block.header.hash] = built
        return built.block

    def _select(self, parent: Executed) -> list[bytes]:
        chosen: list[bytes] = []
        number = parent.state.next_number
        while len(chosen) < MAX_TRANSACTIONS and number + len(chosen) in self._pool:
            raw = self._pool[number + len(chosen)]
            chosen.append(raw)
            if self._rules.ends_epoch(raw):
                break
        return chosen

    def commit(self, block_hash: Hash32, certificate: Certificate | None, floor: Floor, *, sync: bool) -> Block:
        executed = self._executed.pop(block_hash, None)
        if executed is None or executed.block.header.parent_hash != self.head.hash:
            raise Violation("driver contract", "a block is to be committed that is not executed, or not on the head")
        if (floor.height, floor.block_hash) != (executed.block.header.height, block_hash):
            raise Violation("driver contract", "a floor is to be committed with another block than its own")
        self._blocks.append(StoredBlock(executed.block, certificate))
        self._heights[block_hash] = executed.block.header.height
        self._head, self._floor = executed, floor
        self._history.append((executed, floor))
        if sync:
            self._synced_height = executed.block.header.height
        for number in [number for number in self._pool if number < executed.state.next_number]:
            del self._pool[number]
        return executed.block

    def forget(self, block_hashes: tuple[Hash32, ...]) -> None:
        for block_hash in block_hashes:
            self._executed.pop(block_hash, None)

    @property
    def synced_height(self) -> int:
        return self._synced_height

    def restart(self, random: Random) -> None:
        kept = random.randrange(self._synced_height, len(self._blocks)) + 1
        for stored in self._blocks[kept:]:
            del self._heights[stored.block.header.hash]
        del self._blocks[kept:], self._history[kept:]
        self._head, self._floor = self._history[-1]
        self._executed.clear()
        self._pool.clear()

    @property
    def executed_count(self) -> int:
        """Executions in memory."""
        return len(self._executed)

    def stored(self, height: int) -> StoredBlock | None:
        return self._blocks[height] if 0 <= height < len(self._blocks) else None

    def stored_by_hash(self, block_hash: Hash32) -> Block | None:
        height = self._heights.get(block_hash)
        return None if height is None else self._blocks[height].block

    def receive(self, number: int, transaction: bytes) -> None:
        if number >= self._head.state.next_number:
            self._pool[number] = transaction

    def is_waiting(self) -> bool:
        return self._head.state.next_number in self._pool

    def next_number(self) -> int:
        return self._head.state.next_number

    def on_any(self, parent_hash: Hash32, *, proposer: Address, time_ms: int) -> Block | None:
        parent = self._rules.executed(parent_hash)
        if parent is None:
            return None
        time_ms = max(time_ms, parent.block.header.time_ms + 1)
        return self._rules.build(parent, (), proposer=proposer, time_ms=time_ms).block


def final_range(ledger: NodeLedger, from_height: int) -> Range | None:
    """Consecutive final blocks of one epoch that end with a certified one; None where there are none."""
    first = ledger.stored(from_height)
    if first is None or from_height == 0:
        return None
    links: list[Link] = []
    certified = 0
    height = from_height
    while (stored := ledger.stored(height)) is not None and stored.block.header.epoch == first.block.header.epoch:
        certificate = b"" if stored.certificate is None else message_pack.encode(stored.certificate)
        links.append(Link(stored.block.encode(), certificate))
        if certificate:
            certified = len(links)
        if len(links) >= MAX_RANGE_BLOCKS and certified:
            break
        height += 1
    return Range(from_height, tuple(links[:certified])) if certified else None
