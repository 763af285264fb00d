"""The oracle of evidence: whoever contradicts itself before an honest node is reported by it, and nobody else ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.consensus.effects import KeepEvidence
from chain.primitives.certificate import Vote, VoteKind, verify_vote
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address, Hash32
from tests.simulation.signatures import SignatureBook
from tests.simulation.violation import Violation

if TYPE_CHECKING:
    from tests.simulation.node import SimulatedNode


def contradict(first: Vote, second: Vote) -> bool:
    """Same signer, epoch and view: two Notarizes or two Finalizes that differ, or Finalize with Nullify."""
    if (first.signer, first.epoch, first.view) != (second.signer, second.epoch, second.view):
        return False
    kinds = sorted((first.kind, second.kind))
    if kinds == [VoteKind.NULLIFY, VoteKind.FINALIZE]:
        return True
    return kinds[0] == kinds[1] and (first.parent_view, first.block_hash) != (second.parent_view, second.block_hash)


class EvidenceOracle:
    """`sets` and `suspects` are the other oracles', who learn of epochs and of liars. A life lasts until a crash."""

    def __init__(
        self,
        sets: dict[int, tuple[Address, ...]],
        suspects: dict[Address, None],
        *,
        genesis_hash: Hash32,
        book: SignatureBook,
    ) -> None:
        self.report_count = 0
        self._sets = sets
        self._suspects = suspects
        self._genesis_hash = genesis_hash
        self._book = book
        self._heard: dict[tuple[int, int, int, int, int, VoteKind], Vote] = {}
        self._expected: list[tuple[int, int]] = []
        self._reported: dict[tuple[int, int, int, int], None] = {}

    def heard(self, node: SimulatedNode, life: int, vote: Vote) -> None:
        """A vote is on its way to an honest engine. Only of its present view and the next it must be counted."""
        engine, validators = node.engine, self._sets.get(vote.epoch, ())
        if (
            vote.epoch != engine.epoch
            or not engine.view <= vote.view <= engine.view + 1
            or vote.signer >= len(validators)
            or validators[vote.signer] not in self._suspects
            or (node.key is not None and node.key.address == validators[vote.signer])
        ):
            return
        try:
            self._verify(vote, validators)
        except Rejected:
            return
        name = node.index, life, vote.epoch, vote.view, vote.signer
        for kind in VoteKind:
            known = self._heard.get((*name, kind))
            if known is not None and contradict(known, vote):
                self._expected.append((vote.epoch, vote.signer))
        self._heard.setdefault((*name, vote.kind), vote)

    def check(self, node: SimulatedNode, life: int) -> None:
        """The engine has had the vote."""
        for epoch, signer in self._expected:
            if (node.index, life, epoch, signer) not in self._reported:
                raise Violation("evidence", f"{node.name} does not report validator {signer}, which contradicts itself")
        self._expected.clear()

    def reported(self, node: SimulatedNode, life: int, evidence: KeepEvidence) -> None:
        """It must be true, and against a liar."""
        self.report_count += 1
        first, second = evidence.first, evidence.second
        validators = self._sets[first.epoch]
        try:
            self._verify(first, validators)
            self._verify(second, validators)
        except Rejected as rejected:
            raise Violation("evidence", f"{node.name} reports a vote that nobody has cast: {rejected}") from None
        if not contradict(first, second):
            raise Violation("evidence", f"{node.name} reports two votes that do not contradict each other")
        if validators[first.signer] not in self._suspects:
            raise Violation("evidence", f"{node.name} accuses validator {first.signer}, which is honest: {evidence}")
        self._reported[node.index, life, first.epoch, first.signer] = None

    def _verify(self, vote: Vote, validators: tuple[Address, ...]) -> None:
        verify_vote(vote, genesis_hash=self._genesis_hash, validators=validators, recover=self._book.recover)
