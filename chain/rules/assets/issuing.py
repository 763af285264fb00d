"""What issuers do (calls of the market module): issue, mint, burn, give powers up, authorise, freeze, claw back.

Governance says who is an issuer. One that was removed can do nothing more with its assets but burn what it holds of
them; holders keep, move and trade theirs.
"""

import re
from typing import Final

import msgspec

from chain.primitives.market import (
    ASSET_ISSUED_EVENT,
    AUTHORIZED_EVENT,
    BURN_ASSET,
    CLAW_BACK,
    FLAGS_WEAKENED_EVENT,
    FROZEN_EVENT,
    ISSUE_ASSET,
    MINT_ASSET,
    RESERVE_CHANGED_EVENT,
    SET_AUTHORIZED,
    SET_FROZEN,
    SET_RESERVE,
    WEAKEN_FLAGS,
    AssetFlag,
    asset_address,
)
from chain.primitives.market_records import Asset
from chain.primitives.modules import MARKET
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Amount, Hash32
from chain.rules.assets.holdings import (
    MAX_SUPPLY,
    add_asset,
    asset_count,
    check_balance,
    check_may_trade,
    create,
    destroy,
    issued_asset,
    move,
    set_asset,
    set_authorized,
    set_frozen,
)
from chain.rules.call import Call, Operation
from chain.rules.token import check_recipient

MAX_ASSETS: Final = 256
MAX_DECIMALS: Final = 36
_ALL_FLAGS: Final = ~AssetFlag(0)
_NAME: Final = re.compile(r"(?=[^ ])[\x20-\x7e]{1,64}(?<! )")
_SYMBOL: Final = re.compile(r"[\x21-\x7e]{1,16}")
_NATIVE_SYMBOL: Final = "AIT"


class NewAsset(msgspec.Struct, frozen=True):
    """A checked asset, and the address that it gets."""

    address: Address
    record: Asset


class HolderChange(msgspec.Struct, frozen=True):
    """A checked change of atoms, or of a holder's standing."""

    asset: Address
    holder: Address
    amount: int = 0
    value: bool = False


class AssetChange(msgspec.Struct, frozen=True):
    """A checked new record of an asset."""

    asset: Address
    record: Asset


def _require_registered(call: Call) -> None:
    if call.sender not in call.state.issuers():
        raise Rejected(RejectionReason.NOT_AN_ISSUER, "governance has not made this account an issuer, or removed it")


def _require_own(call: Call, asset: Address) -> Asset:
    record = issued_asset(call.state, asset)
    if call.sender != record.issuer:
        raise Rejected(RejectionReason.NOT_THE_ISSUER, f"only the issuer of {record.symbol} may do this")
    return record


def check_issuer(call: Call, asset: Address) -> Asset:
    """The asset. Raises Rejected unless the sender is its issuer, and still one by governance's list."""
    record = _require_own(call, asset)
    _require_registered(call)
    return record


def check_power(record: Asset, power: AssetFlag) -> None:
    """Raises Rejected where the asset's flags do not give its issuer this power."""
    if not record.flags & power:
        name = power.name or ""
        raise Rejected(
            RejectionReason.ASSET_POWER, f"{record.symbol} was not issued with {name.lower()}, or gave it up"
        )


def _check_amount(amount: int) -> None:
    if not amount:
        raise Rejected(RejectionReason.OUT_OF_RANGE, "at least one atom", field="value")


def validate_issue_asset(
    call: Call, name: str, symbol: str, decimals: int, cap: int, flags: int, reserve_hash: Hash32
) -> NewAsset:
    """issueAsset(name, symbol, decimals, cap, flags, reserveHash); a cap of 0 is none."""
    _require_registered(call)
    if not _NAME.fullmatch(name):
        raise _invalid("name", "must be 1 to 64 printable ASCII characters, the first and last no space")
    if not _SYMBOL.fullmatch(symbol) or symbol.upper() == _NATIVE_SYMBOL:
        raise _invalid("symbol", f"must be 1 to 16 printable ASCII characters without spaces, and not {_NATIVE_SYMBOL}")
    if decimals > MAX_DECIMALS:
        raise _invalid("decimals", f"must be at most {MAX_DECIMALS}")
    if cap > MAX_SUPPLY:
        raise _invalid("cap", f"must be at most {MAX_SUPPLY} atoms, or 0 for none")
    if flags > _ALL_FLAGS:
        raise _invalid("flags", f"must be at most {int(_ALL_FLAGS)}")
    number = asset_count(call.state) + 1
    if number > MAX_ASSETS:
        raise Rejected(RejectionReason.TOO_MANY_ASSETS, f"there are at most {MAX_ASSETS} assets")
    record = Asset(
        issuer=call.sender,
        name=name,
        symbol=symbol,
        decimals=decimals,
        cap=Amount(cap),
        flags=flags,
        reserve_hash=Hash32(reserve_hash),
        supply=Amount(0),
    )
    return NewAsset(asset_address(number), record)


def _invalid(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.INVALID_ASSET, f"{field} {requirement}", field=field)


def apply_issue_asset(call: Call, plan: NewAsset) -> None:
    """Exists from now on, with nothing of it minted."""
    add_asset(call.state, plan.record)
    call.emit(MARKET, ASSET_ISSUED_EVENT, plan.address, call.sender, plan.record.symbol)
    if any(plan.record.reserve_hash):
        call.emit(MARKET, RESERVE_CHANGED_EVENT, plan.address, plan.record.reserve_hash)


def validate_mint_asset(call: Call, asset: Address, recipient: Address, amount: int) -> HolderChange:
    """mintAsset(asset, to, value)."""
    record = check_issuer(call, asset)
    check_recipient(recipient)
    _check_amount(amount)
    check_may_trade(call.state, asset, recipient)
    if record.cap and record.supply + amount > record.cap:
        raise Rejected(RejectionReason.ASSET_CAP, f"the supply would be above the cap of {record.cap} atoms")
    if record.supply + amount > MAX_SUPPLY:
        raise Rejected(RejectionReason.OUT_OF_RANGE, f"the supply would be above {MAX_SUPPLY} atoms", field="value")
    return HolderChange(asset, recipient, amount)


def apply_mint_asset(call: Call, plan: HolderChange) -> None:
    """Adds them."""
    create(call, plan.asset, plan.holder, plan.amount)


def validate_burn_asset(call: Call, asset: Address, amount: int) -> HolderChange:
    """burnAsset(asset, value): what the issuer itself holds, even after it was removed."""
    _require_own(call, asset)
    _check_amount(amount)
    check_balance(call.state, asset, call.sender, amount)
    return HolderChange(asset, call.sender, amount)


def apply_burn_asset(call: Call, plan: HolderChange) -> None:
    """Takes them out."""
    destroy(call, plan.asset, plan.holder, plan.amount)


def validate_set_reserve(call: Call, asset: Address, reserve_hash: Hash32) -> AssetChange:
    """setReserve(asset, reserveHash): which statement about its reserves the issuer stands by now."""
    record = check_issuer(call, asset)
    return AssetChange(asset, msgspec.structs.replace(record, reserve_hash=Hash32(reserve_hash)))


def apply_set_reserve(call: Call, plan: AssetChange) -> None:
    """Replaces the hash."""
    set_asset(call.state, plan.asset, plan.record)
    call.emit(MARKET, RESERVE_CHANGED_EVENT, plan.asset, plan.record.reserve_hash)


def validate_weaken_flags(call: Call, asset: Address, flags: int) -> AssetChange:
    """weakenFlags(asset, flags): the powers that remain, fewer than before."""
    record = check_issuer(call, asset)
    if flags & ~record.flags or flags == record.flags:
        raise Rejected(
            RejectionReason.ASSET_POWER, f"flags {record.flags} can only be given up, not become {flags}", field="flags"
        )
    return AssetChange(asset, msgspec.structs.replace(record, flags=flags))


def apply_weaken_flags(call: Call, plan: AssetChange) -> None:
    """Gives powers up, for good."""
    set_asset(call.state, plan.asset, plan.record)
    call.emit(MARKET, FLAGS_WEAKENED_EVENT, plan.asset, plan.record.flags)


def validate_set_authorized(call: Call, asset: Address, holder: Address, authorized: bool) -> HolderChange:
    """setAuthorized(asset, holder, authorized)."""
    check_power(check_issuer(call, asset), AssetFlag.AUTHORIZATION_REQUIRED)
    check_recipient(holder)
    return HolderChange(asset, holder, value=authorized)


def apply_set_authorized(call: Call, plan: HolderChange) -> None:
    """Who is not authorised keeps what he holds, but can do nothing with it, except cancel orders."""
    set_authorized(call.state, plan.asset, plan.holder, plan.value)
    call.emit(MARKET, AUTHORIZED_EVENT, plan.asset, plan.holder, plan.value)


def validate_set_frozen(call: Call, asset: Address, holder: Address, frozen: bool) -> HolderChange:
    """setFrozen(asset, holder, frozen)."""
    check_power(check_issuer(call, asset), AssetFlag.FREEZABLE)
    check_recipient(holder)
    return HolderChange(asset, holder, value=frozen)


def apply_set_frozen(call: Call, plan: HolderChange) -> None:
    """Freezes, or sets free."""
    set_frozen(call.state, plan.asset, plan.holder, plan.value)
    call.emit(MARKET, FROZEN_EVENT, plan.asset, plan.holder, plan.value)


def validate_claw_back(call: Call, asset: Address, holder: Address, amount: int) -> HolderChange:
    """clawBack(asset, holder, value): to the issuer. What stands in orders is not the holder's balance."""
    check_power(check_issuer(call, asset), AssetFlag.CLAWBACK)
    check_recipient(holder)
    _check_amount(amount)
    check_balance(call.state, asset, holder, amount)
    return HolderChange(asset, holder, amount)


def apply_claw_back(call: Call, plan: HolderChange) -> None:
    """Takes them."""
    move(call, plan.asset, plan.holder, call.sender, plan.amount)


OPERATIONS = (
    Operation(
        module=MARKET,
        function=ISSUE_ASSET,
        validate=validate_issue_asset,
        apply=apply_issue_asset,
        answer=lambda plan: (plan.address,),
    ),
    *(
        Operation(module=MARKET, function=function, validate=validate, apply=apply)
        for function, validate, apply in (
            (MINT_ASSET, validate_mint_asset, apply_mint_asset),
            (BURN_ASSET, validate_burn_asset, apply_burn_asset),
            (SET_RESERVE, validate_set_reserve, apply_set_reserve),
            (WEAKEN_FLAGS, validate_weaken_flags, apply_weaken_flags),
            (SET_AUTHORIZED, validate_set_authorized, apply_set_authorized),
            (SET_FROZEN, validate_set_frozen, apply_set_frozen),
            (CLAW_BACK, validate_claw_back, apply_claw_back),
        )
    ),
)
