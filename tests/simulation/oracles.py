"""What must hold in every run, checked at every step. Nothing here asks the engine whether it is right.

One finalized chain; no honest key signs a contradiction, and sends what is not on its disk; nothing final is taken
back; equal states; valid certificates; bounded memory; a driver driven as effects.py says; nobody honest blamed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from chain.consensus.effects import (
    BlockBuilt,
    BlockExecuted,
    BuildBlock,
    ChainReceived,
    CommitBlock,
    Effects,
    Event,
    KeepEvidence,
    MessageReceived,
    Record,
    TimerFired,
)
from chain.consensus.messages import (
    BlockMessage,
    CertificateMessage,
    EvidenceMessage,
    JournalEntry,
    Message,
    Proposal,
    VoteMessage,
)
from chain.primitives.block import Block
from chain.primitives.certificate import Certificate, Vote, VoteKind, validators_hash
from chain.primitives.types import Address, Hash32
from tests.simulation.evidence import EvidenceOracle, contradict
from tests.simulation.finality import FinalityOracle
from tests.simulation.signatures import SignatureBook
from tests.simulation.sizes import element_count
from tests.simulation.violation import Violation

if TYPE_CHECKING:
    from tests.simulation.node import SimulatedNode

MEMORY_CHECK_EVERY: Final = 500
"""Events of one simulation between two looks at an engine's containers."""
MAX_DRIFT_MS: Final = 5_000
_journal_decoder: Final = msgspec.msgpack.Decoder(JournalEntry)


class Oracles:
    """Watches all nodes of one simulation; raises Violation."""

    def __init__(self, *, genesis_hash: Hash32, validators: tuple[Address, ...], book: SignatureBook) -> None:
        self.sets: dict[int, tuple[Address, ...]] = {0: validators}
        """By epoch."""
        self.chain: list[Hash32 | None] = [None]
        """The one finalized chain by height; the genesis block is everybody's."""
        self.view_count = 0
        self.committed_blocks: list[Block] = []
        self.suspects: dict[Address, None] = {}
        """Keys whose contradictions are expected: Byzantine ones, and those of a journal that was lost too lightly."""
        self.largest_memory = 0
        self._votes: dict[tuple[Address, int, int], list[Vote]] = {}
        self._synced: dict[Address, dict[bytes, None]] = {}
        self._last_sent: Message | None = None
        self._positions: dict[int, tuple[int, int]] = {}
        self._heights: dict[int, int] = {}
        self._finality = FinalityOracle(self.sets, genesis_hash=genesis_hash, book=book)
        self._evidence = EvidenceOracle(self.sets, self.suspects, genesis_hash=genesis_hash, book=book)
        self._lives: dict[int, int] = {}
        self._event_count = 0
        self._trace = hashlib.blake2b(digest_size=16)

    # What happens

    @property
    def trace_hash(self) -> str:
        """Of everything that has happened, in order."""
        return self._trace.hexdigest()

    @property
    def evidence_count(self) -> int:
        """Reports of contradictions."""
        return self._evidence.report_count

    def started(self, node: SimulatedNode) -> None:
        """A node begins; it has not gone back."""
        self._lives[node.index] = self._lives.get(node.index, 0) + 1
        self._positions[node.index] = (0, 0)
        if node.engine.floor != node.ledger.floor:
            raise Violation("floor", f"{node.name} starts with another floor than its ledger's")
        self._check_height(node)

    def before(self, node: SimulatedNode, event: Event) -> None:
        """An event is on its way to an engine."""
        self._event_count += 1
        if isinstance(event, BlockBuilt):
            self._finality.learn(event.block.header)
        if isinstance(event, MessageReceived):
            detail = b"m" + _signature_of(event.message)
        elif isinstance(event, TimerFired):
            detail = event.name.encode()
        elif isinstance(event, BlockExecuted):
            detail = event.block_hash[:4] + event.verdict.encode()
        else:
            detail = type(event).__name__.encode()
        self._trace.update(b"%d %d %b" % (node.clock_ms(), node.index, detail))

    def after(self, node: SimulatedNode, event: Event, effects: Effects) -> None:
        """The engine has answered."""
        engine = node.engine
        position = engine.epoch, engine.view
        known = self._positions[node.index]
        if position != known:
            if position < known:
                raise Violation("views", f"{node.name} went back from {known} to {position}")
            self._positions[node.index] = position
            self.view_count += 1
        self._trace.update(b"%d %d %d %d" % (position[1], len(effects.records), len(effects.sends), len(effects.tasks)))
        if effects.records and node.is_honest:
            self._check_times(node, effects)
        for task in effects.tasks:
            if isinstance(task, KeepEvidence):
                self._evidence.reported(node, self._lives[node.index], task)
        self._evidence.check(node, self._lives[node.index])
        if self._event_count % MEMORY_CHECK_EVERY == 0 and node.is_honest:
            self.check_memory(node)

    def _check_times(self, node: SimulatedNode, effects: Effects) -> None:
        """Nobody honest notarizes a block from the future, unless its parent is there already."""
        for record in effects.records:
            vote = _journal_decoder.decode(record.encoded).vote if record.is_vote else None
            if vote is None or vote.kind is not VoteKind.NOTARIZE:
                continue
            block = node.engine.block(vote.block_hash)
            if block is None or block.header.time_ms <= node.clock_ms() + MAX_DRIFT_MS:
                continue
            if node.key is not None and block.header.proposer == node.key.address:
                continue  # Its own clock has gone back since the block was asked for.
            if block.header.next_validators_hash != validators_hash(vote.epoch, self.sets[vote.epoch]):
                continue  # An epoch's last block may be proposed again, whatever the time.
            parent = node.engine.block(block.header.parent_hash)
            parent_ms = node.ledger.head.time_ms if parent is None else parent.header.time_ms
            if block.header.time_ms > parent_ms + 1:
                raise Violation(
                    "drift", f"{node.name} notarizes a block of {block.header.time_ms - node.clock_ms()} ms ahead"
                )

    def delivered(self, node: SimulatedNode, message: Message) -> None:
        """A message reaches a node."""
        if isinstance(message, VoteMessage):
            if node.is_honest:
                self._evidence.heard(node, self._lives[node.index], message.vote)
        elif isinstance(message, Proposal | BlockMessage):
            self._finality.learn(message.block.header)

    # Votes

    def _is_of(self, node: SimulatedNode, epoch: int, signer: int) -> bool:
        validators = self.sets.get(epoch, ())
        return node.key is not None and signer < len(validators) and validators[signer] == node.key.address

    def voted(self, node: SimulatedNode, vote: Vote) -> None:
        """A node's vote is on its disk, or sent: it counts for ever. What a crash has torn away never was."""
        if node.key is None or node.key.address in self.suspects:
            return
        votes = self._votes.setdefault((node.key.address, vote.epoch, vote.view), [])
        for known in votes:
            if known.signature == vote.signature:
                return
            if contradict(known, vote):
                raise Violation("honest keys", f"{node.name} has signed {_name_of(known)} and {_name_of(vote)}")
        votes.append(vote)
        if vote.kind is VoteKind.NOTARIZE:
            self._check_proposer(node, vote)

    def _check_proposer(self, node: SimulatedNode, vote: Vote) -> None:
        """An honest leader has proposed what an honest node notarizes in its view."""
        validators = self.sets[vote.epoch]
        leader = validators[(vote.view + vote.epoch) % len(validators)]
        if leader in self.suspects:
            return
        proposed = self._votes.get((leader, vote.epoch, vote.view), ())
        if not any(
            (each.kind, each.parent_view, each.block_hash) == (vote.kind, vote.parent_view, vote.block_hash)
            for each in proposed
        ):
            raise Violation("proposer", f"{node.name} casts {_name_of(vote)}, which the leader has not proposed")

    def synced(self, node: SimulatedNode, records: list[Record]) -> None:
        """These are on the disk."""
        if node.key is None:
            return
        synced = self._synced.setdefault(node.key.address, {})
        for record in records:
            if record.is_vote:
                vote = _journal_decoder.decode(record.encoded).vote
                assert vote is not None
                synced[vote.signature] = None
                self.voted(node, vote)

    def sending(self, node: SimulatedNode, message: Message) -> None:
        """A message leaves an honest node: what it signs there must be on its disk."""
        if message is self._last_sent or node.key is None or not node.is_honest:
            return
        self._last_sent = message
        if isinstance(message, VoteMessage | Proposal):
            vote = message.vote
            if self._is_of(node, vote.epoch, vote.signer):
                self._check_synced(node, vote.signature, f"its {vote.kind.name} of view {vote.view}")
                self.voted(node, vote)
        elif isinstance(message, CertificateMessage):
            certificate = message.certificate
            if certificate.kind is VoteKind.FINALIZE and certificate.epoch in self.sets:
                self._finality.certified(node, certificate)
            for signer, signature in zip(certificate.signers, certificate.signatures, strict=False):
                if self._is_of(node, certificate.epoch, signer):
                    self._check_synced(node, signature, f"its part of a certificate of view {certificate.view}")

    def _check_synced(self, node: SimulatedNode, signature: bytes, name: str) -> None:
        assert node.key is not None
        if signature not in self._synced.get(node.key.address, {}) and node.key.address not in self.suspects:
            raise Violation("sync before send", f"{node.name} sends {name} before it is on its disk")

    # Finality

    def committed(self, node: SimulatedNode, block: Block, certificate: Certificate | None) -> None:
        """A node has written a final block."""
        if not node.is_honest:
            return
        header = block.header
        if header.height < len(self.chain):
            if self.chain[header.height] != header.hash:
                raise Violation("one chain", f"{node.name} has another final block {header.height} than others")
        else:
            if header.height != len(self.chain):
                raise Violation("one chain", f"{node.name} skips to block {header.height}")
            self.chain.append(header.hash)
            self.committed_blocks.append(block)
        if node.ledger.state_root() != header.state_root:
            raise Violation("equal states", f"{node.name} has another state after block {header.height}")
        self._check_height(node)
        validators = self.sets[header.epoch]
        self._finality.learn(header)
        if certificate is not None:
            if (certificate.epoch, certificate.block_hash) != (header.epoch, header.hash):
                raise Violation("certificates", f"block {header.height} is committed with another block's certificate")
            self._finality.certified(node, certificate)
        if header.next_validators_hash != validators_hash(header.epoch, validators):
            if certificate is None:
                raise Violation("certificates", f"{node.name} ends epoch {header.epoch} without a certificate")
            self.sets.setdefault(header.epoch + 1, node.ledger.settings().validators)

    def _check_height(self, node: SimulatedNode) -> None:
        height = node.ledger.head.height
        if height < self._heights.get(node.index, 0):
            raise Violation("finality", f"{node.name} fell back to height {height}")
        self._heights[node.index] = node.ledger.synced_height

    # The rest

    def check_memory(self, node: SimulatedNode) -> None:
        """What an engine holds has a bound."""
        count, engine = element_count(node.engine), node.engine
        self.largest_memory = max(self.largest_memory, count)
        validator_count, open_views = len(self.sets[engine.epoch]), engine.view - engine.floor.view + 2
        limit = 300 + 20 * validator_count + open_views * (12 + 4 * validator_count)
        if count > limit:
            raise Violation("memory", f"{node.name}'s engine holds {count} elements, and {limit} would be much")

    def chain_received(self, node: SimulatedNode, chain: ChainReceived) -> None:
        """Catching up hands a range over."""
        self._trace.update(b"c%d %d" % (node.index, len(chain.links)))

    def started_task(self, node: SimulatedNode, task: object, underway: int) -> None:
        """At most one build and one commit at a time."""
        if underway and isinstance(task, BuildBlock | CommitBlock):
            self.misdriven(node, f"a second {type(task).__name__} at a time")

    def misdriven(self, node: SimulatedNode, message: str) -> None:
        """The engine asks for what the driver cannot do."""
        raise Violation("driver contract", f"{node.name}: {message}")

    def blamed(self, node: SimulatedNode, peer: SimulatedNode, reason: str) -> None:
        """An engine wants a peer disconnected."""
        if node.is_honest and peer.is_honest:
            raise Violation("blame", f"{node.name} blames {peer.name}, which is honest: {reason}")

    def halted(self, node: SimulatedNode, reason: str) -> None:
        """An engine gives up."""
        if node.is_honest and (node.key is None or node.key.address not in self.suspects):
            raise Violation("halt", f"{node.name} halts: {reason}")


def _name_of(vote: Vote) -> str:
    return f"{vote.kind.name}({vote.epoch}, {vote.view}, {vote.parent_view}, {vote.block_hash.hex()[:6]})"


def _signature_of(message: Message) -> bytes:
    """A few bytes that tell messages apart."""
    name = type(message).__name__[:3].encode()
    if isinstance(message, VoteMessage | Proposal):
        return name + message.vote.signature[1:5]
    if isinstance(message, CertificateMessage):
        signatures = message.certificate.signatures
        return name + (signatures[0][1:5] if signatures else b"")
    return name + (message.first.signature[1:5] if isinstance(message, EvidenceMessage) else b"")
