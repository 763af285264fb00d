"""The token module: AIT as an ERC-20 (EIP-20), and the plain transfer that emits the same event."""

import msgspec

from chain.primitives.block import Log
from chain.primitives.modules import (
    APPROVAL_EVENT,
    TOKEN,
    TOKEN_APPROVE,
    TOKEN_TRANSFER,
    TOKEN_TRANSFER_FROM,
    TRANSFER_EVENT,
    is_reserved,
)
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import MAX_UINT256, ZERO_ADDRESS, Address, Hash32
from chain.rules.call import Call, Operation
from chain.rules.state import State

_PADDING = bytes(12)


class TransferPlan(msgspec.Struct, frozen=True):
    """A checked transfer; `spender` is set where it uses an allowance."""

    owner: Address
    recipient: Address
    amount: int
    spender: Address | None = None


class ApprovalPlan(msgspec.Struct, frozen=True):
    """A checked approval."""

    spender: Address
    amount: int


def transfer_log(sender: Address, recipient: Address, amount: int, asset: Address = TOKEN) -> Log:
    """A Transfer event, of AIT or an asset; written out because every plain transfer makes one."""
    topics = (TRANSFER_EVENT.topic, Hash32(_PADDING + sender), Hash32(_PADDING + recipient))
    return Log(asset, topics, amount.to_bytes(32, "big"))


def check_recipient(recipient: Address) -> None:
    """Raises Rejected for the zero address, modules and assets: nobody could ever move what they hold."""
    if recipient == ZERO_ADDRESS or is_reserved(recipient):
        raise Rejected(
            RejectionReason.INVALID_RECIPIENT, "not an ordinary address: it is zero, or belongs to a module or an asset"
        )


def move(state: State, sender: Address, recipient: Address, amount: int) -> Log:
    """Carries out a checked transfer."""
    state.debit(sender, amount)
    state.credit(recipient, amount)
    return transfer_log(sender, recipient, amount)


def check_balance(state: State, owner: Address, amount: int) -> None:
    """Raises Rejected where somebody does not hold this much."""
    balance = state.balance(owner)
    if balance < amount:
        raise Rejected(
            RejectionReason.INSUFFICIENT_FUNDS, f"insufficient funds: balance {balance}, amount {amount} atoms"
        )


def validate_transfer(call: Call, recipient: Address, amount: int) -> TransferPlan:
    """transfer(to, value)."""
    check_recipient(recipient)
    check_balance(call.state, call.sender, amount)
    return TransferPlan(call.sender, recipient, amount)


def validate_transfer_from(call: Call, owner: Address, recipient: Address, amount: int) -> TransferPlan:
    """transferFrom(from, to, value)."""
    check_recipient(recipient)
    allowance = call.state.allowance(owner, call.sender)
    if allowance < amount:
        raise Rejected(
            RejectionReason.INSUFFICIENT_ALLOWANCE, f"insufficient allowance: {allowance}, amount {amount} atoms"
        )
    check_balance(call.state, owner, amount)
    return TransferPlan(owner, recipient, amount, spender=call.sender)


def apply_transfer(call: Call, plan: TransferPlan) -> None:
    """Moves the atoms and charges the allowance, but for an unlimited one (2^256 − 1), which stays."""
    if plan.spender is not None:
        allowance = call.state.allowance(plan.owner, plan.spender)
        if allowance != MAX_UINT256:
            call.state.set_allowance(plan.owner, plan.spender, allowance - plan.amount)
    call.logs.append(move(call.state, plan.owner, plan.recipient, plan.amount))


def validate_approve(call: Call, spender: Address, amount: int) -> ApprovalPlan:
    """approve(spender, value)."""
    if spender == ZERO_ADDRESS:
        raise Rejected(RejectionReason.INVALID_RECIPIENT, "the zero address cannot spend")
    return ApprovalPlan(spender, amount)


def apply_approve(call: Call, plan: ApprovalPlan) -> None:
    """Replaces the allowance."""
    call.state.set_allowance(call.sender, plan.spender, plan.amount)
    call.emit(TOKEN, APPROVAL_EVENT, call.sender, plan.spender, plan.amount)


def _success(_plan: object) -> tuple[bool]:
    """What EIP-20 has these functions return; whatever goes wrong is a revert."""
    return (True,)


OPERATIONS = tuple(
    Operation(module=TOKEN, function=function, validate=validate, apply=apply, answer=_success)
    for function, validate, apply in (
        (TOKEN_TRANSFER, validate_transfer, apply_transfer),
        (TOKEN_TRANSFER_FROM, validate_transfer_from, apply_transfer),
        (TOKEN_APPROVE, validate_approve, apply_approve),
    )
)
