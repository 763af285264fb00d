"""What is known of one view: votes, certificates, and what this node itself has signed."""

from chain.consensus.effects import PeerId
from chain.primitives.certificate import Certificate, Vote, VoteKind, assemble_certificate


def contradict(first: Vote, second: Vote) -> bool:
    """Whether no honest validator signs both; Notarize beside Nullify is legal."""
    if (first.signer, first.epoch, first.view) != (second.signer, second.epoch, second.view):
        return False
    if first.kind is second.kind:
        return (first.parent_view, first.block_hash) != (second.parent_view, second.block_hash)
    return {first.kind, second.kind} == {VoteKind.FINALIZE, VoteKind.NULLIFY}


class ViewState:
    """One view of one epoch."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.certificates: dict[VoteKind, Certificate] = {}
        self.own: dict[VoteKind, Vote] = {}
        """What this node has signed, for ever."""
        self.proposal: Vote | None = None
        """The leader's first Notarize."""
        self.proposal_source: PeerId | None = None
        """Who has sent it: holds its block and its justification."""
        self.is_proposal_justified = False
        """Whether its parent's certificate and all nullifications between have been seen."""
        self.is_proposal_invalid = False
        self._votes: dict[VoteKind, dict[int, Vote]] = {kind: {} for kind in VoteKind}

    def vote_of(self, kind: VoteKind, signer: int) -> Vote | None:
        """The first vote of this kind that a validator has sent."""
        return self._votes[kind].get(signer)

    def voters(self) -> set[int]:
        """Whoever has voted at all."""
        return {signer for votes in self._votes.values() for signer in votes}

    def add(self, vote: Vote) -> Vote | None:
        """Counts a verified vote, if it is the signer's first of its kind; returns one that contradicts it."""
        contradicting = next(
            (
                known
                for votes in self._votes.values()
                if (known := votes.get(vote.signer)) is not None and contradict(known, vote)
            ),
            None,
        )
        self._votes[vote.kind].setdefault(vote.signer, vote)
        return contradicting

    def certificate_of(self, vote: Vote, quorum: int) -> Certificate | None:
        """The certificate that this vote completes."""
        alike = [
            each
            for each in self._votes[vote.kind].values()
            if (each.parent_view, each.block_hash) == (vote.parent_view, vote.block_hash)
        ]
        return assemble_certificate(alike[:quorum]) if len(alike) >= quorum else None

    def forget_votes(self) -> None:
        """Drops the votes whose certificate is here; Finalizes without one count however late they come."""
        for kind in VoteKind:
            if kind in self.certificates:
                self._votes[kind].clear()
