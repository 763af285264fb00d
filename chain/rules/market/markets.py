"""Markets: what governance says of each, and reading it.

A market that closes takes no orders again, ever; a halted one may go on. Cancelling works in each.
"""

from typing import Final

import msgspec

from chain.primitives import message_pack
from chain.primitives.market import (
    CREATE_MARKET,
    MARKET_CHANGED_EVENT,
    MARKET_CREATED_EVENT,
    MAX_FEE_BASIS_POINTS,
    MAX_LOTS,
    SET_MARKET_FEES,
    SET_MARKET_POLICY,
    SET_MARKET_STATUS,
    MarketStatus,
)
from chain.primitives.market_records import Market
from chain.primitives.modules import MARKET
from chain.primitives.records import Domain, decode_integer, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Amount
from chain.rules.assets.holdings import check_asset
from chain.rules.call import Call, Operation
from chain.rules.compliance import check_policy
from chain.rules.state import State

MAX_ATOMS: Final = 2**200 - 1
"""Of one order, in either asset: sums of any number of orders stay below 2^256."""

_STATUSES: Final = frozenset(MarketStatus)
_MARKET_COUNT: Final = state_key(Domain.MARKET_COUNT)


class MarketChange(msgspec.Struct, frozen=True):
    """A market by number, as it will be."""

    number: int
    market: Market


# Reading


def market_count(state: State) -> int:
    """How many were ever created; they are numbered from 1."""
    return state.read_record(_MARKET_COUNT, decode_integer, 0)


def find_market(state: State, number: int) -> Market | None:
    """A market by number, or None."""
    return state.read_record(_market_key(number), Market.decode, None)


def known_market(state: State, number: int) -> Market:
    """A market by number. Raises Rejected where there is none."""
    market = find_market(state, number)
    if market is None:
        raise Rejected(RejectionReason.UNKNOWN_MARKET, f"there is no market {number}", field="market")
    return market


# Governing


def validate_create_market(
    call: Call,
    base: Address,
    quote: Address,
    lot: int,
    tick: int,
    minimum_lots: int,
    maker_fee: int,
    taker_fee: int,
    policy: int,
) -> MarketChange:
    """createMarket(…): open at once."""
    check_asset(call.state, base)
    check_asset(call.state, quote)
    if base == quote:
        raise Rejected(RejectionReason.INVALID_MARKET, "base and quote are the same asset")
    if not 1 <= minimum_lots <= MAX_LOTS:
        raise out_of_range("minimumLots", f"1 to {MAX_LOTS}")
    for name, atoms in (("lot", lot), ("tick", tick)):
        if not 1 <= atoms <= MAX_ATOMS // minimum_lots:
            raise out_of_range(name, "at least 1, and the smallest order below 2^200 atoms")
    _check_fees(maker_fee, taker_fee)
    check_policy(call.state, policy)
    market = Market(
        base=base,
        quote=quote,
        lot=Amount(lot),
        tick=Amount(tick),
        minimum_lots=minimum_lots,
        maker_fee=maker_fee,
        taker_fee=taker_fee,
        policy=policy,
        status=MarketStatus.OPEN,
    )
    return MarketChange(market_count(call.state) + 1, market)


def apply_create_market(call: Call, change: MarketChange) -> None:
    """Enters the market under the next number."""
    market = change.market
    call.state.write_record(_MARKET_COUNT, change.number, message_pack.encode)
    _set_market(call.state, change)
    call.emit(MARKET, MARKET_CREATED_EVENT, change.number, market.base, market.quote, market.lot, market.tick)
    _emit_changed(call, change)


def validate_set_market_status(call: Call, number: int, status: int) -> MarketChange:
    """setMarketStatus(market, status)."""
    market = known_market(call.state, number)
    if status not in _STATUSES:
        raise out_of_range("status", "0 (open), 1 (cancel-only) or 2 (halted)")
    if market.status == MarketStatus.CANCEL_ONLY:
        raise Rejected(RejectionReason.INVALID_CHANGE, f"market {number} has closed for good")
    if market.status == status:
        raise Rejected(RejectionReason.INVALID_CHANGE, f"market {number} has this status already")
    return MarketChange(number, msgspec.structs.replace(market, status=status))


def validate_set_market_fees(call: Call, number: int, maker_fee: int, taker_fee: int) -> MarketChange:
    """setMarketFees(market, makerFee, takerFee): for trades from now on, also of orders that rest."""
    market = known_market(call.state, number)
    _check_fees(maker_fee, taker_fee)
    return MarketChange(number, msgspec.structs.replace(market, maker_fee=maker_fee, taker_fee=taker_fee))


def validate_set_market_policy(call: Call, number: int, policy: int) -> MarketChange:
    """setMarketPolicy(market, policy): who does not meet it trades no more, also with orders that rest."""
    market = known_market(call.state, number)
    check_policy(call.state, policy)
    return MarketChange(number, msgspec.structs.replace(market, policy=policy))


def apply_change(call: Call, change: MarketChange) -> None:
    """Replaces what governs the market."""
    _set_market(call.state, change)
    _emit_changed(call, change)


def _check_fees(maker_fee: int, taker_fee: int) -> None:
    for name, basis_points in (("makerFee", maker_fee), ("takerFee", taker_fee)):
        if basis_points > MAX_FEE_BASIS_POINTS:
            raise out_of_range(name, f"at most {MAX_FEE_BASIS_POINTS} basis points")


def out_of_range(field: str, requirement: str) -> Rejected:
    """That a number of a call is not among those that it may be."""
    return Rejected(RejectionReason.OUT_OF_RANGE, f"{field} must be {requirement}", field=field)


def _emit_changed(call: Call, change: MarketChange) -> None:
    market = change.market
    call.emit(
        MARKET,
        MARKET_CHANGED_EVENT,
        change.number,
        market.status,
        market.maker_fee,
        market.taker_fee,
        market.policy,
    )


def _market_key(number: int) -> bytes:
    return state_key(Domain.MARKET, number.to_bytes(4, "big"))


def _set_market(state: State, change: MarketChange) -> None:
    state.write_record(_market_key(change.number), change.market, Market.encode)


OPERATIONS = (
    Operation(
        module=MARKET,
        function=CREATE_MARKET,
        validate=validate_create_market,
        apply=apply_create_market,
        answer=lambda change: (change.number,),
        is_governed=True,
    ),
    *(
        Operation(module=MARKET, function=function, validate=validate, apply=apply_change, is_governed=True)
        for function, validate in (
            (SET_MARKET_STATUS, validate_set_market_status),
            (SET_MARKET_FEES, validate_set_market_fees),
            (SET_MARKET_POLICY, validate_set_market_policy),
        )
    ),
)
