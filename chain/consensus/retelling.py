"""Saying again what may have been lost: to everybody while nothing goes on, and to a peer that has just come."""

from typing import Final

from chain.consensus.block_work import BlockWork
from chain.consensus.draft import Draft
from chain.consensus.effects import PeerId
from chain.consensus.knowledge import Knowledge
from chain.consensus.messages import Status
from chain.primitives.certificate import VoteKind

_MAX_FINALIZES: Final = 32


class Retelling:
    """Of one epoch."""

    def __init__(self, knowledge: Knowledge, work: BlockWork, draft: Draft) -> None:
        self._knowledge = knowledge
        self._work = work
        self._draft = draft

    def to_all(self) -> None:
        """Whatever keeps this view, or an older block's finality, from going on."""
        own = self._knowledge.current.own
        self._send_status(None)
        self._knowledge.send_certificates(None)
        self._draft.send_votes(own[kind] for kind in (VoteKind.NOTARIZE, VoteKind.NULLIFY) if kind in own)
        self._draft.send_votes(self._knowledge.unfinalized_votes()[-_MAX_FINALIZES:])

    def to_peer(self, peer: PeerId) -> None:
        """What it needs to take part in this view."""
        self._send_status(peer)
        self._knowledge.send_certificates(peer)
        self.votes_to(peer)

    def votes_to(self, peer: PeerId) -> None:
        """Own votes of this view, with the block where it is an own proposal."""
        state = self._knowledge.current
        vote = state.own.get(VoteKind.NOTARIZE)
        known = self._work.tree.get(vote.block_hash) if vote is not None else None
        if vote is not None and known is not None and vote == state.proposal:
            self._draft.send(self._knowledge.proposal(vote, known.block), peer)
        self._draft.send_votes(state.own.values(), peer)

    def status_to_all(self) -> None:
        """How far this node is."""
        self._send_status(None)

    def _send_status(self, peer: PeerId | None) -> None:
        knowledge = self._knowledge
        self._draft.send(Status(knowledge.committee.epoch, knowledge.view, self._work.floor.height), peer)
