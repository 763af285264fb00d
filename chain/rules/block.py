"""The state transition. `apply_block` is its table of contents: header, transactions, roots."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from chain.primitives.block import PROTOCOL_VERSION, Block, Header, results_root, transactions_root
from chain.primitives.certificate import validators_hash
from chain.primitives.keys import RecoverAddress, recover_address
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import DecodeTransaction, Transaction, decode_transaction
from chain.primitives.types import Address, BlockHeight, Hash32
from chain.rules.execution import BlockExecution, BlockOutcome
from chain.rules.state import State, StateReader

ComputeStateRoot = Callable[[Mapping[bytes, bytes | None]], Hash32]
"""Root of the state tree after these changes to the parent state; storage knows the tree."""

_ZERO_ROOTS = Hash32(bytes(32))


class Proposal(msgspec.Struct, frozen=True):
    """A block that its proposer has executed, and which candidates could not be in it, and why."""

    block: Block
    outcome: BlockOutcome
    rejected: tuple[tuple[Transaction, Rejected], ...]


def apply_block(
    reader: StateReader,
    parent: Header,
    block: Block,
    *,
    chain_id: int,
    compute_state_root: ComputeStateRoot,
    recover: RecoverAddress = recover_address,
    decode: DecodeTransaction = decode_transaction,
) -> BlockOutcome:
    """Executes a block on its parent's state and checks every field that its header declares; raises Rejected.

    The clock (is its time too far ahead?) and the certificate are the caller's to check.
    """
    state = State(reader)
    check_header(state, parent, block.header, chain_id)
    _check_size(state, block)
    transactions = [decode(raw) for raw in block.transactions]
    # Before anything is executed: these must be the transactions that the header names.
    _check_header_is(block.header, _with_transactions(block.header, transactions))
    execution = _execution(reader, block.header, recover)
    for transaction in transactions:
        execution.add(transaction)
    outcome = execution.finish()
    _check_header_is(block.header, _with_results(block.header, execution, outcome, compute_state_root))
    return outcome


def propose_block(
    reader: StateReader,
    parent: Header,
    candidates: Iterable[Transaction],
    *,
    chain_id: int,
    proposer: Address,
    time_ms: int,
    compute_state_root: ComputeStateRoot,
    recover: RecoverAddress = recover_address,
) -> Proposal:
    """Builds the block that has every candidate, in order, that can be in it; raises Rejected for unknown rules."""
    state = State(reader)
    header = Header(
        protocol_version=state.upgrade().version_at(parent.height + 1),
        chain_id=chain_id,
        epoch=state.epoch(),
        height=BlockHeight(parent.height + 1),
        parent_hash=parent.hash,
        time_ms=time_ms,
        proposer=proposer,
        transactions_root=_ZERO_ROOTS,
        results_root=_ZERO_ROOTS,
        state_root=_ZERO_ROOTS,
        next_validators_hash=_ZERO_ROOTS,
    )
    check_header(state, parent, header, chain_id)
    execution = _execution(reader, header, recover)
    rejected = []
    for transaction in candidates:
        try:
            execution.add(transaction)
        except Rejected as rejection:
            rejected.append((transaction, rejection))
    outcome = execution.finish()
    header = _with_transactions(header, outcome.transactions)
    header = _with_results(header, execution, outcome, compute_state_root)
    block = Block(header, tuple(transaction.raw for transaction in outcome.transactions))
    return Proposal(block, outcome, tuple(rejected))


def check_header(state: State, parent: Header, header: Header, chain_id: int) -> None:
    """Everything about a header but its roots; `state` is the parent's. Raises Rejected."""
    _check_protocol_version(header.protocol_version, state.upgrade().version_at(parent.height + 1))
    if header.chain_id != chain_id:
        raise Rejected(RejectionReason.WRONG_CHAIN_ID, f"a block of chain {header.chain_id}, not {chain_id}")
    if header.parent_hash != parent.hash:
        raise Rejected(RejectionReason.WRONG_PARENT, "the block does not extend this parent")
    if header.height != parent.height + 1:
        raise Rejected(RejectionReason.WRONG_HEIGHT, f"height {header.height} does not follow {parent.height}")
    if header.epoch != state.epoch():
        raise Rejected(RejectionReason.WRONG_EPOCH, f"epoch {header.epoch}, but the current one is {state.epoch()}")
    if header.time_ms <= parent.time_ms:
        raise Rejected(RejectionReason.WRONG_TIME, "the block's time is not after its parent's")
    if header.proposer not in state.validators():
        raise Rejected(RejectionReason.UNKNOWN_PROPOSER, f"0x{header.proposer.hex()} is not a validator")


def _check_protocol_version(declared: int, required: int) -> None:
    if required > PROTOCOL_VERSION:
        raise Rejected(
            RejectionReason.WRONG_PROTOCOL_VERSION,
            f"from this height on, blocks follow protocol version {required}; this software knows {PROTOCOL_VERSION}. "
            "Upgrade it and start it again: it will go on from here.",
        )
    if declared != required:
        raise Rejected(
            RejectionReason.WRONG_PROTOCOL_VERSION, f"protocol version {declared}, but this height needs {required}"
        )


def _check_size(state: State, block: Block) -> None:
    """Before anything is decoded; execution counts again, as it does for a proposer."""
    parameters = state.parameters()
    byte_count = sum(map(len, block.transactions))
    if len(block.transactions) > parameters.max_block_transactions or byte_count > parameters.max_block_bytes:
        raise Rejected(
            RejectionReason.BLOCK_FULL,
            f"{len(block.transactions)} transactions of {byte_count} bytes are more than a block may hold",
        )


def _execution(reader: StateReader, header: Header, recover: RecoverAddress) -> BlockExecution:
    return BlockExecution(
        reader, chain_id=header.chain_id, height=header.height, time_ms=header.time_ms, recover=recover
    )


def _with_transactions(header: Header, transactions: Sequence[Transaction]) -> Header:
    root = transactions_root([transaction.hash for transaction in transactions])
    return msgspec.structs.replace(header, transactions_root=root)


def _with_results(
    header: Header, execution: BlockExecution, outcome: BlockOutcome, compute_state_root: ComputeStateRoot
) -> Header:
    return msgspec.structs.replace(
        header,
        results_root=results_root(outcome.results),
        state_root=compute_state_root(outcome.changes),
        next_validators_hash=validators_hash(execution.state.epoch(), execution.state.validators()),
    )


def _check_header_is(declared: Header, computed: Header) -> None:
    """Raises Rejected that names the first field where they differ, which is a root."""
    if declared == computed:
        return
    field = next(name for name in Header.__struct_fields__ if getattr(declared, name) != getattr(computed, name))
    raise Rejected(
        RejectionReason.WRONG_ROOT,
        f"{field} is declared as 0x{getattr(declared, field).hex()}, computed as 0x{getattr(computed, field).hex()}",
        field=field,
    )
