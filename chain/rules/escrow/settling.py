"""Paying served jobs out of their clients' deposits: `settle`.

Nothing is minted: the attesters' allowances of receipts are charged, those of atoms are not, nor any cap or ceiling,
and a pause of minting stops no settlement. What bounds the atoms is what the client put aside, and signed for.
"""

from typing import Any, Final

import msgspec

from chain.primitives import message_pack
from chain.primitives.abi import Function
from chain.primitives.client_request import MAX_VALIDITY_S, is_signed_by
from chain.primitives.escrow import (
    PAID_EVENT,
    SETTLE,
    SETTLE_WINDOW_S,
    SETTLED_EVENT,
    SETTLEMENT_OF,
    audience_hash,
)
from chain.primitives.escrow_records import Deposit
from chain.primitives.message_pack import decode_trusted
from chain.primitives.modules import ESCROW
from chain.primitives.records import Domain, ReceiptKind, ReceiptUse, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.settlement import Settlement
from chain.primitives.types import ZERO_ADDRESS, ZERO_HASH, Address, Amount, Hash32
from chain.rules.attesting import (
    Shares,
    charge_attesters,
    check_attesters,
    check_providers,
    check_receipt_unused,
    check_shares,
    payout_address,
)
from chain.rules.call import Call, Operation, View
from chain.rules.escrow.deposits import less, open_deposit, time_s, write_deposit
from chain.rules.state import State
from chain.rules.token import check_recipient, move


class SettlePlan(msgspec.Struct, frozen=True):
    """A checked settlement."""

    settlement: Settlement
    shares: Shares
    deposit: Deposit
    """As it will be."""
    attesters: tuple[Address, ...]


def read_settlement(state: State, client: Address, request_hash: Hash32) -> Hash32 | None:
    """Hash of the receipt that a client's request was settled by, None where it was not."""
    return state.read_record(_request_key(client, request_hash), _decode_hash, None)


def _request_key(client: Address, request_hash: Hash32) -> bytes:
    # Of each client: a request does not name who signs it, and two may sign the same one.
    return state_key(Domain.SETTLED_REQUEST, client + request_hash)


def _decode_hash(encoded: bytes) -> Hash32:
    return Hash32(decode_trusted(encoded, bytes))


def validate_settle(call: Call, *arguments: Any) -> SettlePlan:
    """settle(client, audience, …, attesterSigs), by anybody."""
    settlement, attester_signatures = Settlement.from_arguments(call.block.chain_id, arguments)
    shares = check_shares(settlement.providers, settlement.amounts)
    check_providers(shares)
    _check_fee(settlement)
    _check_request(call, settlement)
    check_receipt_unused(call, settlement.receipt_hash)
    deposit = _check_deposit(call, settlement)
    if not is_signed_by(
        settlement.request.hash, settlement.client_signature, settlement.client, recover=call.block.recover
    ):
        raise Rejected(
            RejectionReason.BAD_SIGNATURE, "not signed by the client over exactly this request", field="clientSignature"
        )
    attesters = check_attesters(call, settlement.digest, attester_signatures, minted_atoms=0)
    return SettlePlan(settlement, shares, less(deposit, settlement.total), attesters)


def _check_fee(settlement: Settlement) -> None:
    if settlement.fee:
        check_recipient(settlement.fee_recipient)
    elif settlement.fee_recipient != ZERO_ADDRESS:
        raise Rejected(RejectionReason.INVALID_RECIPIENT, "a settlement without a fee names nobody for it")


def _check_request(call: Call, settlement: Settlement) -> None:
    request = settlement.request.checked()
    now_s = time_s(call)
    if now_s > request.expiry + SETTLE_WINDOW_S:
        raise Rejected(
            RejectionReason.REQUEST_EXPIRED,
            f"a request can be settled until {SETTLE_WINDOW_S} s after its expiry, {request.expiry}",
            field="expiry",
        )
    if request.expiry > now_s + MAX_VALIDITY_S:  # Nobody may have accepted it yet.
        raise Rejected(
            RejectionReason.OUT_OF_RANGE, f"a request expires at most {MAX_VALIDITY_S} s ahead", field="expiry"
        )
    if settlement.total > request.max_price:
        raise Rejected(
            RejectionReason.PRICE_LIMIT,
            f"{settlement.total} atoms in all are above the client's signed maximum of {request.max_price}",
        )
    if read_settlement(call.state, settlement.client, request.hash) is not None:
        raise Rejected(RejectionReason.REQUEST_SETTLED, "this client's request was settled before")


def _check_deposit(call: Call, settlement: Settlement) -> Deposit:
    deposit = open_deposit(call.state, settlement.client, settlement.request.audience)
    if time_s(call) >= deposit.deadline:
        raise Rejected(RejectionReason.DEADLINE_PASSED, f"the deposit could be settled from before {deposit.deadline}")
    if deposit.balance < settlement.total:
        raise Rejected(
            RejectionReason.INSUFFICIENT_DEPOSIT,
            f"the deposit holds {deposit.balance} atoms, the settlement takes {settlement.total}",
        )
    return deposit


def apply_settle(call: Call, plan: SettlePlan) -> None:
    """Uses the request and the receipt up, charges the attesters, and pays each provider and the hub."""
    state, settlement = call.state, plan.settlement
    request, receipt_hash, total = settlement.request, settlement.receipt_hash, settlement.total
    state.use_receipt(receipt_hash, ReceiptUse(ReceiptKind.SETTLEMENT, Amount(total)))
    state.write_record(_request_key(settlement.client, request.hash), receipt_hash, message_pack.encode)
    charge_attesters(call, plan.attesters, minted_atoms=0)
    write_deposit(state, settlement.client, plan.deposit)
    for provider, amount in plan.shares:
        usage = state.provider_usage(provider, call.period).plus_settled(amount)
        state.set_provider_usage(provider, usage)
        call.logs.append(move(state, ESCROW, payout_address(call, provider), amount))
        call.emit(ESCROW, PAID_EVENT, provider, amount, receipt_hash)
    if settlement.fee:
        call.logs.append(move(state, ESCROW, settlement.fee_recipient, settlement.fee))
    call.emit(
        ESCROW,
        SETTLED_EVENT,
        settlement.client,
        audience_hash(request.audience),
        request.hash,
        receipt_hash,
        total,
        settlement.fee_recipient,
        settlement.fee,
    )


def _settlement_of(call: Call, client: Address, request_hash: Hash32) -> tuple[Any, ...]:
    return (read_settlement(call.state, client, request_hash) or ZERO_HASH,)


OPERATIONS: Final = (
    Operation(
        module=ESCROW, function=SETTLE, validate=validate_settle, apply=apply_settle, uses_receipt=True, recoveries=2
    ),
)
VIEWS: Final[dict[tuple[Address, Function], View]] = {(ESCROW, SETTLEMENT_OF): _settlement_of}
