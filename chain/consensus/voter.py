"""This node's own votes: when it may cast one at all, and that none is ever sent before it is recorded."""

from collections.abc import Callable, Sequence

from chain.consensus.block_work import BlockWork
from chain.consensus.committee import Committee
from chain.consensus.draft import Draft
from chain.consensus.effects import Halt, Recovered
from chain.consensus.knowledge import Knowledge
from chain.consensus.messages import Message, VoteMessage
from chain.consensus.view import ViewState
from chain.primitives.certificate import NO_BLOCK, Certificate, Vote, VoteKind
from chain.primitives.keys import SignerUnavailable
from chain.primitives.types import Hash32


class Voter:
    """Casts votes in one epoch after another."""

    def __init__(self, recovered: Recovered, work: BlockWork, draft: Draft) -> None:
        self._work = work
        self._draft = draft
        self._has_stopped = False
        self._is_mute = False
        self._has_voted = not recovered.is_journal_new
        self._is_history_lost = recovered.is_vote_history_lost
        self._is_quarantined = recovered.is_vote_history_lost
        self._vote_from_view = 0

    def begin_epoch(self, committee: Committee, knowledge: Knowledge) -> None:
        """From now on votes count there. Where no quarantine is on, no lost vote can be of this epoch."""
        self._committee = committee
        self._knowledge = knowledge
        self._vote_from_view = 0

    def end_quarantine(self, final_view: int) -> None:
        """A block has become final that was made after the start: lost votes lie below the view after its next."""
        if self._must_keep_away():
            self._vote_from_view = final_view + 2
        self._is_quarantined = False

    def _must_keep_away(self) -> bool:
        # Where every validator is needed for a quorum, a lost vote cannot be contradicted: nobody is outvoted. And a
        # view that one of them keeps away from never ends.
        return self._is_quarantined and self._committee.faulty_bound > 0

    def may_vote_in(self, view: int) -> bool:
        """Whether this node votes at all, and has not to keep away from votes that it may have lost."""
        is_member = self._committee.own_index is not None
        is_able = is_member and not self._has_stopped and not self._is_mute and not self._must_keep_away()
        return is_able and view >= self._vote_from_view

    def may_notarize(self, state: ViewState) -> bool:
        """Whether a Notarize may be cast in a view."""
        is_open = VoteKind.NOTARIZE not in state.own and VoteKind.NULLIFY not in state.own
        return is_open and self.may_vote_in(state.number)

    def may_nullify(self, state: ViewState) -> bool:
        """Whether a Nullify may be cast in a view: after an own Notarize too, never after an own Finalize."""
        is_open = VoteKind.NULLIFY not in state.own and VoteKind.FINALIZE not in state.own
        return is_open and self.may_vote_in(state.number)

    def notarize(
        self, view: int, parent_view: int, block_hash: Hash32, announce: Callable[[Vote], Message] = VoteMessage
    ) -> None:
        """The only Notarize of the view, recorded with its block."""
        self._cast(VoteKind.NOTARIZE, view, parent_view, block_hash, announce)

    def nullify(self, view: int) -> None:
        """Gives the view up."""
        self._cast(VoteKind.NULLIFY, view, 0, NO_BLOCK)

    def finalize(self, certificates: Sequence[Certificate]) -> None:
        """Finalizes what a NotarCert says, in views that were never given up."""
        for certificate in certificates:
            view = certificate.view
            if view > self._knowledge.final_view and self.may_nullify(self._knowledge.state(view)):
                self._cast(VoteKind.FINALIZE, view, certificate.parent_view, certificate.block_hash)

    def _cast(
        self,
        kind: VoteKind,
        view: int,
        parent_view: int,
        block_hash: Hash32,
        announce: Callable[[Vote], Message] = VoteMessage,
    ) -> None:
        """Signs, records, sends and counts; nothing of it where the signer is away."""
        own = self._knowledge.state(view).own
        assert kind not in own and self.may_vote_in(view)
        assert not {kind, *own} >= {VoteKind.NULLIFY, VoteKind.FINALIZE}
        try:
            vote = self._committee.sign(kind, view, parent_view, block_hash)
        except SignerUnavailable:
            self._is_mute = True  # A vote that was never sent binds to nothing, whatever the signer has seen of it.
            return
        own[kind] = vote
        self._has_voted = True
        known = self._work.tree.get(block_hash) if kind is VoteKind.NOTARIZE else None
        self._draft.record_vote(vote, known.block if known is not None and not known.is_recorded else None)
        if known is not None:
            known.is_recorded = True
        self._draft.send(announce(vote))
        self._knowledge.learn_vote(vote)

    def check_key(self, certificates: Sequence[Certificate]) -> None:
        """Stops where somebody else votes with this key, or where this journal is not the key's."""
        # A journal without any vote, and a certificate with one: then the votes were cast from elsewhere.
        is_signed = any(self._committee.own_index in certificate.signers for certificate in certificates)
        is_elsewhere = self._knowledge.is_key_elsewhere or (is_signed and not self._has_voted)
        if is_elsewhere and not self._is_history_lost and not self._has_stopped:
            self.stop(
                "A vote signed with this node's key, which this node has not cast, is in the network: another process "
                "uses the key, or the vote journal is not the one that belongs to it. Stop the other process; if there "
                "is none, rotate the key (aitbc node keys rotate)."
            )

    def signer_returned(self) -> None:
        """Votes can be signed again."""
        self._is_mute = False

    def stop(self, reason: str) -> None:
        """No vote any more, and the node is to halt."""
        self._has_stopped = True
        self._draft.do(Halt(reason))
