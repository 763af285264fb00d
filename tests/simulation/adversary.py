"""Byzantine validators: they hold real keys, know of each other whatever any of them hears, and lie by a seed.

Each runs the honest engine to know where the network is; what it says is changed, held back, doubled or made up.
"""

from random import Random
from typing import Final

import msgspec

from chain.consensus.effects import Ask, Event, Send
from chain.consensus.messages import (
    CertificateMessage,
    EvidenceMessage,
    GetBlock,
    GetCertificates,
    GetRange,
    Message,
    Proposal,
    Status,
    VoteMessage,
)
from chain.primitives.block import Block
from chain.primitives.certificate import NO_BLOCK, Certificate, Vote, VoteKind, sign_vote
from chain.primitives.types import Address, Hash32
from tests.simulation.garbage import garbled, repeated_signer
from tests.simulation.ledgers import NodeLedger
from tests.simulation.node import SimulatedNode
from tests.simulation.parts import NodeParts
from tests.simulation.signatures import SimulatedKey

_REMEMBERED: Final = 64
MAX_MISCHIEF: Final = 3_000
"""Lies in one simulation: enough for any harm, and the seeds stay short."""


class Malice(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities of each kind of lie, at each occasion for it."""

    equivocate: float = 0.0
    """As a leader: two valid blocks, each to a half."""
    fork: float = 0.0
    """As a leader: a block on an old ancestor, whatever stands between."""
    silence: float = 0.0
    """As a leader: nothing."""
    withhold: float = 0.0
    """As a leader: the proposal to some only."""
    invalid: float = 0.0
    """As a leader: a block that breaks a rule."""
    unbound: float = 0.0
    """As a leader: a body that is not the header's."""
    future: float = 0.0
    """As a leader: a block of a time to come."""
    unjustified: float = 0.0
    """As a leader: a proposal whose justification is missing or wrong."""
    usurp: float = 0.0
    """In another's view: a proposal of its own."""
    amplify: float = 0.0
    """Signs whatever it sees anybody sign."""
    contradict: float = 0.0
    """Signs the opposite of what it sees."""
    selective: float = 0.0
    """Its own votes go to some only."""
    mute: float = 0.0
    """Questions stay unanswered."""
    replay: float = 0.0
    """Old messages once more."""
    garble: float = 0.0
    """Messages with fields changed."""
    forge: float = 0.0
    """Certificates with one signer repeated, or too few."""
    slander: float = 0.0
    """Evidence against somebody honest."""
    boast: float = 0.0
    """A status of a far view and height."""


class Adversary:
    """What the Byzantine nodes of one simulation know together."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.keys: dict[Address, SimulatedKey] = {}
        self.certificates: list[Certificate] = []
        self.messages: list[Message] = []
        self.mischief_count = 0

    def learn(self, message: Message) -> None:
        """Remembers the newest of what can be used again."""
        self.messages.append(message)
        del self.messages[:-_REMEMBERED]
        if isinstance(message, CertificateMessage):
            self._learn_certificate(message.certificate)
        elif isinstance(message, Proposal) and message.parent_certificate is not None:
            self._learn_certificate(message.parent_certificate)

    def _learn_certificate(self, certificate: Certificate) -> None:
        if certificate not in self.certificates[-12:]:
            self.certificates.append(certificate)
            del self.certificates[:-_REMEMBERED]

    def may(self, probability: float) -> bool:
        """Whether to lie now."""
        if probability and self.mischief_count < MAX_MISCHIEF and self.random.random() < probability:
            self.mischief_count += 1
            return True
        return False


class ByzantineNode(SimulatedNode):
    """A validator that lies."""

    is_honest = False

    def __init__(
        self, parts: NodeParts, ledger: NodeLedger, key: SimulatedKey, *, adversary: Adversary, malice: Malice
    ) -> None:
        super().__init__(parts, ledger, key)
        self.adversary = adversary
        self.malice = malice
        self._seen_view = (0, 0)
        self._spoiled_views: dict[tuple[int, int], None] = {}
        adversary.keys[key.address] = key
        parts.oracles.suspects[key.address] = None

    # Where the network is

    def dispatch(self, event: Event) -> None:
        """As an honest node, and then a look at what could be spoiled."""
        super().dispatch(event)
        if self.is_up and (self.engine.epoch, self.engine.view) != self._seen_view:
            self._seen_view = self.engine.epoch, self.engine.view
            self._enter_view(*self._seen_view)

    def _validators(self, epoch: int) -> tuple[Address, ...]:
        return self.parts.oracles.sets.get(epoch, ())

    def _enter_view(self, epoch: int, view: int) -> None:
        validators = self._validators(epoch)
        assert self.key is not None
        if self.key.address not in validators:
            return
        leader, may = validators[(view + epoch) % len(validators)], self.adversary.may
        if leader == self.key.address:
            if may(self.malice.fork):
                self._fork(epoch, view)
        elif may(self.malice.usurp):
            self._usurp(epoch, view)
        if may(self.malice.forge):
            self._forge(epoch, view)
        if may(self.malice.slander):
            self._slander(epoch, view)
        if may(self.malice.boast):
            self._scatter(Status(epoch, view + self.adversary.random.randrange(1, 10**6), 10**6))

    # Messages in

    def receive(self, sender: int, message: Message) -> None:
        """Listens, lies, and lets its own engine know no more than an honest one's would."""
        if not self.is_up:
            return
        adversary, malice = self.adversary, self.malice
        adversary.learn(message)
        if isinstance(message, GetBlock | GetCertificates | GetRange) and adversary.may(malice.mute):
            return
        if isinstance(message, VoteMessage):
            if adversary.may(malice.amplify):
                self._vote_like(message.vote)
            if adversary.may(malice.contradict):
                self._vote_against(message.vote)
        elif isinstance(message, Proposal) and adversary.may(malice.amplify):
            self._vote_like(message.vote)
        if adversary.may(malice.replay):
            self._scatter(adversary.random.choice(adversary.messages))
        if adversary.may(malice.garble):
            garbage = garbled(message, adversary.random)
            if garbage is not None:
                self._scatter(garbage)
        if not self._is_of_ours(message):
            super().receive(sender, message)

    def _is_of_ours(self, message: Message) -> bool:
        """Lies that come back: the engine would find that its key is used by somebody else."""
        votes: tuple[Vote, ...] = ()
        if isinstance(message, VoteMessage | Proposal):
            votes = (message.vote,)
        elif isinstance(message, EvidenceMessage):
            votes = (message.first, message.second)
        for vote in votes:
            validators = self._validators(vote.epoch)
            if vote.signer < len(validators) and self.key is not None:
                if validators[vote.signer] == self.key.address:
                    return True
        return False

    # Votes

    def _sign(self, kind: VoteKind, epoch: int, view: int, parent_view: int, block_hash: Hash32) -> list[Vote]:
        """One vote with each of our keys that the epoch knows."""
        validators = self._validators(epoch)
        if kind is VoteKind.NULLIFY:
            parent_view, block_hash = 0, NO_BLOCK
        return [
            sign_vote(
                key,
                genesis_hash=self.parts.genesis_hash,
                signer=validators.index(address),
                kind=kind,
                epoch=epoch,
                view=view,
                parent_view=parent_view,
                block_hash=block_hash,
            )
            for address, key in self.adversary.keys.items()
            if address in validators
        ]

    def _vote_like(self, vote: Vote) -> None:
        for own in self._sign(vote.kind, vote.epoch, vote.view, vote.parent_view, vote.block_hash):
            self._scatter(VoteMessage(own))

    def _vote_against(self, vote: Vote) -> None:
        random = self.adversary.random
        kind = random.choice([kind for kind in VoteKind if kind is not vote.kind])
        if kind is VoteKind.NULLIFY:
            votes = self._sign(kind, vote.epoch, vote.view, 0, NO_BLOCK)
        elif vote.kind is VoteKind.NULLIFY:
            known = [c for c in self.adversary.certificates if c.kind is VoteKind.NOTARIZE]
            if not known:
                return
            chosen = random.choice(known[-4:])
            votes = self._sign(kind, chosen.epoch, chosen.view, chosen.parent_view, chosen.block_hash)
        else:
            votes = self._sign(kind, vote.epoch, vote.view, vote.parent_view, vote.block_hash)
        for own in votes:
            self._scatter(VoteMessage(own))

    def _slander(self, epoch: int, view: int) -> None:
        """One true vote of another's and a made-up one, or two made-up ones."""
        random = self.adversary.random
        heard = [m.vote for m in self.adversary.messages if isinstance(m, VoteMessage | Proposal)]
        victim = random.randrange(len(self._validators(epoch)))
        for own in self._sign(VoteKind.NULLIFY, epoch, view, 0, NO_BLOCK)[:1]:
            first = msgspec.structs.replace(own, signer=victim)
            if heard and random.random() < 0.5:
                first = random.choice(heard)
            second = msgspec.structs.replace(
                first, kind=VoteKind.FINALIZE, parent_view=view, block_hash=Hash32(bytes(31) + b"\1")
            )
            self._scatter(EvidenceMessage(first, second), 1.0)

    def _scatter(self, message: Message, share: float | None = None) -> None:
        """To everybody, or to some."""
        random = self.adversary.random
        share = random.choice((1.0, 1.0, 0.5)) if share is None else share
        for peer in self.peers():
            if random.random() < share:
                self.send_one(peer, message)

    # Proposals

    def send(self, send: Send | Ask) -> None:
        """What the honest engine says, spoiled."""
        message, adversary, malice = send.message, self.adversary, self.malice
        adversary.learn(message)
        if isinstance(message, Proposal):
            if (message.vote.epoch, message.vote.view) in self._spoiled_views or self._spoil(message):
                return
        elif isinstance(message, VoteMessage) and adversary.may(malice.selective):
            self._scatter(message, 0.4)
            return
        super().send(send)

    def _spoil(self, proposal: Proposal) -> bool:
        """Whether something else has been sent instead."""
        may, malice = self.adversary.may, self.malice
        if may(malice.silence):
            return True
        if may(malice.equivocate):
            return self._equivocate(proposal)
        if may(malice.withhold):
            self._scatter(proposal, 0.5)
            return True
        if may(malice.invalid):
            return self._send_invalid(proposal)
        if may(malice.unbound):
            body = (*proposal.block.transactions, b"one more")
            self._scatter(msgspec.structs.replace(proposal, block=Block(proposal.block.header, body)), 1.0)
            return True
        if may(malice.future):
            return self._send_future(proposal)
        if may(malice.unjustified):
            self._send_unjustified(proposal)
            return True
        return False

    def _proposals(self, proposal: Proposal, block: Block) -> list[Proposal]:
        """The same with another block, if the leader's key is ours."""
        vote, validators = proposal.vote, self._validators(proposal.vote.epoch)
        votes = self._sign(VoteKind.NOTARIZE, vote.epoch, vote.view, vote.parent_view, block.header.hash)
        return [
            Proposal(block, own, proposal.parent_certificate, proposal.nullifications)
            for own in votes
            if self.key is not None and validators[own.signer] == self.key.address
        ]

    def _equivocate(self, proposal: Proposal) -> bool:
        header = proposal.block.header
        other = self.ledger.on_any(header.parent_hash, proposer=header.proposer, time_ms=header.time_ms + 1)
        if other is None:
            return False
        peers = self.peers()
        self.adversary.random.shuffle(peers)
        half = (len(peers) + self.adversary.random.randrange(2)) // 2
        for second in self._proposals(proposal, other):
            for position, peer in enumerate(peers):
                self.send_one(peer, proposal if position < half else second)
        return True

    def _send_invalid(self, proposal: Proposal) -> bool:
        random, header = self.adversary.random, proposal.block.header
        name, value = random.choice(
            [
                ("state_root", Hash32(bytes(31) + b"\1")),
                ("results_root", Hash32(bytes(31) + b"\1")),
                ("next_validators_hash", Hash32(bytes(31) + b"\1")),
                ("proposer", Address(bytes(20))),
                ("epoch", header.epoch + 1),
                ("height", header.height + 1),
                ("height", 0),
                ("time_ms", 0),
                ("time_ms", 2**63 - 1),
                ("parent_hash", header.hash),
                ("parent_hash", Hash32(bytes(32))),
                ("chain_id", header.chain_id + 1),
                ("protocol_version", 2),
            ]
        )
        block = Block(msgspec.structs.replace(header, **{name: value}), proposal.block.transactions)
        for spoiled in self._proposals(proposal, block):
            self._scatter(spoiled, 1.0)
        return True

    def _send_future(self, proposal: Proposal) -> bool:
        header = proposal.block.header
        ahead_ms = self.adversary.random.choice((1, 4_000, 6_000, 60_000, 10**12))
        block = self.ledger.on_any(header.parent_hash, proposer=header.proposer, time_ms=header.time_ms + ahead_ms)
        if block is None:
            return False
        for spoiled in self._proposals(proposal, block):
            self._scatter(spoiled, 1.0)
        return True

    def _send_unjustified(self, proposal: Proposal) -> None:
        random = self.adversary.random
        certificate: Certificate | None = None
        if self.adversary.certificates and random.random() < 0.7:
            certificate = random.choice(self.adversary.certificates)
        nullifications = proposal.nullifications[: random.randrange(len(proposal.nullifications) + 1)]
        self._scatter(
            msgspec.structs.replace(proposal, parent_certificate=certificate, nullifications=nullifications), 1.0
        )

    def _fork(self, epoch: int, view: int) -> None:
        """At once on entering: some honest nodes have not yet seen the newest block become final."""
        known = [
            each
            for each in self.adversary.certificates
            if each.kind is not VoteKind.NULLIFY and each.epoch == epoch and each.view < view - 1
        ]
        if not known:
            return
        parent = self.adversary.random.choice(known[-3:])
        block = self._block_on(parent.block_hash)
        if block is not None:
            self._propose(block, epoch, view, parent)

    def _usurp(self, epoch: int, view: int) -> None:
        """In a view of somebody else's; with the leader's index or its own."""
        known = [c for c in self.adversary.certificates if c.kind is not VoteKind.NULLIFY and c.epoch == epoch]
        if not known:
            return
        parent = max(known[-6:], key=lambda each: each.view)
        block = self._block_on(parent.block_hash)
        if block is not None and parent.view < view:
            self._propose(block, epoch, view, parent)

    def _block_on(self, parent_hash: Hash32) -> Block | None:
        assert self.key is not None
        return self.ledger.on_any(parent_hash, proposer=self.key.address, time_ms=self.clock_ms())

    def _propose(self, block: Block, epoch: int, view: int, parent: Certificate) -> None:
        nullifications = tuple(
            each
            for each in self.adversary.certificates
            if each.kind is VoteKind.NULLIFY and each.epoch == epoch and parent.view < each.view < view
        )[:32]
        validators = self._validators(epoch)
        leader = (view + epoch) % len(validators)
        for vote in self._sign(VoteKind.NOTARIZE, epoch, view, parent.view, block.header.hash):
            if self.key is None or validators[vote.signer] != self.key.address:
                continue
            if vote.signer != leader and self.adversary.random.random() < 0.5:
                vote = msgspec.structs.replace(vote, signer=leader)  # noqa: PLW2901 - a lie about who has signed
            self._scatter(Proposal(block, vote, parent, nullifications), 1.0)
            self._spoiled_views[epoch, view] = None

    def _forge(self, epoch: int, view: int) -> None:
        """A certificate of the present view out of our signatures alone."""
        random = self.adversary.random
        kind = random.choice(list(VoteKind))
        parent_view, block_hash = 0, NO_BLOCK
        if kind is not VoteKind.NULLIFY:
            heard = [m.vote for m in self.adversary.messages if isinstance(m, Proposal) and m.vote.epoch == epoch]
            if not heard:
                return
            vote = heard[-1]
            view, parent_view, block_hash = vote.view, vote.parent_view, vote.block_hash
        votes = self._sign(kind, epoch, view, parent_view, block_hash)
        if votes:
            forged = repeated_signer(votes[0], len(self._validators(epoch)), random)
            self._scatter(CertificateMessage(forged), 1.0)
