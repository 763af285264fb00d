"""What clients put aside for a hub, and how they get it back: `deposit`, `requestWithdrawal`, `withdraw`, `refund`."""

from typing import Any, Final

import msgspec

from chain.primitives import message_pack
from chain.primitives.abi import Function
from chain.primitives.client_request import check_audience
from chain.primitives.escrow import (
    DEPOSIT,
    DEPOSIT_OF,
    DEPOSIT_REFUNDED_EVENT,
    DEPOSITED_EVENT,
    DEPOSITS_OF,
    MAX_DEPOSIT_S,
    MAX_DEPOSITS,
    NOTICE_S,
    REFUND_DEPOSIT,
    REQUEST_WITHDRAWAL,
    WITHDRAW_DEPOSIT,
    WITHDRAWAL_REQUESTED_EVENT,
    WITHDRAWN_EVENT,
    audience_hash,
)
from chain.primitives.escrow_records import Deposit
from chain.primitives.message_pack import decode_trusted
from chain.primitives.modules import ESCROW
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Amount
from chain.rules.call import Call, Operation, View
from chain.rules.state import State
from chain.rules.token import check_balance, move


class DepositPlan(msgspec.Struct, frozen=True):
    """A checked change of one deposit: what it will be, and the atoms that come or go."""

    client: Address
    deposit: Deposit
    moved: int


def read_deposit(state: State, client: Address, audience: str) -> Deposit | None:
    """What a client has put aside for an audience, None where that is nothing."""
    return state.read_record(_deposit_key(client, audience), Deposit.decode, None)


def read_audiences(state: State, client: Address) -> tuple[str, ...]:
    """The audiences that a client has deposits for, oldest first."""
    return state.read_record(state_key(Domain.DEPOSITS, client), _decode_audiences, ())


def _deposit_key(client: Address, audience: str) -> bytes:
    return state_key(Domain.DEPOSIT, client + audience_hash(audience))


def _decode_audiences(encoded: bytes) -> tuple[str, ...]:
    return decode_trusted(encoded, tuple[str, ...])


def write_deposit(state: State, client: Address, deposit: Deposit) -> None:
    """Replaces it; an empty one is removed."""
    key, audiences = _deposit_key(client, deposit.audience), read_audiences(state, client)
    if not deposit.balance:
        state.write_record(key, None, None)
        _write_audiences(state, client, tuple(each for each in audiences if each != deposit.audience))
        return
    state.write_record(key, deposit, Deposit.encode)
    if deposit.audience not in audiences:
        _write_audiences(state, client, (*audiences, deposit.audience))


def _write_audiences(state: State, client: Address, audiences: tuple[str, ...]) -> None:
    key = state_key(Domain.DEPOSITS, client)
    state.write_record(key, audiences, message_pack.encode if audiences else None)


def open_deposit(state: State, client: Address, audience: str) -> Deposit:
    """As `read_deposit`; raises Rejected (unknown_deposit) where there is none."""
    deposit = read_deposit(state, client, audience)
    if deposit is None:
        raise Rejected(
            RejectionReason.UNKNOWN_DEPOSIT, f"0x{client.hex()} has no deposit for this audience", field="audience"
        )
    return deposit


def less(deposit: Deposit, atoms: int) -> Deposit:
    """The deposit after atoms have left it; no more can be asked for than there is."""
    balance = Amount(deposit.balance - atoms)
    withdrawal = min(deposit.withdrawal, balance)
    return msgspec.structs.replace(
        deposit,
        balance=balance,
        withdrawal=withdrawal,
        withdrawable_from=deposit.withdrawable_from if withdrawal else 0,
    )


def time_s(call: Call) -> int:
    """The block's time in whole Unix seconds."""
    return call.block.time_ms // 1_000


# Putting aside


def validate_deposit(call: Call, audience: str, value: int, deadline: int) -> DepositPlan:
    """deposit(audience, value, deadline): begins a deposit, or adds to it and moves its deadline on, never back."""
    check_audience(audience)
    now_s = time_s(call)
    if not now_s < deadline <= now_s + MAX_DEPOSIT_S:
        raise Rejected(
            RejectionReason.INVALID_DEADLINE,
            f"the deadline must be after {now_s}, at most {MAX_DEPOSIT_S} seconds ahead",
            field="deadline",
        )
    deposit = read_deposit(call.state, call.sender, audience)
    if deposit is None:
        if value == 0:
            raise Rejected(RejectionReason.OUT_OF_RANGE, "a deposit begins with at least one atom", field="value")
        if len(read_audiences(call.state, call.sender)) >= MAX_DEPOSITS:
            raise Rejected(RejectionReason.TOO_MANY_DEPOSITS, f"a client has deposits for {MAX_DEPOSITS} audiences")
        deposit = Deposit(audience=audience, balance=Amount(0), deadline=deadline)
    elif deadline < deposit.deadline:
        raise Rejected(
            RejectionReason.INVALID_DEADLINE, f"the deadline was {deposit.deadline}; it only moves on", field="deadline"
        )
    check_balance(call.state, call.sender, value)
    grown = msgspec.structs.replace(deposit, balance=Amount(deposit.balance + value), deadline=deadline)
    return DepositPlan(call.sender, grown, value)


def apply_deposit(call: Call, plan: DepositPlan) -> None:
    """Puts the atoms aside."""
    deposit = plan.deposit
    write_deposit(call.state, plan.client, deposit)
    if plan.moved:
        call.logs.append(move(call.state, plan.client, ESCROW, plan.moved))
    call.emit(
        ESCROW,
        DEPOSITED_EVENT,
        plan.client,
        audience_hash(deposit.audience),
        deposit.audience,
        plan.moved,
        deposit.balance,
        deposit.deadline,
    )


# Taking back


def validate_request_withdrawal(call: Call, audience: str, value: int) -> DepositPlan:
    """requestWithdrawal(audience, value), by the client: instead of what it asked for before; 0 takes that back."""
    deposit = open_deposit(call.state, call.sender, audience)
    if value > deposit.balance:
        raise Rejected(RejectionReason.INSUFFICIENT_DEPOSIT, f"the deposit holds {deposit.balance} atoms")
    withdrawable_from = time_s(call) + NOTICE_S if value else 0
    asked = msgspec.structs.replace(deposit, withdrawal=Amount(value), withdrawable_from=withdrawable_from)
    return DepositPlan(call.sender, asked, 0)


def apply_request_withdrawal(call: Call, plan: DepositPlan) -> None:
    """From now on, everybody knows from when on this much may be gone."""
    deposit = plan.deposit
    write_deposit(call.state, plan.client, deposit)
    hub = audience_hash(deposit.audience)
    call.emit(ESCROW, WITHDRAWAL_REQUESTED_EVENT, plan.client, hub, deposit.withdrawal, deposit.withdrawable_from)


def validate_withdraw(call: Call, audience: str) -> DepositPlan:
    """withdraw(audience), by the client, once the notice is over."""
    deposit = open_deposit(call.state, call.sender, audience)
    if not deposit.withdrawal:
        raise Rejected(RejectionReason.NO_WITHDRAWAL, "nothing was asked to be taken out of this deposit")
    if time_s(call) < deposit.withdrawable_from:
        raise Rejected(
            RejectionReason.NOTICE_PERIOD, f"what was asked for can be taken out from {deposit.withdrawable_from} on"
        )
    rest = msgspec.structs.replace(less(deposit, deposit.withdrawal), withdrawal=Amount(0), withdrawable_from=0)
    return DepositPlan(call.sender, rest, deposit.withdrawal)


def validate_refund(call: Call, client: Address, audience: str) -> DepositPlan:
    """refund(client, audience), by anybody, from the deadline on."""
    deposit = open_deposit(call.state, client, audience)
    if time_s(call) < deposit.deadline:
        raise Rejected(RejectionReason.DEADLINE_AHEAD, f"this deposit can be refunded from {deposit.deadline} on")
    return DepositPlan(client, less(deposit, deposit.balance), deposit.balance)


def apply_withdraw(call: Call, plan: DepositPlan) -> None:
    """Pays the client what it asked for."""
    _pay_back(call, plan)
    call.emit(ESCROW, WITHDRAWN_EVENT, plan.client, audience_hash(plan.deposit.audience), plan.moved)


def apply_refund(call: Call, plan: DepositPlan) -> None:
    """Pays the client all that is left."""
    _pay_back(call, plan)
    call.emit(ESCROW, DEPOSIT_REFUNDED_EVENT, plan.client, audience_hash(plan.deposit.audience), plan.moved)


def _pay_back(call: Call, plan: DepositPlan) -> None:
    write_deposit(call.state, plan.client, plan.deposit)
    call.logs.append(move(call.state, ESCROW, plan.client, plan.moved))


# Who put all that he held aside has no standing left, and must still get at it.


def _may_ask(state: State, sender: Address, audience: str, value: int) -> bool:
    deposit = read_deposit(state, sender, audience)
    # Once: what costs nothing must not be repeated at will.
    return deposit is not None and not deposit.withdrawal and value > 0


def _is_client(state: State, sender: Address, audience: str) -> bool:
    return read_deposit(state, sender, audience) is not None


def _is_own(state: State, sender: Address, client: Address, audience: str) -> bool:
    return sender == client and _is_client(state, client, audience)


def _deposit_of(call: Call, client: Address, audience: str) -> tuple[Any, ...]:
    deposit = read_deposit(call.state, client, audience)
    if deposit is None:
        return (0, 0, 0, 0)
    return (deposit.balance, deposit.deadline, deposit.withdrawal, deposit.withdrawable_from)


OPERATIONS: Final = (
    Operation(module=ESCROW, function=DEPOSIT, validate=validate_deposit, apply=apply_deposit),
    Operation(
        module=ESCROW,
        function=REQUEST_WITHDRAWAL,
        validate=validate_request_withdrawal,
        apply=apply_request_withdrawal,
        is_open_to=_may_ask,
    ),
    Operation(
        module=ESCROW,
        function=WITHDRAW_DEPOSIT,
        validate=validate_withdraw,
        apply=apply_withdraw,
        is_open_to=_is_client,
    ),
    Operation(module=ESCROW, function=REFUND_DEPOSIT, validate=validate_refund, apply=apply_refund, is_open_to=_is_own),
)
VIEWS: Final[dict[tuple[Address, Function], View]] = {
    (ESCROW, DEPOSIT_OF): _deposit_of,
    (ESCROW, DEPOSITS_OF): lambda call, client: (read_audiences(call.state, client),),
}
