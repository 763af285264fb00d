"""Calls that change nothing: what `eth_call` and the API ask of the modules."""

from collections.abc import Callable
from typing import Any, Final

from chain.primitives import modules
from chain.primitives.abi import Function
from chain.primitives.parameters import check_parameter
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address
from chain.rules.state import State, StateReader

View = Callable[..., tuple[Any, ...]]


def _parameter(state: State, name: str) -> tuple[int]:
    parameters = state.parameters()
    if name not in parameters.__struct_fields__:
        check_parameter(name, 0)  # Raises the one message for an unknown name.
    return (getattr(parameters, name),)


def _provider(state: State, address: Address) -> tuple[Any, ...]:
    registration = state.registration(address)
    if registration is None:
        return (False, "", (), 0, "", 0, ZERO_ADDRESS)
    return tuple(getattr(registration, name) for name in registration.__struct_fields__)


def _proposal(state: State, number: int) -> tuple[Any, ...]:
    proposal = state.proposal(number)
    if proposal is None:
        raise Rejected(RejectionReason.UNKNOWN_PROPOSAL, f"there is no proposal {number}")
    return (
        proposal.proposer,
        proposal.target,
        proposal.call_data,
        proposal.created_at_ms,
        proposal.approvals,
        proposal.executed,
    )


_VIEWS: Final[dict[tuple[Address, Function], View]] = {
    (modules.TOKEN, modules.TOKEN_NAME): lambda state: ("AITBC Artificial Intelligence Token",),
    (modules.TOKEN, modules.TOKEN_SYMBOL): lambda state: ("AIT",),
    (modules.TOKEN, modules.TOKEN_DECIMALS): lambda state: (18,),
    (modules.TOKEN, modules.TOKEN_TOTAL_SUPPLY): lambda state: (state.supply().circulating,),
    (modules.TOKEN, modules.TOKEN_BALANCE_OF): lambda state, account: (state.account(account).balance,),
    (modules.TOKEN, modules.TOKEN_ALLOWANCE): lambda state, owner, spender: (state.allowance(owner, spender),),
    (modules.MINTER, modules.USED_RECEIPT): lambda state, receipt: (state.receipt_use(receipt) is not None,),
    (modules.MINTER, modules.ATTESTER): lambda state: (state.attesters()[0].address,),
    (modules.MINTER, modules.IS_ATTESTER): lambda state, account: (state.attester(account) is not None,),
    (modules.MINTER, modules.MINTER_TOKEN): lambda state: (modules.TOKEN,),
    (modules.REGISTRY, modules.PROVIDER): _provider,
    (modules.GOVERNANCE, modules.PAUSED): lambda state: (state.minting_paused(),),
    (modules.GOVERNANCE, modules.PARAMETER): _parameter,
    (modules.GOVERNANCE, modules.IS_ISSUER): lambda state, account: (account in state.issuers(),),
    (modules.GOVERNANCE, modules.PROPOSAL): _proposal,
    (modules.GOVERNANCE, modules.VALIDATORS): lambda state: (state.epoch(), state.validators()),
}

_BY_SELECTOR: Final = {module + function.selector: (function, view) for (module, function), view in _VIEWS.items()}


def call_view(reader: StateReader, to: Address, call_data: bytes) -> bytes:
    """The ABI-encoded answer of a module's view; raises Rejected for an unknown or loosely encoded call."""
    entry = _BY_SELECTOR.get(to + call_data[:4])
    if entry is None:
        raise Rejected(RejectionReason.UNKNOWN_CALL, f"0x{to.hex()} defines no view 0x{call_data[:4].hex()}")
    function, view = entry
    return function.encode_output(*view(State(reader), *function.decode(call_data)))
