"""The Simplex engine: every rule of CONSENSUS.md, as a function of events.

`handle` takes one event in, then `_advance` does whatever has become possible, until nothing more is: it executes and
commits, votes, gives up, proposes. Each of these looks at what is known, not at what has just happened, so the order in
which messages come does not matter.
"""

from chain.consensus.block_tree import BlockState
from chain.consensus.block_work import BlockWork, Wanted
from chain.consensus.committee import Committee
from chain.consensus.draft import Draft
from chain.consensus.effects import (
    Blame,
    BlockBuilt,
    BlockCommitted,
    BlockExecuted,
    ChainReceived,
    Effects,
    Event,
    FetchFinal,
    Floor,
    MessageReceived,
    NothingToBuild,
    PeerConnected,
    PruneJournal,
    Recovered,
    Settings,
    SignerReturned,
    Started,
    TimerFired,
    Verdict,
    WaitingChanged,
)
from chain.consensus.hearing import Hearing
from chain.consensus.knowledge import KEPT_VIEWS, Knowledge
from chain.consensus.messages import (
    MAX_NULLIFICATIONS,
    JournalEntry,
)
from chain.consensus.pace import MAX_CLOCK_DRIFT_MS, RETRY, Pace, latest_time_ms
from chain.consensus.proposer import Proposer
from chain.consensus.retelling import Retelling
from chain.consensus.view import ViewState
from chain.consensus.voter import Voter
from chain.primitives import message_pack
from chain.primitives.block import Block, Header
from chain.primitives.certificate import Certificate, Vote, VoteKind
from chain.primitives.keys import RecoverAddress, Signer, recover_address
from chain.primitives.types import Hash32


class SimplexEngine:
    """One validator's or follower's part in Simplex; see `chain.consensus.effects` for what drives it."""

    def __init__(
        self,
        *,
        genesis_hash: Hash32,
        key: Signer | None,
        settings: Settings,
        recovered: Recovered,
        recover: RecoverAddress = recover_address,
    ) -> None:
        """`settings` are those of the state after the recovered head; without a key the engine only follows."""
        self._genesis_hash = genesis_hash
        self._key = key
        self._recover = recover
        self._draft = Draft()
        self._work = BlockWork(recovered.floor, recovered.head)
        self._pace = Pace(settings)
        self._now_ms = 0
        self._started_ms = 0
        self._is_waiting = False
        self._voter = Voter(recovered, self._work, self._draft)
        self._proposer = Proposer(self._voter, self._work, self._pace, self._draft)
        self._journal = [message_pack.decode_trusted(record, JournalEntry) for record in recovered.records]
        self._begin_epoch(settings, None)

    # What others may look at

    @property
    def epoch(self) -> int:
        """The present epoch."""
        return self._committee.epoch

    @property
    def view(self) -> int:
        """The present view of the epoch."""
        return self._knowledge.view

    @property
    def floor(self) -> Floor:
        """The committed head."""
        return self._work.floor

    @property
    def is_validator(self) -> bool:
        """Whether the key is a member of the present set."""
        return self._committee.own_index is not None

    @property
    def tip(self) -> Hash32:
        """The newest block that is notarized or final: the next one will stand on it, as far as this node knows."""
        return self._knowledge.hash_of_view(self._knowledge.notarized_view) or self._knowledge.final_hash

    def block(self, block_hash: Hash32) -> Block | None:
        """A block that is not committed yet, to answer with: its body is the one that its hash binds."""
        known = self._work.tree.get(block_hash)
        return known.block if known is not None and (known.state is BlockState.VALID or known.is_recorded) else None

    # The one entry

    def handle(self, event: Event, now_ms: int) -> Effects:
        """Takes one event; see `chain.consensus.effects`."""
        self._now_ms = now_ms
        match event:
            case Started():
                self._start()
            case WaitingChanged(is_waiting):
                self._is_waiting = is_waiting
            case TimerFired(name):
                self._on_timer(name)
            case PeerConnected(peer):
                self._retelling.to_peer(peer)
            case MessageReceived(peer, message):
                self._hearing.hear(peer, message)
            case ChainReceived():
                self._hearing.hear_chain(event)
            case BlockBuilt(block):
                self._proposer.take_built(block, now_ms)
            case NothingToBuild(_, is_waiting):
                self._is_waiting = is_waiting
                self._proposer.nothing_to_build(is_waiting=is_waiting)
            case BlockExecuted():
                self._on_executed(event)
            case BlockCommitted():
                self._on_committed(event)
            case SignerReturned():
                self._voter.signer_returned()
        self._advance()
        return self._draft.finish()

    def _advance(self) -> None:
        """Until a round brings nothing new."""
        while True:
            self._follow_certificates()
            before = self._progress()
            self._work.advance(self._draft, self._wanted_blocks(), self._knowledge)
            self._hurry()
            self._vote_for_proposal()
            self._give_up()
            self._proposer.propose(self._now_ms, is_waiting=self._is_waiting)
            if before == self._progress():
                return

    def _progress(self) -> tuple[int, int, bool, int]:
        knowledge, current = self._knowledge, self._knowledge.current
        has_more = len(knowledge.newly_notarized) + len(knowledge.newly_final)
        return knowledge.view, len(current.own), current.is_proposal_justified, has_more

    # Epochs, starts and views

    def _begin_epoch(self, settings: Settings, epoch_end: Certificate | None) -> None:
        """A validator set begins to reign, on the floor."""
        self._committee = Committee(self._genesis_hash, settings.epoch, settings.validators, self._key, self._recover)
        self._knowledge = Knowledge(self._committee, self._work.floor, self._draft)
        self._retelling = Retelling(self._knowledge, self._work, self._draft)
        self._hearing = Hearing(self._knowledge, self._work, self._retelling, self._draft, epoch_end)
        self._voter.begin_epoch(self._committee, self._knowledge)
        self._proposer.begin_epoch(self._committee, self._knowledge)
        self._restore()
        self._paced_view = self._knowledge.view

    def _restore(self) -> None:
        """Takes up what the journal holds of this epoch; what it holds of later ones waits.

        There is such where the store has lost its newest blocks to a power cut: the votes count all the same.
        """
        entries = [entry for entry in self._journal if _epoch_of(entry) == self.epoch]
        self._journal = [entry for entry in self._journal if _epoch_of(entry) > self.epoch]
        for certificate in [entry.certificate for entry in entries if entry.certificate is not None]:
            if self._knowledge.is_certificate_new(certificate):
                self._knowledge.keep_certificate(certificate)
            elif certificate.kind is VoteKind.FINALIZE and certificate.view == self._work.floor.view:
                self._knowledge.final_certificate = self._knowledge.final_certificate or certificate
        for block in [entry.block for entry in entries if entry.block is not None]:
            known = self._work.tree.add(block, source=None, view=0)
            if known is not None:
                known.is_recorded = True
        for vote in [entry.vote for entry in entries if entry.vote is not None]:
            self._knowledge.restore_vote(vote)

    def _start(self) -> None:
        self._started_ms = self._now_ms
        self._pace.enter_view(self._draft, after_nullification=False)
        self._paced_view = self._knowledge.view
        since_head_ms = max(0, self._now_ms - self._work.tree.committed.time_ms)
        self._pace.finalized(self._draft, max(0, self._pace.settings.heartbeat_ms - since_head_ms))
        self._knowledge.certify_own_votes()

    def _follow_certificates(self) -> None:
        """What new certificates lead to: a view entered, a block final, an own Finalize."""
        knowledge = self._knowledge
        self._voter.check_key(())
        while knowledge.newly_final or knowledge.newly_notarized or self._paced_view != knowledge.view:
            final, knowledge.newly_final = knowledge.newly_final, []
            notarized, knowledge.newly_notarized = knowledge.newly_notarized, []
            if self._paced_view != knowledge.view:
                self._on_view_entered()
            self._voter.check_key([*final, *notarized])
            for certificate in [*final, *notarized]:
                self._look_for_disagreement(certificate.block_hash, "it was found invalid before")
            for certificate in final:
                holds_transactions = self._holds_transactions(certificate.block_hash)
                self._work.add_final(certificate)
                self._pace.finalized(self._draft, self._pace.heartbeat_after_ms(holds_transactions=holds_transactions))
            self._voter.finalize(notarized)

    def _holds_transactions(self, block_hash: Hash32) -> bool:
        """Whether any block does that becomes final with this one, as far as they are here."""
        return any(known.block.transactions for known in self._work.tree.path_to(block_hash)[0])

    def _on_view_entered(self) -> None:
        knowledge = self._knowledge
        self._paced_view = knowledge.view
        is_nullified = knowledge.entered_by is not None and knowledge.entered_by.kind is VoteKind.NULLIFY
        if is_nullified:
            self._pace.consecutive_nullified += 1
        self._pace.enter_view(self._draft, after_nullification=is_nullified)
        self._knowledge.ask_again()
        self._work.ask_again()  # Where views are quick, RETRY never comes.
        self._work.forget_before(knowledge.view - KEPT_VIEWS, self._draft, self._wanted_blocks(), knowledge)

    # Notarizing a proposal

    def _vote_for_proposal(self) -> None:
        knowledge, state = self._knowledge, self._knowledge.current
        vote = state.proposal
        if vote is None or state.is_proposal_invalid or not self._is_justified(state, vote):
            return
        known = self._work.tree.get(vote.block_hash)
        parent_hash = knowledge.hash_of_view(vote.parent_view)
        if known is None or parent_hash is None:
            return
        header = known.block.header
        is_repeated = header.hash == parent_hash
        if not is_repeated and header.parent_hash != parent_hash:
            state.is_proposal_invalid = True  # And nobody asks for ancestors that a liar has made up.
            return
        parent = self._work.tree.header(parent_hash)
        if parent is None or not self._voter.may_notarize(state):
            return
        follows = knowledge.is_boundary(header) if is_repeated else self._follows(header, parent)
        if known.state is BlockState.INVALID or not follows:
            state.is_proposal_invalid = True
            return
        latest_ms = latest_time_ms(self._now_ms, parent)
        if header.time_ms > latest_ms and not is_repeated:
            self._pace.hold(self._draft, header.time_ms - latest_ms)
        elif known.state is BlockState.VALID:
            self._voter.notarize(knowledge.view, vote.parent_view, vote.block_hash)

    def _is_justified(self, state: ViewState, vote: Vote) -> bool:
        """Whether the certificates are here that let a proposal stand on its parent; asks for what is missing."""
        if not self._knowledge.final_view <= vote.parent_view < vote.view:
            return False
        if not state.is_proposal_justified:
            missing = self._knowledge.missing_for(vote)
            for view in missing[-MAX_NULLIFICATIONS:]:
                self._knowledge.ask_for(view, state.proposal_source)
            state.is_proposal_justified = not missing  # From then on its block is wanted here.
        return state.is_proposal_justified

    def _follows(self, header: Header, parent: Header) -> bool:
        return (
            header.height == parent.height + 1
            and header.epoch == self.epoch
            and header.time_ms > parent.time_ms
            and not self._knowledge.is_boundary(parent)
        )

    # Giving a view up

    def _hurry(self) -> None:
        has_proposal = self._knowledge.current.proposal is not None
        self._pace.hurry(self._draft, is_active=self._is_active(), has_proposal=has_proposal)

    def _is_active(self) -> bool:
        """Whether this view should come to something. A leader that withholds its block on an idle chain may."""
        knowledge = self._knowledge
        if knowledge.notarized_view > knowledge.final_view or self._is_behind():
            return True
        state = knowledge.current
        return self.is_validator and (
            self._is_waiting
            or self._pace.is_heartbeat_due
            or state.proposal is not None
            or len(state.own) > 0
            or len(state.voters()) > self._committee.faulty_bound
        )

    def _is_behind(self) -> bool:
        """Whether a block is final that cannot be executed, because it or an ancestor is missing."""
        return self._work.tree.path_to(self._knowledge.final_hash)[1] is not None

    def _give_up(self) -> None:
        state = self._knowledge.current
        if not self._voter.may_nullify(state):
            return
        leader = self._committee.leader(state.number)
        is_own = leader == self._committee.own_index
        if (
            self._pace.is_deadline_over
            or state.is_proposal_invalid
            or state.vote_of(VoteKind.NULLIFY, leader) is not None
            or (self._is_active() and (self._is_behind() if is_own else self._knowledge.is_inactive(leader)))
        ):
            self._voter.nullify(state.number)

    def _on_timer(self, name: str) -> None:
        self._pace.fired(name, self._draft, has_proposal=self._knowledge.current.proposal is not None)
        if name == RETRY:
            self._knowledge.current.proposal_source = None  # It has not answered: now anybody is asked.
            self._knowledge.ask_again()
            self._work.ask_again()
            self._retelling.to_all()
            if self._is_behind():
                self._draft.do(FetchFinal(None))

    # Executing and committing

    def _wanted_blocks(self) -> Wanted:
        """What this view cannot do without, and who has it: the newest final and notarized block, and the proposal."""
        knowledge, state = self._knowledge, self._knowledge.current
        wanted: Wanted = {knowledge.final_hash: None}
        notarized = knowledge.hash_of_view(knowledge.notarized_view)
        if notarized is not None:
            wanted.setdefault(notarized)
        if state.proposal is not None and state.is_proposal_justified and not state.is_proposal_invalid:
            wanted.setdefault(state.proposal.block_hash, state.proposal_source)
        return wanted

    def _on_executed(self, executed: BlockExecuted) -> None:
        known = self._work.tree.get(executed.block_hash)
        if known is None:
            return
        if executed.verdict is Verdict.UNBOUND:
            self._work.tree.remove(executed.block_hash)
            self._work.ask_again()
            if known.source is not None:
                self._draft.do(Blame(known.source, "a block whose transactions are not those that its header names"))
            return
        known.state = BlockState.VALID if executed.verdict is Verdict.VALID else BlockState.INVALID
        if known.state is BlockState.INVALID:
            for block_hash in (self._knowledge.final_hash, *self._knowledge.notarized_hashes()):
                self._look_for_disagreement(block_hash, executed.reason)

    def _look_for_disagreement(self, certified: Hash32, reason: str) -> None:
        """Halts where this node finds a block invalid that a quorum has accepted, itself or a descendant."""
        for known in self._work.tree.ancestry(certified):
            if known.state is BlockState.INVALID:
                header = known.block.header
                self._voter.stop(
                    f"This node finds block {header.height} (0x{header.hash.hex()}) invalid, but a quorum of "
                    f"validators has accepted it: {reason}. Its data or its software differ from theirs: check the "
                    "version, then run `aitbc node verify`."
                )
                return

    def _on_committed(self, committed: BlockCommitted) -> None:
        holds_transactions = self._holds_transactions(committed.block_hash)
        self._work.committed(committed.block_hash, self._draft)
        self._is_waiting = committed.is_waiting
        self._pace.settings = committed.settings
        floor = self._work.floor
        self._draft.do(PruneJournal(floor.epoch, floor.view))
        if self._work.tree.committed.time_ms >= self._started_ms + MAX_CLOCK_DRIFT_MS:
            self._voter.end_quarantine(self._knowledge.final_view)
        if floor.epoch != self.epoch:
            self._work.begin_epoch(self._draft)
            self._begin_epoch(committed.settings, self._knowledge.final_certificate)
            self._knowledge.certify_own_votes()
            self._retelling.status_to_all()
            self._pace.enter_view(self._draft, after_nullification=False)
            self._pace.finalized(self._draft, self._pace.heartbeat_after_ms(holds_transactions=holds_transactions))


def _epoch_of(entry: JournalEntry) -> int:
    return max((each.epoch for each in (entry.vote, entry.certificate) if each is not None), default=0)
