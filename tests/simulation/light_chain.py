"""A chain of real blocks and headers on a state so small that executing a block is one hash.

Transactions are numbered, and number k can be executed only when k is the next: so a gap waits, nothing runs twice,
and the state is one number, one root, and what the engine needs to know. What a transaction does is up to its text.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from chain.consensus.effects import Settings, Verdict
from chain.primitives.block import Block, Header, transactions_root
from chain.primitives.certificate import validators_hash
from chain.primitives.hashing import keccak256, sha256
from chain.primitives.types import ZERO_ADDRESS, ZERO_HASH, Address, BlockHeight, Hash32

CHAIN_ID: Final = 7
MAX_TRANSACTIONS: Final = 8


class LightTransaction(msgspec.Struct, frozen=True, array_like=True):
    """Number k; `validators` ends the epoch with that set, the same one included."""

    number: int
    validators: tuple[Address, ...] = ()
    network_delay_ms: int = 0
    """0: it stays."""


class LightState(msgspec.Struct, frozen=True):
    """The state after a block."""

    root: Hash32
    next_number: int
    epoch: int
    settings: Settings


class Executed(msgspec.Struct, frozen=True):
    """A valid block and the state after it."""

    block: Block
    state: LightState


class Invalid(msgspec.Struct, frozen=True):
    """Why a block is none."""

    verdict: Verdict
    reason: str


_transaction_decoder: Final = msgspec.msgpack.Decoder(LightTransaction)


def body_root(transactions: Sequence[bytes]) -> Hash32:
    """What a header says of its transactions."""
    return transactions_root([keccak256(raw) for raw in transactions])


def genesis_of(settings: Settings, genesis_hash: Hash32) -> Executed:
    """Height 0."""
    state = LightState(genesis_hash, 0, 0, settings)
    header = Header(
        protocol_version=1,
        chain_id=CHAIN_ID,
        epoch=0,
        height=BlockHeight(0),
        parent_hash=genesis_hash,
        time_ms=0,
        proposer=ZERO_ADDRESS,
        transactions_root=body_root(()),
        results_root=ZERO_HASH,
        state_root=genesis_hash,
        next_validators_hash=validators_hash(0, settings.validators),
    )
    return Executed(Block(header, ()), state)


class LightRules:
    """Executes and builds; every block once, whoever asks: what it leads to follows from the block alone."""

    def __init__(self, genesis: Executed) -> None:
        self._known: dict[tuple[Hash32, tuple[bytes, ...]], Executed | Invalid] = {}
        self._executed = {genesis.block.header.hash: genesis}

    def build(self, parent: Executed, transactions: Sequence[bytes], *, proposer: Address, time_ms: int) -> Executed:
        """The block with these transactions, each of which must be the next one."""
        header = Header(
            protocol_version=1,
            chain_id=CHAIN_ID,
            epoch=parent.state.epoch,
            height=BlockHeight(parent.block.header.height + 1),
            parent_hash=parent.block.header.hash,
            time_ms=time_ms,
            proposer=proposer,
            transactions_root=body_root(transactions),
            results_root=ZERO_HASH,
            state_root=ZERO_HASH,
            next_validators_hash=ZERO_HASH,
        )
        state = _state_after(parent.state, header, transactions)
        assert state is not None
        header = msgspec.structs.replace(header, state_root=state.root, next_validators_hash=_set_named(state))
        executed = Executed(Block(header, tuple(transactions)), state)
        self._known[header.hash, executed.block.transactions] = executed
        self._executed[header.hash] = executed
        return executed

    def execute(self, parent: Executed, block: Block) -> Executed | Invalid:
        """Every field of the header is checked, as the real rules do."""
        key = block.header.hash, block.transactions
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._execute(parent, block)
            if isinstance(known, Executed):
                self._executed[block.header.hash] = known
        return known

    def executed(self, block_hash: Hash32) -> Executed | None:
        """Any valid block that anybody has ever executed."""
        return self._executed.get(block_hash)

    def ends_epoch(self, transaction: bytes) -> bool:
        """Nothing comes after it in a block."""
        return bool(_transaction_decoder.decode(transaction).validators)

    def _execute(self, parent: Executed, block: Block) -> Executed | Invalid:
        header, before = block.header, parent.block.header
        if header.transactions_root != body_root(block.transactions):
            return Invalid(Verdict.UNBOUND, "these are not the transactions that the header names")
        if (
            header.protocol_version != 1
            or header.chain_id != CHAIN_ID
            or header.epoch != parent.state.epoch
            or header.height != before.height + 1
            or header.parent_hash != before.hash
            or header.time_ms <= before.time_ms
            or header.proposer not in parent.state.settings.validators
            or header.results_root != ZERO_HASH
        ):
            return Invalid(Verdict.INVALID, "the header does not follow its parent's")
        state = _state_after(parent.state, header, block.transactions)
        if state is None:
            return Invalid(Verdict.INVALID, "a transaction cannot be in this block")
        if (header.state_root, header.next_validators_hash) != (state.root, _set_named(state)):
            return Invalid(Verdict.INVALID, "a root is wrong")
        return Executed(block, state)


def _set_named(state: LightState) -> Hash32:
    """What the header says of the set of the next block: another one, or another epoch, at a boundary."""
    return validators_hash(state.epoch, state.settings.validators)


def _state_after(state: LightState, header: Header, transactions: Sequence[bytes]) -> LightState | None:
    number, epoch, settings = state.next_number, state.epoch, state.settings
    if len(transactions) > MAX_TRANSACTIONS:
        return None
    for raw in transactions:
        try:
            transaction = _transaction_decoder.decode(raw)
        except msgspec.DecodeError:
            return None
        if transaction.number != number or epoch != state.epoch:  # Nothing comes after the end of an epoch.
            return None
        number += 1
        if transaction.validators:
            epoch += 1
            settings = msgspec.structs.replace(settings, epoch=epoch, validators=transaction.validators)
        if transaction.network_delay_ms:
            settings = msgspec.structs.replace(settings, network_delay_ms=transaction.network_delay_ms)
    root = sha256(state.root + header.transactions_root + header.time_ms.to_bytes(8, "big") + header.proposer)
    return LightState(root, number, epoch, settings)
