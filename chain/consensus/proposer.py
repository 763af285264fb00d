"""The leader's part: on which block, when, and with what justification it proposes."""

from typing import Final

from chain.consensus.block_tree import BlockState, TreeBlock
from chain.consensus.block_work import BlockWork
from chain.consensus.committee import Committee
from chain.consensus.draft import Draft
from chain.consensus.effects import BuildBlock, ForgetBlocks
from chain.consensus.knowledge import Knowledge
from chain.consensus.pace import Pace, latest_time_ms
from chain.consensus.voter import Voter
from chain.primitives.block import Block, Header
from chain.primitives.types import Hash32

_MAX_FULL_CHAIN: Final = 8
"""Unfinalized blocks on which another one may carry transactions."""
_MAX_FULL_NULLIFIED: Final = 4
"""Views given up in a row after which proposals are empty: perhaps their size was the trouble."""


class Proposer:
    """Of one epoch after another; it has one block at a time built."""

    def __init__(self, voter: Voter, work: BlockWork, pace: Pace, draft: Draft) -> None:
        self._voter = voter
        self._work = work
        self._pace = pace
        self._draft = draft
        self._building_on: tuple[int, int, Hash32] | None = None
        """Epoch, view and parent."""

    def begin_epoch(self, committee: Committee, knowledge: Knowledge) -> None:
        """From now on it proposes there."""
        self._committee = committee
        self._knowledge = knowledge

    def propose(self, now_ms: int, *, is_waiting: bool) -> None:
        """Repeats a boundary block, or has a block built, once that is due."""
        knowledge, state = self._knowledge, self._knowledge.current
        is_leader = self._committee.leader(state.number) == self._committee.own_index
        if not is_leader or self._building_on is not None or not self._voter.may_notarize(state):
            return
        parent_view, parent_hash = knowledge.choose_parent()
        if parent_hash is None:
            knowledge.ask_down_from(parent_view)
            return
        parent = self._work.tree.header(parent_hash)
        if parent is None or not self._work.tree.is_executed(parent_hash):
            return  # It has been asked for, or is being executed.
        is_final = parent_view == knowledge.final_view
        if knowledge.is_boundary(parent):
            if not is_final and self._pace.is_grace_over:
                self._announce(self._work.tree.get(parent_hash), parent_view)
            return
        must_be_empty = self._must_be_empty(parent)
        may_be_empty = self._pace.is_heartbeat_due if is_final else self._pace.is_grace_over
        # An empty block serves those who wait for a transaction only where something is wrong.
        is_wanted = is_waiting and self._pace.is_interval_over and (is_final or not must_be_empty)
        if is_wanted or (may_be_empty and not self._pace.is_pausing):
            self._building_on = self._committee.epoch, knowledge.view, parent_hash
            time_ms = max(now_ms, parent.time_ms + 1)
            self._draft.do(BuildBlock(parent_hash, time_ms, may_be_empty or must_be_empty, must_be_empty))

    def _must_be_empty(self, parent: Header) -> bool:
        depth = parent.height - self._work.floor.height
        return depth >= _MAX_FULL_CHAIN or self._pace.consecutive_nullified >= _MAX_FULL_NULLIFIED

    def take_built(self, block: Block, now_ms: int) -> None:
        """Proposes the block, if the view still wants it; where the clock has gone back, another one is built."""
        building, self._building_on = self._building_on, None
        parent_view, parent_hash = self._knowledge.choose_parent()
        parent = self._work.tree.header(block.header.parent_hash)
        is_welcome = (
            building == (self._committee.epoch, self._knowledge.view, block.header.parent_hash)
            and parent_hash == block.header.parent_hash
            and parent is not None
            and block.header.time_ms <= latest_time_ms(now_ms, parent)
            and self._voter.may_notarize(self._knowledge.current)
        )
        if is_welcome:
            known = self._work.tree.add(block, source=None, view=self._knowledge.view, state=BlockState.VALID)
            self._announce(known, parent_view)
        elif self._work.tree.get(block.header.hash) is None:
            self._draft.do(ForgetBlocks((block.header.hash,)))

    def nothing_to_build(self, *, is_waiting: bool) -> None:
        """No transaction could be in a block, or its parent is gone: it is tried again a little later."""
        self._building_on = None
        self._pace.pause(self._draft, is_short=not is_waiting)

    def _announce(self, known: TreeBlock | None, parent_view: int) -> None:
        """Votes for an own proposal and sends it."""
        assert known is not None
        known.state = BlockState.VALID
        self._voter.notarize(
            self._knowledge.view,
            parent_view,
            known.hash,
            announce=lambda vote: self._knowledge.proposal(vote, known.block),
        )
