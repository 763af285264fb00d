"""Calls that change nothing: what `eth_call` and the API ask of the modules."""

from typing import Any, Final

from chain.primitives import modules
from chain.primitives.authorization import CANCEL_TYPE_HASH, TYPE_HASHES, AuthorizationKind, token_domain
from chain.primitives.market import ANY_ASSET, is_asset_address
from chain.primitives.parameters import check_parameter
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address
from chain.rules import compliance, reputation, swaps
from chain.rules.assets import tokens
from chain.rules.assets import views as asset_views
from chain.rules.call import BlockContext, Call, ViewTable
from chain.rules.escrow import deposits, settling
from chain.rules.market import views as market_views
from chain.rules.state import State, StateReader

_ALL_BUT_SALT: Final = b"\x0f"  # EIP-5267's bits of a domain with name, version, chain id and verifying contract.


def _parameter(call: Call, name: str) -> tuple[int]:
    parameters = call.state.parameters()
    if name not in parameters.__struct_fields__:
        check_parameter(name, 0)  # Raises the one message for an unknown name.
    return (getattr(parameters, name),)


def _provider(call: Call, address: Address) -> tuple[Any, ...]:
    registration = call.state.registration(address)
    if registration is None:
        return (False, "", (), 0, "", 0, ZERO_ADDRESS)
    return tuple(getattr(registration, name) for name in registration.__struct_fields__)


def _proposal(call: Call, number: int) -> tuple[Any, ...]:
    proposal = call.state.proposal(number)
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


def _eip712_domain(call: Call) -> tuple[Any, ...]:
    domain = token_domain(call.block.chain_id)
    no_salt, no_extensions = bytes(32), ()
    return (
        _ALL_BUT_SALT,
        domain.name,
        domain.version,
        domain.chain_id,
        domain.verifying_contract,
        no_salt,
        no_extensions,
    )


_VIEWS: Final[ViewTable] = {
    # Its name is the domain's, since tools take it for that.
    (modules.TOKEN, modules.TOKEN_NAME): lambda call: (token_domain(call.block.chain_id).name,),
    (modules.TOKEN, modules.TOKEN_SYMBOL): lambda call: ("AIT",),
    (modules.TOKEN, modules.TOKEN_DECIMALS): lambda call: (18,),
    (modules.TOKEN, modules.TOKEN_TOTAL_SUPPLY): lambda call: (call.state.supply().circulating,),
    (modules.TOKEN, modules.TOKEN_BALANCE_OF): lambda call, account: (call.state.account(account).balance,),
    (modules.TOKEN, modules.TOKEN_ALLOWANCE): lambda call, owner, spender: (call.state.allowance(owner, spender),),
    (modules.TOKEN, modules.AUTHORIZATION_STATE): lambda call, authorizer, nonce: (
        call.state.authorization_used(authorizer, nonce),
    ),
    (modules.TOKEN, modules.TRANSFER_WITH_AUTHORIZATION_TYPEHASH): lambda call: (
        TYPE_HASHES[AuthorizationKind.TRANSFER],
    ),
    (modules.TOKEN, modules.RECEIVE_WITH_AUTHORIZATION_TYPEHASH): lambda call: (
        TYPE_HASHES[AuthorizationKind.RECEIVE],
    ),
    (modules.TOKEN, modules.CANCEL_AUTHORIZATION_TYPEHASH): lambda call: (CANCEL_TYPE_HASH,),
    (modules.TOKEN, modules.DOMAIN_SEPARATOR): lambda call: (token_domain(call.block.chain_id).separator(),),
    (modules.TOKEN, modules.DOMAIN_VERSION): lambda call: (token_domain(call.block.chain_id).version,),
    (modules.TOKEN, modules.EIP712_DOMAIN): _eip712_domain,
    (modules.MINTER, modules.USED_RECEIPT): lambda call, receipt: (call.state.receipt_use(receipt) is not None,),
    (modules.MINTER, modules.ATTESTER): lambda call: (call.state.attesters()[0].address,),
    (modules.MINTER, modules.IS_ATTESTER): lambda call, account: (call.state.attester(account) is not None,),
    (modules.MINTER, modules.MINTER_TOKEN): lambda call: (modules.TOKEN,),
    (modules.REGISTRY, modules.PROVIDER): _provider,
    (modules.GOVERNANCE, modules.PAUSED): lambda call: (call.state.minting_paused(),),
    (modules.GOVERNANCE, modules.PARAMETER): _parameter,
    (modules.GOVERNANCE, modules.IS_ISSUER): lambda call, account: (account in call.state.issuers(),),
    (modules.GOVERNANCE, modules.PROPOSAL): _proposal,
    (modules.GOVERNANCE, modules.VALIDATORS): lambda call: (call.state.epoch(), call.state.validators()),
    **reputation.VIEWS,
    **swaps.VIEWS,
    **deposits.VIEWS,
    **settling.VIEWS,
    **tokens.VIEWS,
    **asset_views.VIEWS,
    **compliance.VIEWS,
    **market_views.VIEWS,
}

_BY_SELECTOR: Final = {module + function.selector: (function, view) for (module, function), view in _VIEWS.items()}


def is_view(to: Address, call_data: bytes) -> bool:
    """Whether this call changes nothing, so that no transaction makes it."""
    return _table_key(to, call_data) in _BY_SELECTOR


def _table_key(to: Address, call_data: bytes) -> bytes:
    return (ANY_ASSET if is_asset_address(to) else to) + call_data[:4]


def call_view(reader: StateReader, block: BlockContext, to: Address, call_data: bytes) -> bytes:
    """The ABI-encoded answer of a module's view; raises Rejected for an unknown or loosely encoded call."""
    entry = _BY_SELECTOR.get(_table_key(to, call_data))
    if entry is None:
        raise Rejected(RejectionReason.UNKNOWN_CALL, f"0x{to.hex()} defines no view 0x{call_data[:4].hex()}")
    function, view = entry
    call = Call(State(reader), block, ZERO_ADDRESS, to)
    return function.encode_output(*view(call, *function.decode(call_data)))
