"""The same seat with the real rules: chain.node.ledger on a LevelDB in a temporary folder, and signed transactions."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from chain.consensus.effects import Floor, Settings, Verdict
from chain.node.ledger import Candidate, Ledger, UnboundBody
from chain.primitives import message_pack
from chain.primitives.block import Block, Header, decode_block
from chain.primitives.certificate import Certificate
from chain.primitives.network import Network
from chain.primitives.rejection import Rejected
from chain.primitives.transaction import Transaction, decode_transaction
from chain.primitives.types import Address, Hash32
from chain.rules.state import State, StateReader
from tests.simulation.ledgers import StoredBlock

_MAX_TRANSACTIONS: Final = 8


class RealLedger:
    """Of one node. Transactions are numbered over all senders, so the next number is the sum of their nonces."""

    def __init__(self, path: Path, network: Network, senders: Sequence[Address]) -> None:
        self._path = path
        self._network = network
        self._senders = senders
        self._ledger = Ledger.open(path, network, create=True)
        self._candidates: dict[Hash32, Candidate] = {}
        self._pool: dict[int, Transaction] = {}

    @property
    def head(self) -> Header:
        return self._ledger.head.header

    @property
    def floor(self) -> Floor:
        return self._ledger.floor()

    def settings(self) -> Settings:
        return self._ledger.settings()

    def state_root(self) -> Hash32:
        """Of the tree as it is, not what the header says."""
        return self._ledger.store.prepare({}, on=self._ledger.view()).state_root

    def close(self) -> None:
        """The folder may go."""
        self._ledger.close()

    def is_executed(self, block_hash: Hash32) -> bool:
        return block_hash == self.head.hash or block_hash in self._candidates

    def _on(self, parent_hash: Hash32) -> Candidate | None:
        return None if parent_hash == self.head.hash else self._candidates[parent_hash]

    def execute(self, block: Block) -> tuple[Verdict, str]:
        try:
            candidate = self._ledger.execute(block, on=self._on(block.header.parent_hash))
        except UnboundBody as rejected:
            return Verdict.UNBOUND, str(rejected)
        except Rejected as rejected:
            return Verdict.INVALID, str(rejected)
        self._candidates[block.header.hash] = candidate
        return Verdict.VALID, ""

    def build(
        self, parent_hash: Hash32, *, proposer: Address, time_ms: int, may_be_empty: bool, must_be_empty: bool
    ) -> Block | None:
        on = self._on(parent_hash)
        reader: StateReader = self._ledger.view() if on is None else on.pending
        chosen = [] if must_be_empty else self._select(reader)
        candidate = self._ledger.propose(chosen, proposer=proposer, time_ms=time_ms, on=on)
        if candidate.rejected:
            # One that cannot be in this block (who has just received coins may not spend them yet) keeps its place
            # before those that come after it, or the numbers would no longer be the sums of the nonces.
            chosen = chosen[: chosen.index(candidate.rejected[0][0])]
            candidate = self._ledger.propose(chosen, proposer=proposer, time_ms=time_ms, on=on)
        if not candidate.block.transactions and not may_be_empty:
            return None
        self._candidates[candidate.block.header.hash] = candidate
        return candidate.block

    def _next_number(self, reader: StateReader) -> int:
        state = State(reader)
        return sum(state.account(sender).nonce for sender in self._senders)

    def _select(self, reader: StateReader) -> list[Transaction]:
        first = self._next_number(reader)
        chosen: list[Transaction] = []
        while len(chosen) < _MAX_TRANSACTIONS and (transaction := self._pool.get(first + len(chosen))) is not None:
            chosen.append(transaction)
        return chosen

    def commit(self, block_hash: Hash32, certificate: Certificate | None, floor: Floor, *, sync: bool) -> Block:
        candidate = self._candidates.pop(block_hash)
        self._ledger.commit(candidate, certificate, floor, sync=sync)
        first = self.next_number()
        for number in [number for number in self._pool if number < first]:
            del self._pool[number]
        return candidate.block

    def forget(self, block_hashes: tuple[Hash32, ...]) -> None:
        for block_hash in block_hashes:
            self._candidates.pop(block_hash, None)

    @property
    def synced_height(self) -> int:
        return self.head.height  # This node only ever dies of kill -9.

    def restart(self, random: Random) -> None:
        self._candidates.clear()
        self._pool.clear()
        self._ledger.close()
        self._ledger = Ledger.open(self._path, self._network)

    def stored(self, height: int) -> StoredBlock | None:
        view = self._ledger.view()
        encoded = view.block_at(height)
        if encoded is None:
            return None
        certificate = view.certificate_at(height)
        decoded = None if certificate is None else message_pack.decode(certificate, Certificate)
        return StoredBlock(decode_block(encoded), decoded)

    def stored_by_hash(self, block_hash: Hash32) -> Block | None:
        encoded = self._ledger.view().block_by_hash(block_hash)
        return None if encoded is None else decode_block(encoded)

    def receive(self, number: int, transaction: bytes) -> None:
        if number >= self.next_number():
            self._pool[number] = decode_transaction(transaction)

    def is_waiting(self) -> bool:
        return bool(self._pool) and self.next_number() in self._pool

    def next_number(self) -> int:
        return self._next_number(self._ledger.view())

    def on_any(self, parent_hash: Hash32, *, proposer: Address, time_ms: int) -> Block | None:
        if not self.is_executed(parent_hash):
            return None
        on = self._on(parent_hash)
        parent = self.head if on is None else on.block.header
        try:
            return self._ledger.propose((), proposer=proposer, time_ms=max(time_ms, parent.time_ms + 1), on=on).block
        except Rejected:
            return None  # The parent has removed this proposer.
