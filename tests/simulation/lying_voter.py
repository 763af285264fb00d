"""A Byzantine node's votes, certificates and evidence. It runs the honest engine to know where the network is."""

import msgspec

from chain.consensus.messages import (
    BlockMessage,
    CertificateMessage,
    EvidenceMessage,
    GetBlock,
    GetCertificates,
    GetRange,
    Message,
    Proposal,
    VoteMessage,
)
from chain.primitives.block import Block
from chain.primitives.certificate import NO_BLOCK, Vote, VoteKind, sign_vote
from chain.primitives.types import Address, Hash32
from tests.simulation.adversary import Adversary, Malice
from tests.simulation.garbage import false_range, garbled, repeated_signer
from tests.simulation.ledgers import NodeLedger, final_range
from tests.simulation.node import SimulatedNode
from tests.simulation.parts import NodeParts
from tests.simulation.signatures import SimulatedKey


class LyingVoter(SimulatedNode):
    """Contradicts itself, holds back, replays, forges."""

    is_honest = False

    def __init__(
        self, parts: NodeParts, ledger: NodeLedger, key: SimulatedKey, *, adversary: Adversary, malice: Malice
    ) -> None:
        super().__init__(parts, ledger, key)
        self.adversary = adversary
        self.malice = malice
        adversary.keys[key.address] = key
        parts.oracles.suspects[key.address] = None

    def validators(self, epoch: int) -> tuple[Address, ...]:
        """Of an epoch, as far as anybody has come."""
        return self.parts.oracles.sets.get(epoch, ())

    # Messages in

    def receive(self, sender: int, message: Message) -> None:
        """Listens, lies, and lets its own engine know no more than an honest one's would."""
        if not self.is_up:
            return
        adversary, malice = self.adversary, self.malice
        adversary.learn(message)
        if isinstance(message, GetBlock | GetCertificates | GetRange):
            if adversary.may(malice.mute):
                return
            if adversary.may(malice.fabricate) and self._fabricate(sender, message):
                return
        if isinstance(message, VoteMessage):
            if adversary.may(malice.amplify):
                self._vote_like(message.vote)
            if adversary.may(malice.contradict):
                self._vote_against(message.vote)
        elif isinstance(message, Proposal) and adversary.may(malice.amplify):
            self._vote_like(message.vote)
        if adversary.may(malice.replay):
            self.scatter(adversary.random.choice(adversary.messages))
        if adversary.may(malice.garble):
            garbage = garbled(message, adversary.random)
            if garbage is not None:
                self.scatter(garbage)
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
            validators = self.validators(vote.epoch)
            is_known = vote.signer < len(validators)
            if is_known and self.key is not None and validators[vote.signer] == self.key.address:
                return True
        return False

    def _fabricate(self, sender: int, question: GetBlock | GetCertificates | GetRange) -> bool:
        """Whether a false answer was to be had."""
        random = self.adversary.random
        if isinstance(question, GetBlock):
            block = self.engine.block(question.block_hash) or self.ledger.stored_by_hash(question.block_hash)
            if block is not None:
                self.send_one(sender, BlockMessage(Block(block.header, (*block.transactions, b"one more"))))
            return block is not None
        if isinstance(question, GetRange):
            answer = final_range(self.ledger, question.from_height)
            if answer is not None:
                self.send_one(sender, false_range(answer, random))
            return answer is not None
        if self.adversary.certificates:
            self.send_one(sender, CertificateMessage(random.choice(self.adversary.certificates)))
        return True

    # Votes

    def sign(self, kind: VoteKind, epoch: int, view: int, parent_view: int, block_hash: Hash32) -> list[Vote]:
        """One vote with each of our keys that the epoch knows."""
        validators = self.validators(epoch)
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
        for own in self.sign(vote.kind, vote.epoch, vote.view, vote.parent_view, vote.block_hash):
            self.scatter(VoteMessage(own))

    def _vote_against(self, vote: Vote) -> None:
        random = self.adversary.random
        kind = random.choice([kind for kind in VoteKind if kind is not vote.kind])
        if kind is VoteKind.NULLIFY:
            votes = self.sign(kind, vote.epoch, vote.view, 0, NO_BLOCK)
        elif vote.kind is VoteKind.NULLIFY:
            known = [c for c in self.adversary.certificates if c.kind is VoteKind.NOTARIZE]
            if not known:
                return
            chosen = random.choice(known[-4:])
            votes = self.sign(kind, chosen.epoch, chosen.view, chosen.parent_view, chosen.block_hash)
        else:
            votes = self.sign(kind, vote.epoch, vote.view, vote.parent_view, vote.block_hash)
        for own in votes:
            self.scatter(VoteMessage(own))

    def impersonate(self, epoch: int, view: int) -> None:
        """Votes of everybody else for what was heard last, with our own signature."""
        heard = [m.vote for m in self.adversary.messages if isinstance(m, VoteMessage | Proposal)]
        kind = self.adversary.random.choice(list(VoteKind))
        block_hash = NO_BLOCK if kind is VoteKind.NULLIFY or not heard else heard[-1].block_hash
        if kind is not VoteKind.NULLIFY and block_hash == NO_BLOCK:
            return
        for own in self.sign(kind, epoch, view, view - 1, block_hash)[:1]:
            for signer in range(len(self.validators(epoch))):
                if signer != own.signer:
                    self.scatter(VoteMessage(msgspec.structs.replace(own, signer=signer)), 1.0)

    def slander(self, epoch: int, view: int) -> None:
        """One true vote of another's and a made-up one, or two made-up ones."""
        random = self.adversary.random
        heard = [m.vote for m in self.adversary.messages if isinstance(m, VoteMessage | Proposal)]
        victim = random.randrange(len(self.validators(epoch)))
        for own in self.sign(VoteKind.NULLIFY, epoch, view, 0, NO_BLOCK)[:1]:
            first = msgspec.structs.replace(own, signer=victim)
            if heard and random.random() < 0.5:
                first = random.choice(heard)
            second = msgspec.structs.replace(
                first, kind=VoteKind.FINALIZE, parent_view=view, block_hash=Hash32(bytes(31) + b"\1")
            )
            self.scatter(EvidenceMessage(first, second), 1.0)

    def scatter(self, message: Message, share: float | None = None) -> None:
        """To everybody, or to some."""
        random = self.adversary.random
        share = random.choice((1.0, 1.0, 0.5)) if share is None else share
        for peer in self.peers():
            if random.random() < share:
                self.send_one(peer, message)

    def forge(self, epoch: int, view: int) -> None:
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
        votes = self.sign(kind, epoch, view, parent_view, block_hash)
        if votes:
            forged = repeated_signer(votes[0], len(self.validators(epoch)), random)
            self.scatter(CertificateMessage(forged), 1.0)
