"""A committee whose keys the test holds: what its members sign, and their blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from chain.consensus.effects import Settings
from chain.consensus.messages import Proposal
from chain.primitives.block import Block, Header
from chain.primitives.certificate import (
    NO_BLOCK,
    Certificate,
    Vote,
    VoteKind,
    assemble_certificate,
    quorum,
    sign_vote,
    validators_hash,
)
from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey
from chain.primitives.types import Address, BlockHeight, Hash32

GENESIS_HASH = keccak256(b"genesis of the engine's tests")
START_MS = 1_700_000_000_000
DELAY_MS, INTERVAL_MS, HEARTBEAT_MS = 1_000, 500, 60_000
NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE
NO_ROOT = Hash32(bytes(32))


@cache
def key_of(name: object) -> PrivateKey:
    """The same key for the same name."""
    return PrivateKey(keccak256(b"validator " + str(name).encode()))


class Cast:
    """n validators of one epoch, on a block that all of them have committed; what they sign, and their blocks."""

    def __init__(self, size: int, *, epoch: int = 0, first_key: int = 0) -> None:
        self.size, self.epoch = size, epoch
        self.quorum = quorum(size)
        self.keys = [key_of(first_key + index) for index in range(size)]
        self.validators: tuple[Address, ...] = tuple(key.address for key in self.keys)
        self.set_hash = validators_hash(epoch, self.validators)
        self.genesis = Header(
            protocol_version=1,
            chain_id=1,
            epoch=epoch,
            height=BlockHeight(10),
            parent_hash=NO_ROOT,
            time_ms=START_MS - HEARTBEAT_MS,
            proposer=self.validators[0],
            transactions_root=NO_ROOT,
            results_root=NO_ROOT,
            state_root=NO_ROOT,
            next_validators_hash=self.set_hash,
        )

    @property
    def settings(self) -> Settings:
        """Of the state that this set reigns from."""
        return Settings(
            epoch=self.epoch,
            validators=self.validators,
            network_delay_ms=DELAY_MS,
            block_interval_ms=INTERVAL_MS,
            heartbeat_ms=HEARTBEAT_MS,
        )

    def leader(self, view: int) -> int:
        """Index of the view's leader."""
        return (view + self.epoch) % self.size

    def block(
        self,
        parent: Block | Header,
        *,
        time_ms: int | None = None,
        transactions: Sequence[bytes] = (b"transaction",),
        next_set: Cast | None = None,
        **changes: Any,
    ) -> Block:
        """A block on another one; `next_set` makes it the epoch's last."""
        header = parent.header if isinstance(parent, Block) else parent
        fields: dict[str, Any] = {
            "protocol_version": 1,
            "chain_id": 1,
            "epoch": self.epoch,
            "height": header.height + 1,
            "parent_hash": header.hash,
            "time_ms": max(START_MS, header.time_ms + 1) if time_ms is None else time_ms,
            "proposer": self.validators[0],
            "transactions_root": keccak256(b"".join(transactions)),
            "results_root": NO_ROOT,
            "state_root": NO_ROOT,
            "next_validators_hash": self.set_hash if next_set is None else next_set.set_hash,
        }
        return Block(Header(**{**fields, **changes}), tuple(transactions))

    def vote(self, signer: int, kind: VoteKind, view: int, parent_view: int = 0, block: Block | None = None) -> Vote:
        """One validator's vote."""
        return sign_vote(
            self.keys[signer],
            genesis_hash=GENESIS_HASH,
            signer=signer,
            kind=kind,
            epoch=self.epoch,
            view=view,
            parent_view=parent_view,
            block_hash=NO_BLOCK if block is None else block.header.hash,
        )

    def certificate(
        self,
        kind: VoteKind,
        view: int,
        parent_view: int = 0,
        block: Block | None = None,
        signers: Iterable[int] | None = None,
    ) -> Certificate:
        """Of a quorum: the last validators, unless others are named."""
        chosen = range(self.size - self.quorum, self.size) if signers is None else signers
        return assemble_certificate([self.vote(each, kind, view, parent_view, block) for each in chosen])

    def proposal(
        self,
        view: int,
        block: Block,
        parent_view: int = 0,
        parent_certificate: Certificate | None = None,
        nullified: Iterable[int] = (),
    ) -> Proposal:
        """What the view's leader sends."""
        vote = self.vote(self.leader(view), NOTARIZE, view, parent_view, block)
        return Proposal(block, vote, parent_certificate, tuple(self.certificate(NULLIFY, each) for each in nullified))
