"""What peers say: checked, learned, answered. Whoever says what no honest peer says is blamed."""

from chain.consensus.block_work import BlockWork
from chain.consensus.draft import Draft
from chain.consensus.effects import Blame, ChainReceived, FetchFinal, PeerId
from chain.consensus.knowledge import FIRST_VIEW, KEPT_VIEWS, Knowledge
from chain.consensus.messages import (
    BlockMessage,
    CertificateMessage,
    EvidenceMessage,
    GetCertificates,
    Message,
    Proposal,
    Status,
    VoteMessage,
)
from chain.consensus.retelling import Retelling
from chain.consensus.view import contradict
from chain.primitives.block import Block
from chain.primitives.certificate import Certificate, Vote, VoteKind
from chain.primitives.rejection import Rejected, RejectionReason


class Hearing:
    """Takes messages about one epoch in."""

    def __init__(
        self,
        knowledge: Knowledge,
        work: BlockWork,
        retelling: Retelling,
        draft: Draft,
        epoch_end: Certificate | None,
    ) -> None:
        """`epoch_end` is the FinalCert that ended the epoch before, where it is known."""
        self._knowledge = knowledge
        self._committee = knowledge.committee
        self._work = work
        self._retelling = retelling
        self._draft = draft
        self._epoch_end = epoch_end

    def hear(self, peer: PeerId, message: Message) -> None:
        """One message of a peer's."""
        try:
            match message:
                case Proposal():
                    self._on_proposal(peer, message)
                case VoteMessage(vote):
                    self._on_vote(peer, vote)
                case CertificateMessage(certificate):
                    self._on_certificate(peer, certificate)
                case EvidenceMessage(first, second):
                    self._on_evidence(first, second)
                case GetCertificates(epoch, view):
                    if self._is_of_this_epoch(peer, epoch):
                        for each in self._knowledge.certificates(view):
                            self._draft.send_certificate(each, peer)
                case BlockMessage(block):
                    if self._work.was_asked_for(block.header.hash):
                        self._work.tree.add(block, source=peer, view=self._knowledge.view)
                case Status():
                    self._on_status(peer, message)
        except Rejected as rejected:
            self._draft.do(Blame(peer, str(rejected)))

    def _is_of_this_epoch(self, peer: PeerId, epoch: int) -> bool:
        """For another one: help whoever is behind, and let oneself be helped."""
        if epoch > self._committee.epoch:
            self._draft.do(FetchFinal(peer))
        elif epoch == self._committee.epoch - 1 and self._epoch_end is not None:
            self._draft.send_certificate(self._epoch_end, peer)
        return epoch == self._committee.epoch

    def _on_proposal(self, peer: PeerId, proposal: Proposal) -> None:
        vote, knowledge = proposal.vote, self._knowledge
        if not self._is_of_this_epoch(peer, vote.epoch) or vote.view <= knowledge.final_view:
            return
        if vote.kind is not VoteKind.NOTARIZE or vote.signer != self._committee.leader(vote.view):
            raise Rejected(RejectionReason.BAD_VOTE, "a proposal without its leader's Notarize")
        self._committee.check_vote(vote)
        self._hear_justification(peer, proposal)
        if not knowledge.final_view < vote.view <= knowledge.view + 1:
            return
        self._learn_vote(peer, vote)
        # The justification or the vote may have made something final that is later than this view.
        if vote.view > knowledge.final_view and knowledge.state(vote.view).proposal == vote:
            self._take_body(peer, vote, proposal.block)

    def _hear_justification(self, peer: PeerId, proposal: Proposal) -> None:
        """A wrong one is missing, no more: the leader's vote counts all the same."""
        try:
            for certificate in (proposal.parent_certificate, *proposal.nullifications):
                if certificate is not None:
                    self._on_certificate(peer, certificate)
        except Rejected as rejected:
            self._draft.do(Blame(peer, str(rejected)))

    def _learn_vote(self, peer: PeerId, vote: Vote) -> None:
        self._knowledge.learn_vote(vote)
        if vote.view > self._knowledge.final_view:
            state = self._knowledge.state(vote.view)
            if state.proposal == vote:
                state.proposal_source = state.proposal_source or peer

    def _take_body(self, peer: PeerId, vote: Vote, block: Block) -> None:
        # One that is not bound by the vote, or comes very late, is missing: it is asked for where it is wanted.
        if block.header.hash == vote.block_hash and vote.view > self._knowledge.view - KEPT_VIEWS:
            self._work.tree.add(block, source=peer, view=vote.view)

    def _on_vote(self, peer: PeerId, vote: Vote) -> None:
        if self._is_of_this_epoch(peer, vote.epoch) and self._knowledge.is_vote_new(vote):
            self._committee.check_vote(vote)
            self._learn_vote(peer, vote)

    def _on_certificate(self, peer: PeerId, certificate: Certificate) -> None:
        if certificate.epoch < self._committee.epoch or not self._is_of_this_epoch(peer, certificate.epoch):
            return
        if self._knowledge.is_certificate_new(certificate):
            self._committee.check_certificate(certificate)
            self._knowledge.learn_certificate(certificate)
            if certificate.kind is VoteKind.FINALIZE and self._work.tree.path_to(certificate.block_hash)[1] is not None:
                self._draft.do(FetchFinal(peer))

    def _on_evidence(self, first: Vote, second: Vote) -> None:
        is_new = first.epoch == self._committee.epoch and not self._knowledge.is_accused(first.signer)
        if is_new and contradict(first, second):
            self._committee.check_vote(first)
            self._committee.check_vote(second)
            self._knowledge.accuse(first, second)

    def _on_status(self, peer: PeerId, status: Status) -> None:
        if not self._is_of_this_epoch(peer, status.epoch):
            return
        if status.view > self._knowledge.view:
            self._draft.ask(GetCertificates(status.epoch, status.view - 1), peer)
        elif status.view < self._knowledge.view or status.height < self._work.floor.height:
            self._knowledge.send_certificates(peer)
        elif status.view == FIRST_VIEW:
            # Whoever begins an epoch late has dropped what it heard of it before.
            self._retelling.votes_to(peer)

    def hear_chain(self, received: ChainReceived) -> None:
        """Final blocks that follow the committed head; those that have been committed meanwhile are passed over."""
        committed = self._work.tree.committed
        links = [link for link in received.links if link[0].header.height > committed.height]
        if not links or links[0][0].header.height != committed.height + 1:
            return
        try:
            self._check_chain(links)
        except Rejected as rejected:
            self._draft.do(Blame(received.peer, str(rejected)))
            self._draft.do(FetchFinal(None))
            return
        for block, certificate in links:
            self._work.tree.add(block, source=received.peer, view=self._knowledge.view)
            if certificate is not None:
                self._knowledge.look_for_own_vote(certificate)
                self._work.add_final(certificate)
        last = links[-1][1]
        assert last is not None
        self._knowledge.learn_certificate(last)

    def _check_chain(self, links: list[tuple[Block, Certificate | None]]) -> None:
        """Raises Rejected unless these are final blocks of this epoch that follow the committed head."""
        parent = self._work.tree.committed
        for block, _ in links:
            if block.header.parent_hash != parent.hash or self._knowledge.is_boundary(parent):
                raise Rejected(RejectionReason.WRONG_PARENT, "these blocks do not follow the committed head")
            parent = block.header
        if links[-1][1] is None:
            raise Rejected(RejectionReason.BAD_CERTIFICATE, "the last block has no certificate")
        # From the last one, which makes all final: forged blocks cost one signature.
        for block, certificate in reversed(links):
            if certificate is not None:
                named = certificate.kind, certificate.epoch, certificate.block_hash
                if named != (VoteKind.FINALIZE, self._committee.epoch, block.header.hash):
                    raise Rejected(RejectionReason.BAD_CERTIFICATE, "a certificate that does not finalize its block")
                self._committee.check_certificate(certificate)
