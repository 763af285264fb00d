"""A Byzantine validator: a lying voter that lies as a leader, too."""

import msgspec

from chain.consensus.effects import Ask, Event, Send
from chain.consensus.messages import Proposal, Status, VoteMessage
from chain.primitives.block import Block
from chain.primitives.certificate import Certificate, VoteKind
from chain.primitives.types import Address, Hash32
from tests.simulation.adversary import Adversary, Malice
from tests.simulation.ledgers import NodeLedger
from tests.simulation.lying_voter import LyingVoter
from tests.simulation.parts import NodeParts
from tests.simulation.signatures import SimulatedKey


class ByzantineNode(LyingVoter):
    """What its engine says is changed, held back, doubled or made up."""

    def __init__(
        self, parts: NodeParts, ledger: NodeLedger, key: SimulatedKey, *, adversary: Adversary, malice: Malice
    ) -> None:
        super().__init__(parts, ledger, key, adversary=adversary, malice=malice)
        self._seen_view = (0, 0)
        self._spoiled_views: dict[tuple[int, int], None] = {}

    # Where the network is

    def dispatch(self, event: Event) -> None:
        """As an honest node, and then a look at what could be spoiled."""
        super().dispatch(event)
        if self.is_up and (self.engine.epoch, self.engine.view) != self._seen_view:
            self._seen_view = self.engine.epoch, self.engine.view
            self._enter_view(*self._seen_view)

    def _enter_view(self, epoch: int, view: int) -> None:
        validators = self.validators(epoch)
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
            self.forge(epoch, view)
        if may(self.malice.impersonate):
            self.impersonate(epoch, view)
        if may(self.malice.slander):
            self.slander(epoch, view)
        if may(self.malice.boast):
            self.scatter(Status(epoch, view + self.adversary.random.randrange(1, 10**6), 10**6))

    # Proposals

    def send(self, send: Send | Ask) -> None:
        """What the honest engine says, spoiled."""
        message, adversary, malice = send.message, self.adversary, self.malice
        adversary.learn(message)
        if isinstance(message, Proposal):
            if (message.vote.epoch, message.vote.view) in self._spoiled_views or self._spoil(message):
                return
        elif isinstance(message, VoteMessage) and adversary.may(malice.selective):
            self.scatter(message, 0.4)
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
            self.scatter(proposal, 0.5)
            return True
        if may(malice.invalid):
            return self._send_invalid(proposal)
        if may(malice.unbound):
            body = (*proposal.block.transactions, b"one more")
            self.scatter(msgspec.structs.replace(proposal, block=Block(proposal.block.header, body)), 1.0)
            return True
        if may(malice.future):
            return self._send_future(proposal)
        if may(malice.unjustified):
            self._send_unjustified(proposal)
            return True
        return False

    def _proposals(self, proposal: Proposal, block: Block) -> list[Proposal]:
        """The same with another block, if the leader's key is ours."""
        vote, validators = proposal.vote, self.validators(proposal.vote.epoch)
        votes = self.sign(VoteKind.NOTARIZE, vote.epoch, vote.view, vote.parent_view, block.header.hash)
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
            self.scatter(spoiled, 1.0)
        return True

    def _send_future(self, proposal: Proposal) -> bool:
        header = proposal.block.header
        ahead_ms = self.adversary.random.choice((1, 4_000, 6_000, 60_000, 10**12))
        block = self.ledger.on_any(header.parent_hash, proposer=header.proposer, time_ms=header.time_ms + ahead_ms)
        if block is None:
            return False
        for spoiled in self._proposals(proposal, block):
            self.scatter(spoiled, 1.0)
        return True

    def _send_unjustified(self, proposal: Proposal) -> None:
        random = self.adversary.random
        certificate: Certificate | None = None
        if self.adversary.certificates and random.random() < 0.7:
            certificate = random.choice(self.adversary.certificates)
        nullifications = proposal.nullifications[: random.randrange(len(proposal.nullifications) + 1)]
        self.scatter(
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
        newest = max(known[-6:], key=lambda each: each.view)
        parent = newest if self.adversary.random.random() < 0.5 else self.adversary.random.choice(known[-3:])
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
        validators = self.validators(epoch)
        leader = (view + epoch) % len(validators)
        for vote in self.sign(VoteKind.NOTARIZE, epoch, view, parent.view, block.header.hash):
            if self.key is None or validators[vote.signer] != self.key.address:
                continue
            if vote.signer != leader and self.adversary.random.random() < 0.5:
                vote = msgspec.structs.replace(vote, signer=leader)  # noqa: PLW2901 - a lie about who has signed
            self.scatter(Proposal(block, vote, parent, nullifications), 1.0)
            self._spoiled_views[epoch, view] = None
