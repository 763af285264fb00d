"""The engine of a network of one validator: n = 1, f = 0, q = 1 (CONSENSUS.md).

Its own votes are quorums, so one pass goes from a built block to its finality certificate. It needs no vote journal:
a vote leaves the process only after the block, its certificate and the floor are on the disk in one batch, and the
view rises above every floor, so it never contradicts what it has shown.
"""

from collections.abc import Sequence
from typing import Final

from chain.consensus.engine import (
    BlockBuilt,
    BlockCommitted,
    BlockName,
    BuildBlock,
    CommitBlock,
    Effects,
    Event,
    Floor,
    NothingToBuild,
    SetTimer,
    Started,
    TimerFired,
    WaitingChanged,
)
from chain.primitives.certificate import Certificate, VoteKind, quorum, vote_digest
from chain.primitives.keys import PrivateKey
from chain.primitives.types import Address, Hash32

PROPOSE_TIMER: Final = "propose"


class SoloEngine:
    """Builds a block when a transaction waits, at most one per interval, or when the heartbeat is due."""

    def __init__(
        self,
        *,
        genesis_hash: Hash32,
        validators: Sequence[Address],
        key: PrivateKey,
        floor: Floor,
        head: BlockName,
        block_interval_ms: int,
        heartbeat_ms: int,
    ) -> None:
        """`head` is the block that `floor` names. The key must be the one validator's."""
        assert quorum(len(validators)) == 1 and tuple(validators) == (key.address,)
        assert floor.block_hash == head.block_hash
        self._genesis_hash = genesis_hash
        self._key = key
        self._floor = floor
        self._head = head
        self._block_interval_ms = block_interval_ms
        self._heartbeat_ms = heartbeat_ms
        self._is_waiting = False
        self._is_busy = True  # Until Started.
        self._head_seen_at_ms = head.time_ms
        """When the head came about, by the local clock: block times may run ahead of it."""

    def handle(self, event: Event, now_ms: int) -> Effects:
        """Takes one event; see `chain.consensus.engine`."""
        # A clock that was set back must not hold blocks up until it has caught up.
        self._head_seen_at_ms = min(self._head_seen_at_ms, now_ms)
        match event:
            case Started():
                self._is_busy = False
            case WaitingChanged(is_waiting):
                self._is_waiting = is_waiting
            case TimerFired():
                pass
            case NothingToBuild(is_waiting):
                self._is_busy = False
                self._is_waiting = is_waiting
            case BlockBuilt(block):
                return self._finalize(block)
            case BlockCommitted():
                self._accept(event, now_ms)
        return Effects() if self._is_busy else self._next_block(now_ms)

    def _next_block(self, now_ms: int) -> Effects:
        """Asks for a block if one is due, else sets the timer for when one will be."""
        since_head_ms = now_ms - self._head_seen_at_ms
        is_heartbeat = since_head_ms >= self._heartbeat_ms
        if is_heartbeat or (self._is_waiting and since_head_ms >= self._block_interval_ms):
            self._is_busy = True
            time_ms = max(now_ms, self._head.time_ms + 1)
            return Effects(tasks=(BuildBlock(self._head.block_hash, time_ms, may_be_empty=is_heartbeat),))
        due_after_ms = self._heartbeat_ms
        if self._is_waiting:
            due_after_ms = min(due_after_ms, self._block_interval_ms)
        return Effects(timers=(SetTimer(PROPOSE_TIMER, due_after_ms - since_head_ms),))

    def _finalize(self, block: BlockName) -> Effects:
        """Notarize, NotarCert, Finalize and FinalCert in one pass; only the last of them is of use to anybody."""
        view = self._floor.view + 1
        digest = vote_digest(
            self._genesis_hash,
            epoch=self._floor.epoch,
            kind=VoteKind.FINALIZE,
            view=view,
            parent_view=self._floor.view,
            block_hash=block.block_hash,
        )
        certificate = Certificate(
            kind=VoteKind.FINALIZE,
            epoch=self._floor.epoch,
            view=view,
            parent_view=self._floor.view,
            block_hash=block.block_hash,
            signer_bitmap=1,
            signatures=(self._key.sign(digest),),
        )
        self._floor = Floor(self._floor.epoch, view, block.height, block.block_hash)
        return Effects(tasks=(CommitBlock(block.block_hash, certificate, self._floor),))

    def _accept(self, committed: BlockCommitted, now_ms: int) -> None:
        assert committed.block.block_hash == self._floor.block_hash
        self._head = committed.block
        self._head_seen_at_ms = now_ms
        self._heartbeat_ms = committed.heartbeat_ms
        self._is_waiting = committed.is_waiting
        self._is_busy = False
