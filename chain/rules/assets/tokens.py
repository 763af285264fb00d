"""EIP-20 at every asset's own address: its calls and its views. AIT's are those of the token module."""

from typing import Final

from chain.primitives.market import ANY_ASSET
from chain.primitives.modules import (
    APPROVAL_EVENT,
    TOKEN_ALLOWANCE,
    TOKEN_APPROVE,
    TOKEN_BALANCE_OF,
    TOKEN_DECIMALS,
    TOKEN_NAME,
    TOKEN_SYMBOL,
    TOKEN_TOTAL_SUPPLY,
    TOKEN_TRANSFER,
    TOKEN_TRANSFER_FROM,
)
from chain.primitives.records import Domain, decode_amount, encode_amount, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import MAX_UINT256, ZERO_ADDRESS, Address, Amount
from chain.rules.assets.holdings import (
    balance_of,
    check_balance,
    check_may_trade,
    issued_asset,
    move,
)
from chain.rules.call import Call, Operation, ViewTable
from chain.rules.state import State
from chain.rules.token import ApprovalPlan, TransferPlan, check_recipient, transfer_log


def allowance(state: State, asset: Address, owner: Address, spender: Address) -> Amount:
    """What the spender may still take of the owner's atoms of an asset."""
    return state.read_record(state_key(Domain.ASSET_ALLOWANCE, asset + owner + spender), decode_amount, Amount(0))


def _set_allowance(state: State, asset: Address, owner: Address, spender: Address, amount: int) -> None:
    key = state_key(Domain.ASSET_ALLOWANCE, asset + owner + spender)
    state.write_record(key, Amount(amount), encode_amount if amount else None)


def _check_transfer(call: Call, owner: Address, recipient: Address) -> None:
    check_recipient(recipient)
    check_may_trade(call.state, call.to, owner)
    check_may_trade(call.state, call.to, recipient)


def validate_transfer(call: Call, recipient: Address, amount: int) -> TransferPlan:
    """transfer(to, value)."""
    _check_transfer(call, call.sender, recipient)
    check_balance(call.state, call.to, call.sender, amount)
    return TransferPlan(call.sender, recipient, amount)


def validate_transfer_from(call: Call, owner: Address, recipient: Address, amount: int) -> TransferPlan:
    """transferFrom(from, to, value); nothing but the allowance is asked of the spender."""
    _check_transfer(call, owner, recipient)
    allowed = allowance(call.state, call.to, owner, call.sender)
    if allowed < amount:
        raise Rejected(
            RejectionReason.INSUFFICIENT_ALLOWANCE, f"insufficient allowance: {allowed}, amount {amount} atoms"
        )
    check_balance(call.state, call.to, owner, amount)
    return TransferPlan(owner, recipient, amount, spender=call.sender)


def apply_transfer(call: Call, plan: TransferPlan) -> None:
    """Moves the atoms and charges the allowance, but for an unlimited one (2^256 − 1), which stays."""
    if plan.spender is not None:
        allowed = allowance(call.state, call.to, plan.owner, plan.spender)
        if allowed != MAX_UINT256:
            _set_allowance(call.state, call.to, plan.owner, plan.spender, allowed - plan.amount)
    if plan.amount:
        move(call, call.to, plan.owner, plan.recipient, plan.amount)
    else:  # EIP-20: a transfer of nothing is a transfer, with its event.
        call.logs.append(transfer_log(plan.owner, plan.recipient, 0, call.to))


def validate_approve(call: Call, spender: Address, amount: int) -> ApprovalPlan:
    """approve(spender, value)."""
    issued_asset(call.state, call.to)
    if spender == ZERO_ADDRESS:
        raise Rejected(RejectionReason.INVALID_RECIPIENT, "the zero address cannot spend")
    return ApprovalPlan(spender, amount)


def apply_approve(call: Call, plan: ApprovalPlan) -> None:
    """Replaces the allowance."""
    _set_allowance(call.state, call.to, call.sender, plan.spender, plan.amount)
    call.emit(call.to, APPROVAL_EVENT, call.sender, plan.spender, plan.amount)


def _success(_plan: object) -> tuple[bool]:
    return (True,)


OPERATIONS = tuple(
    Operation(module=ANY_ASSET, function=function, validate=validate, apply=apply, answer=_success)
    for function, validate, apply in (
        (TOKEN_TRANSFER, validate_transfer, apply_transfer),
        (TOKEN_TRANSFER_FROM, validate_transfer_from, apply_transfer),
        (TOKEN_APPROVE, validate_approve, apply_approve),
    )
)


def _balance_of(call: Call, account: Address) -> tuple[int]:
    issued_asset(call.state, call.to)
    return (balance_of(call.state, call.to, account),)


def _allowance(call: Call, owner: Address, spender: Address) -> tuple[int]:
    issued_asset(call.state, call.to)
    return (allowance(call.state, call.to, owner, spender),)


VIEWS: Final[ViewTable] = {
    (ANY_ASSET, TOKEN_NAME): lambda call: (issued_asset(call.state, call.to).name,),
    (ANY_ASSET, TOKEN_SYMBOL): lambda call: (issued_asset(call.state, call.to).symbol,),
    (ANY_ASSET, TOKEN_DECIMALS): lambda call: (issued_asset(call.state, call.to).decimals,),
    (ANY_ASSET, TOKEN_TOTAL_SUPPLY): lambda call: (issued_asset(call.state, call.to).supply,),
    (ANY_ASSET, TOKEN_BALANCE_OF): _balance_of,
    (ANY_ASSET, TOKEN_ALLOWANCE): _allowance,
}
