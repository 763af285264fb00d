"""eth_call and eth_estimateGas: the modules' views and operations by the very rules of a block, with nothing kept."""

from typing import Final

from chain.api.rpc.block_ids import BLOCK_ID, BlockId, BlockTag
from chain.api.rpc.call_objects import CALL_OBJECT, NO_OVERRIDES, CallObject
from chain.api.rpc.errors import SERVER_ERROR, RpcError, refusal, revert
from chain.api.rpc.methods import Method, Parameter
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.values import DATA_SCHEMA, QUANTITY_SCHEMA, quantity
from chain.primitives.hexadecimal import to_hex
from chain.primitives.modules import is_reserved
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address
from chain.rules.simulation import Simulated, estimate_gas, simulate_call
from chain.rules.state import State
from chain.rules.views import is_view

_CALL: Final = Parameter("call", CALL_OBJECT)
_BLOCK: Final = Parameter("block", BLOCK_ID, BlockTag.LATEST)
_STATE_OVERRIDES: Final = Parameter("stateOverrides", NO_OVERRIDES, None)
_BLOCK_OVERRIDES: Final = Parameter("blockOverrides", NO_OVERRIDES, None)


def call_methods(chain: ServedChain) -> tuple[Method, ...]:
    """Simulated calls. A mint recovers its attesters' signatures, so all but views go to a thread."""

    def call(wanted: CallObject, block: BlockId, _state: None, _block: None) -> str:
        return to_hex(_simulate(chain, wanted, block).output)

    def is_heavy(wanted: CallObject, block: BlockId, _state: None, _block: None) -> bool:
        is_cheap = wanted.to is not None and is_view(wanted.to, wanted.call_data) and chain.is_newest(block)
        return not is_cheap

    def estimate(wanted: CallObject, block: BlockId, _state: None) -> str:
        if wanted.sender is None:  # Nobody has neither standing nor funds that could be asked for.
            return quantity(_simulate(chain, wanted, block).gas_used)
        return quantity(_estimate(chain, wanted, wanted.sender, block))

    return (
        Method(
            name="eth_call",
            summary="What a view answers, or what an operation would return; nothing changes",
            parameters=(_CALL, _BLOCK, _STATE_OVERRIDES, _BLOCK_OVERRIDES),
            result=DATA_SCHEMA,
            handler=call,
            is_heavy=is_heavy,
        ),
        Method(
            name="eth_estimateGas",
            summary="Gas of a transaction that could be in the next block and would succeed",
            parameters=(_CALL, _BLOCK, _STATE_OVERRIDES),
            result=QUANTITY_SCHEMA,
            handler=estimate,
            is_heavy=True,
        ),
    )


def _simulate(chain: ServedChain, wanted: CallObject, block: BlockId) -> Simulated:
    reader, context = chain.context_at(block)
    to = wanted.check(chain_id=chain.chain_id, base_fee=State(reader).parameters().base_fee_atoms)
    sender = wanted.sender or ZERO_ADDRESS
    try:
        return simulate_call(reader, context, sender=sender, to=to, value=wanted.value, data=wanted.call_data)
    except Rejected as rejected:
        raise _failure(rejected, to) from None


def _estimate(chain: ServedChain, wanted: CallObject, sender: Address, block: BlockId) -> int:
    reader, context = chain.context_at(block)
    to = wanted.check(chain_id=chain.chain_id, base_fee=State(reader).parameters().base_fee_atoms)
    try:
        return estimate_gas(reader, context, sender=sender, to=to, value=wanted.value, data=wanted.call_data)
    except Rejected as rejected:
        raise _failure(rejected, to) from None


def _failure(rejected: Rejected, to: Address) -> RpcError:
    """A module that refuses has reverted; a plain transfer that cannot be paid has not come that far."""
    is_unpaid = rejected.reason in (RejectionReason.INSUFFICIENT_FUNDS, RejectionReason.FEE_TOO_LOW)
    # Without `data`, as geth's: web3.py takes whatever is there for a revert's.
    return RpcError(SERVER_ERROR, refusal(rejected).message) if is_unpaid and not is_reserved(to) else revert(rejected)
