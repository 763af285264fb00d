"""Who may send what: the checks that the mempool, a proposer and an importer all make (DESIGN §4).

In this order, cheap ones before signatures: the envelope (`check_envelope`), the signature, the sender's standing
(`check_sender`). What the call itself needs is its operation's to say.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from chain.primitives.parameters import Parameters
from chain.primitives.records import Domain, Usage
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction
from chain.primitives.types import Address, Amount
from chain.rules.assets.holdings import held_at_parent
from chain.rules.call import BlockContext, Call
from chain.rules.compliance import authorities
from chain.rules.operations import ModuleCall, decode_call
from chain.rules.state import State
from chain.rules.token import check_recipient

MAX_NOTE_BYTES: Final = 256  # Data on a plain transfer means nothing here; this much is room for a reference.


class Lane(StrEnum):
    """Why a sender may be in a block at all."""

    MEMBER = "member"
    ROLE = "role"
    """Validators, attesters, issuers and authorities, whatever they hold."""
    MINT = "mint"
    """Uses a receipt up: mints for it, or settles it."""
    REGISTRATION = "registration"
    CLOSING = "closing"
    """Takes out what was put aside for the sender: claims or refunds a swap, cancels an order, ends a deposit."""

    @property
    def is_newcomer(self) -> bool:
        """Whether nothing speaks for the sender but the call, which must then succeed."""
        return self in (Lane.MINT, Lane.REGISTRATION, Lane.CLOSING)


class Admission(msgspec.Struct, frozen=True, gc=False):
    """An accepted transaction: who sent it, by what right, what it calls, and the fee in atoms that it burns."""

    sender: Address
    lane: Lane
    call: ModuleCall | None
    fee: int


def check_envelope(transaction: Transaction, chain_id: int) -> ModuleCall | None:
    """What can be said without signature and state; returns the decoded module call. Raises Rejected."""
    if transaction.chain_id != chain_id:
        raise Rejected(
            RejectionReason.WRONG_CHAIN_ID,
            f"signed for chain {transaction.chain_id}, but this network is {chain_id}",
            field="chain_id",
        )
    call = decode_call(transaction)
    if call is not None:
        if transaction.value:
            raise Rejected(RejectionReason.VALUE_TO_MODULE, "module calls take no value", field="value")
        return call
    check_recipient(transaction.to)
    if len(transaction.data) > MAX_NOTE_BYTES:
        raise Rejected(
            RejectionReason.DATA_TOO_LARGE, f"a plain transfer carries at most {MAX_NOTE_BYTES} bytes", field="data"
        )
    return None


def special_roles(state: State) -> frozenset[Address]:
    """Validators, attesters, issuers and authorities: they need no minimum holding."""
    attesters = (attester.address for attester in state.attesters())
    return frozenset((*state.validators(), *attesters, *state.issuers(), *authorities(state)))


def check_sender(
    state: State,
    transaction: Transaction,
    call: ModuleCall | None,
    sender: Address,
    *,
    roles: frozenset[Address],
    parameters: Parameters,
) -> Admission:
    """Standing, fee and funds; the nonce is the caller's to compare. Raises Rejected.

    Roles and parameters are the parent state's, as is the holding that counts. Who could not pay the fee then is no
    member, however little `min_holding_atoms` is: otherwise dust sent to a newcomer would keep it from minting. So an
    asset held then makes a member only while there is no fee. Roles act without funds, free of charge: otherwise a high
    base fee could never be voted down again.
    """
    fee = transaction.gas_used * parameters.base_fee_atoms
    holding = state.parent_balance(sender)
    if holding >= max(parameters.min_holding_atoms, fee) or (not fee and held_at_parent(state, sender)):
        if fee and (transaction.gas_limit < transaction.gas_used or transaction.max_fee < parameters.base_fee_atoms):
            raise Rejected(
                RejectionReason.FEE_TOO_LOW,
                f"needs {transaction.gas_used} gas at a max fee of {parameters.base_fee_atoms} atoms per gas",
            )
        lane = Lane.ROLE if sender in roles else Lane.MEMBER
    else:
        lane = Lane.ROLE if sender in roles else _newcomer_lane(state, call, sender, parameters)
        fee = 0  # What bounds a newcomer is the kind of call.
    balance = state.balance(sender)
    if balance < transaction.value + fee:
        raise Rejected(
            RejectionReason.INSUFFICIENT_FUNDS,
            f"insufficient funds: balance {balance}, value and fee {transaction.value + fee} atoms",
        )
    return Admission(sender, lane, call, fee)


def _newcomer_lane(state: State, call: ModuleCall | None, sender: Address, parameters: Parameters) -> Lane:
    if call is not None and call.operation.uses_receipt:
        return Lane.MINT
    if call is not None and call.operation.is_registration:
        return Lane.REGISTRATION
    if call is not None and call.is_open_to(state, sender):
        return Lane.CLOSING
    holding, min_holding_atoms = state.parent_balance(sender), parameters.min_holding_atoms
    if holding >= min_holding_atoms:
        raise Rejected(RejectionReason.INSUFFICIENT_FUNDS, f"insufficient funds: balance {holding} is below the fee")
    raise Rejected(
        RejectionReason.NEWCOMER_CALL,
        f"an account that holds less than {min_holding_atoms} atoms may only mint for a receipt or settle it, or "
        "register, or take out what is put aside for it",
    )


def check_nonce(transaction: Transaction, expected: int) -> None:
    """Raises Rejected unless the nonce is the account's next."""
    if transaction.nonce < expected:
        raise Rejected(
            RejectionReason.NONCE_TOO_LOW, f"nonce too low: next nonce {expected}, transaction {transaction.nonce}"
        )
    if transaction.nonce > expected:
        raise Rejected(
            RejectionReason.NONCE_TOO_HIGH, f"nonce too high: next nonce {expected}, transaction {transaction.nonce}"
        )


def registration_usage(state: State, period: int) -> Usage:
    """Newcomers' registry calls in this period; raises Rejected once the quota is used up."""
    usage = state.usage(Domain.REGISTRATION_USAGE, b"", period)
    if usage.receipts >= state.parameters().registration_quota:
        raise Rejected(
            RejectionReason.REGISTRATION_QUOTA, "this period's registrations are used up; try again in the next"
        )
    return usage


def check_admission(
    state: State,
    transaction: Transaction,
    block: BlockContext,
    *,
    next_nonce: Callable[[Address], int],
    roles: frozenset[Address],
) -> Admission:
    """The mempool's question: could this be in a block on the head `state`, after the sender's waiting transactions?

    `next_nonce(sender)` is the account's nonce plus those that wait; a lower one replaces a waiting transaction. A
    newcomer's call must succeed as things stand, and so must whatever uses a receipt up, although a block may hold a
    member's that fails: whoever has no attestation must not keep the provider's mint for that receipt waiting. `state`
    is not changed. Raises Rejected.
    """
    call = check_envelope(transaction, block.chain_id)
    sender = transaction.recover_sender(block.recover)
    account_nonce, highest_nonce = state.account(sender).nonce, next_nonce(sender)
    if not account_nonce <= transaction.nonce <= highest_nonce:
        check_nonce(transaction, account_nonce if transaction.nonce < account_nonce else highest_nonce)
    admission = check_sender(state, transaction, call, sender, roles=roles, parameters=state.parameters())
    if call is not None and (admission.lane.is_newcomer or call.operation.uses_receipt):
        context = Call(state, block, sender, call.to)
        if admission.lane is Lane.REGISTRATION:
            registration_usage(state, context.period)
        call.validate(context)
    return admission


def total_cost(transaction: Transaction, admission: Admission) -> Amount:
    """Atoms that the sender's balance must cover."""
    return Amount(transaction.value + admission.fee)
