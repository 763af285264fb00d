"""What a call would do, by the very rules of a block and without one: `eth_call` and `eth_estimateGas`.

Nothing is signed and nothing is kept: the state's overlay is dropped afterwards.
"""

import msgspec

from chain.primitives.block import Log
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import (
    DYNAMIC_FEE,
    MAX_TRANSACTION_BYTES,
    Transaction,
    intrinsic_gas,
)
from chain.primitives.types import Address, Hash32
from chain.rules.admission import check_envelope, check_sender, special_roles
from chain.rules.call import BlockContext, Call
from chain.rules.execution import execute
from chain.rules.state import State, StateReader
from chain.rules.token import check_balance, move
from chain.rules.views import call_view, is_view

_NO_HASH = Hash32(bytes(32))


class Simulated(msgspec.Struct, frozen=True):
    """What a call returns (ABI-encoded), which events it emits, and the gas that it is charged."""

    output: bytes
    logs: tuple[Log, ...]
    gas_used: int


def simulate_call(
    reader: StateReader, block: BlockContext, *, sender: Address, to: Address, value: int = 0, data: bytes = b""
) -> Simulated:
    """A view's answer, or what an operation or a plain transfer by `sender` does in this block.

    Nobody's standing, nonce or fee is asked: who looks signs nothing. Raises Rejected where the call would fail.
    """
    _check_size(data)
    if is_view(to, data):
        if value:
            raise Rejected(RejectionReason.VALUE_TO_MODULE, "module calls take no value", field="value")
        return Simulated(call_view(reader, block, to, data), (), intrinsic_gas(data))
    state = State(reader)
    transaction = _unsigned(block, to=to, value=value, data=data, nonce=0, max_fee=0)
    module_call = check_envelope(transaction, block.chain_id)
    if module_call is None:
        check_balance(state, sender, value)
        return Simulated(b"", (move(state, sender, to, value),), transaction.gas_used)
    operation, call = module_call.operation, Call(state, block, sender, to)
    plan = module_call.validate(call)
    operation.apply(call, plan)
    return Simulated(operation.function.encode_output(*operation.answer(plan)), tuple(call.logs), transaction.gas_used)


def estimate_gas(
    reader: StateReader, block: BlockContext, *, sender: Address, to: Address, value: int = 0, data: bytes = b""
) -> int:
    """Gas of a transaction by `sender`, if this block could hold it and it would succeed; raises Rejected otherwise.

    So a wallet hears before it asks for a signature that the sender is a newcomer, cannot pay, or calls in vain.
    """
    _check_size(data)
    state = State(reader)
    parameters = state.parameters()
    nonce = state.account(sender).nonce
    transaction = _unsigned(block, to=to, value=value, data=data, nonce=nonce, max_fee=parameters.base_fee_atoms)
    module_call = check_envelope(transaction, block.chain_id)
    roles = special_roles(state)
    admission = check_sender(state, transaction, module_call, sender, roles=roles, parameters=parameters)
    executed = execute(state, block, transaction, admission)
    if executed.failure is not None:
        raise executed.failure
    return transaction.gas_used


def _check_size(data: bytes) -> None:
    if len(data) > MAX_TRANSACTION_BYTES:
        raise Rejected(
            RejectionReason.TOO_LARGE, f"a transaction has at most {MAX_TRANSACTION_BYTES} bytes, its data fewer"
        )


def _unsigned(block: BlockContext, *, to: Address, value: int, data: bytes, nonce: int, max_fee: int) -> Transaction:
    """A transaction that its sender has still to sign, with just the gas and fee that it needs."""
    return Transaction(
        type=DYNAMIC_FEE,
        chain_id=block.chain_id,
        nonce=nonce,
        max_priority_fee=0,
        max_fee=max_fee,
        gas_limit=intrinsic_gas(data),
        to=to,
        value=value,
        data=data,
        signature=b"",
        raw=b"",
        hash=_NO_HASH,
        signing_hash=_NO_HASH,
    )
