"""The mutants: one broken rule each, under which conditions it shows, and which oracle must see it."""

from collections.abc import Callable

import msgspec

from chain.consensus.simplex import SimplexEngine
from tests.simulation.broken_drivers import IgnoresJournal, NeverSyncs, SendsBeforeSync
from tests.simulation.conditions import changing, crashing, losing_journals, lossy, quiet, with_liar
from tests.simulation.mutation import Change, engine_class
from tests.simulation.node import SimulatedNode
from tests.simulation.scenario import Scenario


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """A broken rule."""

    name: str
    changes: tuple[Change, ...] = ()
    """Of the engine's source."""
    node_class: type[SimulatedNode] = SimulatedNode
    """Of the driver."""
    oracles: tuple[str, ...]
    """One of these must raise."""
    scenario: Callable[[int], Scenario]
    """Where it shows, by seed."""
    seeds: tuple[int, ...] = tuple(range(12))
    """Tried in this order."""

    def engine(self) -> type[SimplexEngine]:
        """The engine to simulate with."""
        return engine_class(self.name, self.changes) if self.changes else SimplexEngine


_KEPT_OWN = """        assert kind not in own and self.may_vote_in(view)
        assert not {kind, *own} >= {VoteKind.NULLIFY, VoteKind.FINALIZE}
"""
_NO_ASSERTIONS = Change("voter", _KEPT_OWN, "")

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="finalize_after_nullify",
        changes=(
            Change(
                "voter",
                "if view > self._knowledge.final_view and self.may_nullify(self._knowledge.state(view)):",
                "if view > self._knowledge.final_view and self.may_vote_in(view)"
                " and VoteKind.FINALIZE not in self._knowledge.state(view).own:",
            ),
            _NO_ASSERTIONS,
        ),
        oracles=("honest keys", "evidence"),
        scenario=lossy,
    ),
    Mutant(
        name="nullify_after_finalize",
        changes=(
            Change(
                "voter",
                "is_open = VoteKind.NULLIFY not in state.own and VoteKind.FINALIZE not in state.own",
                "is_open = VoteKind.NULLIFY not in state.own",
            ),
            # Stays in a view until its block is final, as if it could still be given up.
            Change(
                "knowledge",
                "        if certificate.view >= self.view:\n            self.view = certificate.view + 1",
                "        if certificate.view >= self.view and certificate.kind is not VoteKind.NOTARIZE:\n"
                "            self.view = certificate.view + 1",
            ),
            Change(
                "voter",
                "if view > self._knowledge.final_view and self.may_nullify(self._knowledge.state(view)):",
                "if view > self._knowledge.final_view and self.may_nullify(self._knowledge.state(view))"
                " and VoteKind.FINALIZE not in self._knowledge.state(view).own:",
            ),
            _NO_ASSERTIONS,
        ),
        oracles=("honest keys", "evidence"),
        scenario=lossy,
    ),
    Mutant(
        name="skip_without_nullification",
        changes=(
            Change(
                "knowledge",
                "between = range(vote.parent_view + 1, vote.view)",
                "between = range(0)",
            ),
        ),
        oracles=("one chain", "halt", "certificates"),
        scenario=with_liar("forker"),
    ),
    Mutant(name="send_before_sync", node_class=SendsBeforeSync, oracles=("sync before send",), scenario=quiet),
    Mutant(name="never_syncs", node_class=NeverSyncs, oracles=("sync before send",), scenario=quiet),
    Mutant(
        name="no_retry",
        changes=(
            Change(
                "simplex",
                "            self._knowledge.ask_again()\n            self._work.ask_again()\n"
                "            self._retelling.to_all()\n",
                "",
            ),
        ),
        oracles=("growth",),
        scenario=lambda seed: msgspec.structs.replace(lossy(seed), loss=0.7),
    ),
    Mutant(
        name="votes_twice_after_restart",
        changes=(Change("simplex", "            self._knowledge.restore_vote(vote)\n", "            pass\n"),),
        oracles=("honest keys", "halt"),
        scenario=crashing,
    ),
    Mutant(
        name="journal_ignored",
        node_class=IgnoresJournal,
        oracles=("honest keys", "halt"),
        scenario=crashing,
    ),
    Mutant(
        name="small_quorum",
        changes=(
            Change("committee", "self.quorum = quorum(self.size)", "self.quorum = 2 * faulty_bound(self.size) + 1"),
        ),
        oracles=("blame", "certificates", "one chain", "honest keys"),
        scenario=with_liar("equivocator", 6),
    ),
    Mutant(
        name="unknown_proposer",
        changes=(
            Change("hearing", " or vote.signer != self._committee.leader(vote.view):", ":"),
            Change(
                "knowledge",
                "if vote.kind is VoteKind.NOTARIZE and is_first and vote.signer == self.committee.leader(vote.view):",
                "if vote.kind is VoteKind.NOTARIZE and is_first:",
            ),
        ),
        oracles=("proposer",),
        scenario=with_liar("impostor"),
    ),
    Mutant(
        name="repeated_signer",
        changes=(
            Change(
                "committee",
                """        verify_certificate(
            certificate, genesis_hash=self._genesis_hash, validators=self._validators, recover=self._recover
        )
""",
                """        for signature in certificate.signatures:
            vote = Vote(
                kind=certificate.kind,
                epoch=certificate.epoch,
                view=certificate.view,
                parent_view=certificate.parent_view,
                block_hash=certificate.block_hash,
                signer=0,
                signature=signature,
            )
            assert self._recover(vote.digest(self._genesis_hash), signature) in self._validators
        assert len(certificate.signatures) >= self.quorum
""",
            ),
        ),
        oracles=("certificates", "one chain", "blame", "proposer", "halt"),
        scenario=with_liar("forger"),
    ),
    Mutant(
        name="leaders_signature_unchecked",
        changes=(
            Change(
                "hearing",
                "        self._committee.check_vote(vote)\n        self._hear_justification",
                "        self._hear_justification",
            ),
        ),
        oracles=("proposer",),
        scenario=with_liar("impostor"),
    ),
    Mutant(
        name="votes_unchecked",
        changes=(
            Change(
                "hearing",
                "            self._committee.check_vote(vote)\n            self._learn_vote",
                "            self._learn_vote",
            ),
        ),
        oracles=("certificates", "blame", "evidence", "halt"),
        scenario=with_liar("impostor"),
    ),
    Mutant(
        name="floor_forgotten_on_restart",
        changes=(
            Change("knowledge", "        self.view = floor.view + 1\n", "        self.view = 1\n"),
            Change("knowledge", "        self.final_view = floor.view\n", "        self.final_view = 0\n"),
            Change("knowledge", "        self.notarized_view = floor.view\n", "        self.notarized_view = 0\n"),
            Change("knowledge", "certificate.view + is_final", "certificate.view"),
        ),
        oracles=("honest keys", "evidence", "halt"),
        scenario=crashing,
    ),
    Mutant(
        name="notarize_before_executing",
        changes=(
            Change(
                "simplex",
                "        elif known.state is BlockState.VALID:\n            self._voter.notarize",
                "        else:\n            self._voter.notarize",
            ),
        ),
        oracles=("halt", "growth"),
        scenario=with_liar("breaker"),
    ),
    Mutant(
        name="future_accepted",
        changes=(
            Change(
                "simplex",
                "        if header.time_ms > latest_ms and not is_repeated:",
                "        if header.time_ms > latest_ms + 10**15 and not is_repeated:",
            ),
        ),
        oracles=("drift",),
        scenario=with_liar("prophet"),
    ),
    Mutant(
        name="second_notarize_in_a_view",
        changes=(
            Change(
                "voter",
                "is_open = VoteKind.NOTARIZE not in state.own and VoteKind.NULLIFY not in state.own",
                "is_open = VoteKind.NULLIFY not in state.own",
            ),
            Change(
                "knowledge",
                "            state.proposal = state.proposal or vote",
                "            state.proposal = vote",
            ),
            Change(
                "knowledge",
                "is_first = state.vote_of(vote.kind, vote.signer) == vote",
                "is_first = True",
            ),
            _NO_ASSERTIONS,
        ),
        oracles=("honest keys", "evidence"),
        scenario=with_liar("equivocator"),
    ),
    Mutant(
        name="evidence_dropped",
        changes=(Change("knowledge", "            self._draft.do(KeepEvidence(first, second))\n", ""),),
        oracles=("evidence",),
        scenario=with_liar("voter"),
    ),
    Mutant(
        name="evidence_unchecked",
        changes=(
            Change(
                "hearing",
                "            self._committee.check_vote(first)\n            self._committee.check_vote(second)\n",
                "",
            ),
        ),
        oracles=("evidence",),
        scenario=with_liar("forger"),
    ),
    Mutant(
        name="legal_pair_is_evidence",
        changes=(
            Change(
                "view",
                "return {first.kind, second.kind} == {VoteKind.FINALIZE, VoteKind.NULLIFY}",
                "return VoteKind.NULLIFY in (first.kind, second.kind)",
            ),
        ),
        oracles=("evidence",),
        scenario=lossy,
    ),
    Mutant(
        name="nothing_forgotten",
        changes=(
            Change(
                "knowledge",
                "            for view in [view for view in self._states if view <= certificate.view]:\n"
                "                del self._states[view]\n",
                "",
            ),
        ),
        oracles=("memory",),
        scenario=lambda seed: msgspec.structs.replace(quiet(seed), max_views=120, fault_ms=200_000),
    ),
    Mutant(
        name="certificates_forwarded_for_ever",
        changes=(
            Change(
                "hearing",
                "        if self._knowledge.is_certificate_new(certificate):\n            self._committee.check",
                "        if not self._knowledge.is_certificate_new(certificate):\n"
                "            self._draft.send_certificate(certificate)\n"
                "        else:\n            self._committee.check",
            ),
        ),
        oracles=("storm",),
        scenario=quiet,
    ),
    Mutant(
        name="quarantine_ignored",
        changes=(
            Change(
                "voter",
                "        self._is_quarantined = recovered.is_vote_history_lost\n",
                "        self._is_quarantined = False\n",
            ),
        ),
        oracles=("honest keys", "evidence"),
        scenario=losing_journals,
    ),
    Mutant(
        name="block_after_the_epochs_last",
        changes=(
            Change("proposer", "        if knowledge.is_boundary(parent):\n", "        if False:\n"),
            Change("simplex", "            and header.epoch == self.epoch\n", ""),
            Change("simplex", "            and not self._knowledge.is_boundary(parent)\n", ""),
        ),
        oracles=("one chain", "certificates", "halt", "growth", "engine"),
        scenario=lambda seed: msgspec.structs.replace(changing(seed), sync_ms=100, loss=0.3, spikes=0.3),
    ),
    Mutant(
        name="timeouts_never_grow",
        changes=(
            Change(
                "pace",
                "        return min(_MAX_FACTOR, 1 << min(self.consecutive_nullified, _MAX_FACTOR))",
                "        return 1",
            ),
        ),
        oracles=("growth",),
        scenario=lambda seed: msgspec.structs.replace(lossy(seed), calm_factor=1.9),
    ),
)
