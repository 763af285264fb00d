"""What is known of one epoch: votes and certificates by view, what is final, whose turn it is, who has gone silent.

It learns what has been verified, forwards and records new certificates, and accuses whoever contradicts itself. What
follows from it is the engine's to decide.
"""

from typing import Final

from chain.consensus.committee import Committee
from chain.consensus.draft import Draft
from chain.consensus.effects import Floor, KeepEvidence, PeerId
from chain.consensus.messages import MAX_NULLIFICATIONS, EvidenceMessage, GetCertificates, Proposal
from chain.consensus.view import ViewState
from chain.primitives.block import Block, Header
from chain.primitives.certificate import Certificate, Vote, VoteKind
from chain.primitives.types import Hash32

FIRST_VIEW: Final = 1
"""Of an epoch: the block that ended the one before stands in view 0."""
KEPT_VIEWS: Final = 8
"""How long votes that made their certificate are kept, to see contradictions, and bodies that nobody notarized."""


class Knowledge:
    """One epoch, above its floor."""

    def __init__(self, committee: Committee, floor: Floor, draft: Draft) -> None:
        self.committee = committee
        self.view = floor.view + 1
        """The present view: one above the highest certificate."""
        self.entered_by: Certificate | None = None
        self.final_view = floor.view
        self.final_hash = floor.block_hash
        self.final_certificate: Certificate | None = None
        self.notarized_view = floor.view
        """The highest view that has a NotarCert, or the final one."""
        self.newly_notarized: list[Certificate] = []
        """For the engine to take."""
        self.newly_final: list[Certificate] = []
        """For the engine to take."""
        self.is_key_elsewhere = False
        """Whether a vote of the own key has been seen that this node has not cast."""
        self._draft = draft
        self._states: dict[int, ViewState] = {}
        self._accused: set[int] = set()
        self._asked_views: set[int] = set()
        self._last_active = [self.view] * committee.size
        """By validator, the newest view that it has voted in."""

    # Looking

    def state(self, view: int) -> ViewState:
        """What is known of a view above the final one."""
        state = self._states.get(view)
        if state is None:
            state = self._states[view] = ViewState(view)
        return state

    @property
    def current(self) -> ViewState:
        """The present view's state."""
        return self.state(self.view)

    def certificate(self, view: int, kind: VoteKind) -> Certificate | None:
        """A certificate above the final view."""
        state = self._states.get(view)
        return state.certificates.get(kind) if state is not None else None

    def certificates(self, view: int) -> list[Certificate]:
        """What helps somebody who asks for a view."""
        if view <= self.final_view:
            return [self.final_certificate] if self.final_certificate is not None else []
        state = self._states.get(view)
        return list(state.certificates.values()) if state is not None else []

    def hash_of_view(self, view: int) -> Hash32 | None:
        """The block that is notarized in a view, or final in it."""
        if view == self.final_view:
            return self.final_hash
        certificate = self.certificate(view, VoteKind.NOTARIZE)
        return certificate.block_hash if certificate is not None else None

    def notarized_hashes(self) -> list[Hash32]:
        """The blocks that a quorum has voted for in views above the final one."""
        certificates = (state.certificates.get(VoteKind.NOTARIZE) for state in self._states.values())
        return [each.block_hash for each in certificates if each is not None]

    def missing_for(self, vote: Vote) -> list[int]:
        """The views whose certificates a proposal needs to stand on its parent, and that are not here."""
        between = range(vote.parent_view + 1, vote.view)
        missing = [view for view in between if self.certificate(view, VoteKind.NULLIFY) is None]
        if self.hash_of_view(vote.parent_view) is None:
            missing.append(vote.parent_view)
        return missing

    def choose_parent(self) -> tuple[int, Hash32 | None]:
        """The highest notarized or final view after which every view is nullified, and its block.

        Without a block where that view's certificates are missing.
        """
        view = self.view - 1
        while (block_hash := self.hash_of_view(view)) is None and self.certificate(view, VoteKind.NULLIFY) is not None:
            view -= 1
        return view, block_hash

    def proposal(self, vote: Vote, block: Block) -> Proposal:
        """An own proposal with its justification."""
        nullified = range(max(vote.parent_view + 1, vote.view - MAX_NULLIFICATIONS), vote.view)
        parent_certificate = self.final_certificate
        if vote.parent_view != self.final_view:
            parent_certificate = self.certificate(vote.parent_view, VoteKind.NOTARIZE)
        certificates = (self.certificate(view, VoteKind.NULLIFY) for view in nullified)
        return Proposal(block, vote, parent_certificate, tuple(each for each in certificates if each is not None))

    def send_certificates(self, peer: PeerId | None) -> None:
        """Those by which anybody gets to this view and to the newest final block."""
        for certificate in dict.fromkeys((self.entered_by, self.final_certificate)):
            if certificate is not None:
                self._draft.send_certificate(certificate, peer)

    def is_boundary(self, header: Header) -> bool:
        """Whether the epoch ends with this block."""
        return header.next_validators_hash != self.committee.validators_hash

    def is_inactive(self, validator: int) -> bool:
        """Whether a validator has been silent for a whole round of leaders in which a quorum was not."""
        horizon = self.view - self.committee.size
        active = sum(view >= horizon for view in self._last_active)
        return self._last_active[validator] < horizon and active >= self.committee.quorum

    def unfinalized_votes(self) -> list[Vote]:
        """Own Finalizes that have not made their certificate, oldest first."""
        return [
            state.own[VoteKind.FINALIZE] for _, state in sorted(self._states.items()) if VoteKind.FINALIZE in state.own
        ]

    # Asking

    def ask_for(self, view: int, peer: PeerId | None = None) -> None:
        """Asks for a view's certificates, best this peer, once until `ask_again`."""
        if view not in self._asked_views:
            self._asked_views.add(view)
            self._draft.ask(GetCertificates(self.committee.epoch, view), peer)

    def ask_down_from(self, view: int) -> None:
        """Asks for what is missing of this view and of those before it, down to the next one that is notarized."""
        for each in range(view, max(self.final_view, view - MAX_NULLIFICATIONS), -1):
            if self.certificate(each, VoteKind.NOTARIZE) is not None:
                return
            if self.certificate(each, VoteKind.NULLIFY) is None:
                self.ask_for(each)

    def ask_again(self) -> None:
        """What has not come may be asked for again."""
        self._asked_views.clear()

    # Learning

    def is_vote_new(self, vote: Vote) -> bool:
        """Whether a vote would tell anything; to be asked before its signature is checked."""
        if vote.view <= self.final_view:
            return self.final_view - self.committee.size < vote.view
        if vote.view > self.view + 1:
            return False
        known = self.state(vote.view).vote_of(vote.kind, vote.signer)
        return known is None or (known.signature != vote.signature and vote.signer not in self._accused)

    def learn_vote(self, vote: Vote) -> None:
        """A verified vote of anybody's; own ones are in `own` already."""
        self._last_active[vote.signer] = max(self._last_active[vote.signer], vote.view)
        if vote.view <= self.final_view:
            return  # Late, but a sign of life.
        state = self.state(vote.view)
        if vote.signer == self.committee.own_index and not self._is_own(vote):
            self.is_key_elsewhere = True
            return
        contradicting = state.add(vote)
        if contradicting is not None:
            self.accuse(contradicting, vote)
        is_first = state.vote_of(vote.kind, vote.signer) == vote
        if vote.kind is VoteKind.NOTARIZE and is_first and vote.signer == self.committee.leader(vote.view):
            state.proposal = state.proposal or vote
        self.certify(vote)

    def certify(self, vote: Vote) -> None:
        """Makes the certificate that a vote completes."""
        state = self._states.get(vote.view)
        if state is not None and vote.kind not in state.certificates:
            certificate = state.certificate_of(vote, self.committee.quorum)
            if certificate is not None:
                self.learn_certificate(certificate)

    def accuse(self, first: Vote, second: Vote) -> None:
        """Two verified votes contradict each other; one pair for each validator is enough."""
        if first.signer not in self._accused:
            self._accused.add(first.signer)
            self._draft.do(KeepEvidence(first, second))
            self._draft.send(EvidenceMessage(first, second))

    def is_accused(self, validator: int) -> bool:
        """Whether evidence has been kept against a validator in this epoch."""
        return validator in self._accused

    def is_certificate_new(self, certificate: Certificate) -> bool:
        """Whether a certificate would tell anything; to be asked before its signatures are checked."""
        if certificate.view <= self.final_view:
            return False
        return self.certificate(certificate.view, certificate.kind) is None

    def learn_certificate(self, certificate: Certificate) -> None:
        """A verified certificate: kept, forwarded once; it may begin a view, or make a block final."""
        if not self.is_certificate_new(certificate):
            return
        self.look_for_own_vote(certificate)
        # The floor's FinalCert is needed while its view is the floor's: the next proposal is justified by it.
        is_final = certificate.kind is VoteKind.FINALIZE
        self._draft.record_certificate(certificate, certificate.view + is_final)
        self._draft.send_certificate(certificate)
        for signer in certificate.signers:
            self._last_active[signer] = max(self._last_active[signer], certificate.view)
        self.keep_certificate(certificate)

    def look_for_own_vote(self, certificate: Certificate) -> None:
        """Notices a part of a verified certificate above the final view that is signed with the own key, but not here.

        All own votes above the floor are in the journal, so it has been lost, or replaced by an older copy, or somebody
        else has signed.
        """
        is_open = certificate.view > self.final_view
        if is_open and self.committee.own_index in certificate.signers and not self._is_own(certificate):
            self.is_key_elsewhere = True

    def _is_own(self, signed: Vote | Certificate) -> bool:
        """Whether this node has cast the vote, or one like those of the certificate."""
        state = self._states.get(signed.view)
        own = state.own.get(signed.kind) if state is not None else None
        return own is not None and (own.parent_view, own.block_hash) == (signed.parent_view, signed.block_hash)

    def keep_certificate(self, certificate: Certificate) -> None:
        """As `learn_certificate`, for one that the journal holds already."""
        state = self.state(certificate.view)
        state.certificates[certificate.kind] = certificate
        if certificate.view >= self.view:
            self.view = certificate.view + 1
            self.entered_by = certificate
            old = self._states.get(self.view - KEPT_VIEWS)
            if old is not None:
                old.forget_votes()
        if certificate.kind is VoteKind.NOTARIZE:
            self.notarized_view = max(self.notarized_view, certificate.view)
            self.newly_notarized.append(certificate)
        elif certificate.kind is VoteKind.FINALIZE:
            self.final_view = certificate.view
            self.final_hash = certificate.block_hash
            self.final_certificate = certificate
            self.notarized_view = max(self.notarized_view, certificate.view)
            self.newly_final.append(certificate)
            for view in [view for view in self._states if view <= certificate.view]:
                del self._states[view]

    def restore_vote(self, vote: Vote) -> None:
        """An own vote that the journal holds."""
        if vote.view > self.final_view and vote.signer == self.committee.own_index:
            state = self.state(vote.view)
            state.own[vote.kind] = vote
            state.add(vote)
            if vote.kind is VoteKind.NOTARIZE and self.committee.leader(vote.view) == vote.signer:
                state.proposal = vote
            self.view = max(self.view, vote.view)

    def certify_own_votes(self) -> None:
        """After a start: a crash may have come between a vote and the certificate that it makes."""
        for view in sorted(self._states):
            state = self._states.get(view)
            for vote in list(state.own.values()) if state is not None else ():
                self.certify(vote)
