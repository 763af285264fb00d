"""Who holds how much of an asset, who may hold it, and how it moves. AIT is an asset here like any other.

Nothing is ever kept beside the balances: what open orders hold is the balance of the market's address, what swaps hold
that of `htlc`, fees that of the treasury. So an asset's supply is the sum of all its balances.
"""

from typing import Final

from chain.primitives import message_pack
from chain.primitives.market import AssetFlag, asset_address, asset_number, is_asset_address
from chain.primitives.market_records import Asset
from chain.primitives.modules import TOKEN, is_reserved
from chain.primitives.records import Domain, decode_amount, decode_integer, encode_amount, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address, Amount
from chain.rules import token
from chain.rules.call import Call
from chain.rules.state import State

MAX_SUPPLY: Final = 2**200 - 1
"""Of an asset, in atoms: no sum or product of the market's comes near 2^256."""

# As plain integers: every order asks for them, and an enum's operators are slow.
_AUTHORIZATION_REQUIRED: Final = int(AssetFlag.AUTHORIZATION_REQUIRED)
_FREEZABLE: Final = int(AssetFlag.FREEZABLE)
_AUTHORIZED: Final = 1
_FROZEN: Final = 2
_NOTHING: Final = Amount(0)
_ASSET_COUNT: Final = state_key(Domain.ASSET_COUNT)


# Assets


def asset_count(state: State) -> int:
    """How many were ever issued; they are numbered from 1."""
    return state.read_record(_ASSET_COUNT, decode_integer, 0)


def find_asset(state: State, asset: Address) -> Asset | None:
    """An issued asset, None for any other address; AIT's is no issuer's."""
    if not is_asset_address(asset):
        return None
    return state.read_record(state_key(Domain.ASSET, asset[16:]), Asset.decode, None)


def issued_asset(state: State, asset: Address) -> Asset:
    """An issued asset. Raises Rejected for any other address, AIT's included."""
    found = find_asset(state, asset)
    if found is None:
        raise Rejected(RejectionReason.UNKNOWN_ASSET, f"there is no asset 0x{asset.hex()}", field="asset")
    return found


def check_asset(state: State, asset: Address) -> None:
    """Raises Rejected for what is neither AIT nor issued."""
    if asset != TOKEN:
        issued_asset(state, asset)


def add_asset(state: State, record: Asset) -> Address:
    """Enters a new asset under the next number; its address."""
    number = asset_count(state) + 1
    state.write_record(_ASSET_COUNT, number, message_pack.encode)
    set_asset(state, asset_address(number), record)
    return asset_address(number)


def set_asset(state: State, asset: Address, record: Asset) -> None:
    """Replaces what is known of an asset."""
    assert 0 < asset_number(asset) <= asset_count(state)
    state.write_record(state_key(Domain.ASSET, asset[16:]), record, Asset.encode)


# Balances


def balance_of(state: State, asset: Address, holder: Address) -> int:
    """Atoms of an asset, or of AIT, that somebody holds."""
    if asset == TOKEN:
        return state.balance(holder)
    return state.read_record(state_key(Domain.ASSET_BALANCE, asset + holder), decode_amount, _NOTHING)


def check_balance(state: State, asset: Address, owner: Address, amount: int) -> None:
    """Raises Rejected where somebody does not hold this much."""
    balance = balance_of(state, asset, owner)
    if balance < amount:
        raise Rejected(
            RejectionReason.INSUFFICIENT_FUNDS, f"insufficient funds: balance {balance}, amount {amount} atoms"
        )


def move(call: Call, asset: Address, sender: Address, recipient: Address, amount: int) -> None:
    """Moves atoms of an asset, or of AIT, and emits its Transfer event; nothing at all for none.

    Unchecked: the caller has seen that they are there, and that both may hold them.
    """
    if not amount:
        return
    if asset == TOKEN:
        call.logs.append(token.move(call.state, sender, recipient, amount))
        return
    _change_balance(call.state, asset, sender, -amount)
    _change_balance(call.state, asset, recipient, amount)
    call.logs.append(token.transfer_log(sender, recipient, amount, asset))


def create(call: Call, asset: Address, recipient: Address, amount: int) -> None:
    """Adds checked atoms to an issued asset's supply."""
    _change_supply(call.state, asset, amount)
    _change_balance(call.state, asset, recipient, amount)
    call.logs.append(token.transfer_log(ZERO_ADDRESS, recipient, amount, asset))


def destroy(call: Call, asset: Address, owner: Address, amount: int) -> None:
    """Takes checked atoms out of an issued asset's supply."""
    _change_balance(call.state, asset, owner, -amount)
    _change_supply(call.state, asset, -amount)
    call.logs.append(token.transfer_log(owner, ZERO_ADDRESS, amount, asset))


def held_at_parent(state: State, holder: Address) -> bool:
    """Whether somebody held any asset but AIT before this block."""
    return state.parent_record(state_key(Domain.ASSETS_HELD, holder)) is not None


def _change_supply(state: State, asset: Address, change: int) -> None:
    record = issued_asset(state, asset)
    supply = record.supply + change
    assert 0 <= supply <= MAX_SUPPLY
    set_asset(state, asset, record.with_supply(Amount(supply)))


def _change_balance(state: State, asset: Address, holder: Address, change: int) -> None:
    before = balance_of(state, asset, holder)
    after = before + change
    assert after >= 0
    key = state_key(Domain.ASSET_BALANCE, asset + holder)
    state.write_record(key, Amount(after), encode_amount if after else None)
    if (before == 0) != (after == 0) and not is_reserved(holder):  # Modules send nothing: they need no standing.
        key = state_key(Domain.ASSETS_HELD, holder)
        count = state.read_record(key, decode_integer, 0) + (1 if after else -1)
        state.write_record(key, count, message_pack.encode if count else None)


# Who may hold and trade


def is_authorized(state: State, asset: Address, holder: Address) -> bool:
    """Whether an issued asset needs no authorisation of this holder, or its issuer has given it."""
    flags = _flags_binding(state, asset, holder)
    return not flags & _AUTHORIZATION_REQUIRED or bool(_standing(state, asset, holder) & _AUTHORIZED)


def is_frozen(state: State, asset: Address, holder: Address) -> bool:
    """Whether the issuer of an asset has frozen this holder, and still may freeze."""
    flags = _flags_binding(state, asset, holder)
    return bool(flags & _FREEZABLE) and bool(_standing(state, asset, holder) & _FROZEN)


def _flags_binding(state: State, asset: Address, holder: Address) -> int:
    """An issued asset's flags, as far as they concern this holder: its issuer and modules are subject to none."""
    record = issued_asset(state, asset)
    return record.flags if record.flags and holder != record.issuer and not is_reserved(holder) else 0


def set_authorized(state: State, asset: Address, holder: Address, authorized: bool) -> None:
    """Grants or takes back."""
    _set_standing(state, asset, holder, _AUTHORIZED, authorized)


def set_frozen(state: State, asset: Address, holder: Address, frozen: bool) -> None:
    """Freezes or sets free."""
    _set_standing(state, asset, holder, _FROZEN, frozen)


def check_may_trade(state: State, asset: Address, holder: Address) -> None:
    """Raises Rejected where somebody may not send, receive, order or trade this asset, and where there is none."""
    refusal = trading_refusal(state, asset, holder)
    if refusal is not None:
        raise refusal


def trading_refusal(state: State, asset: Address, holder: Address) -> Rejected | None:
    """Why somebody may not send, receive, order and trade an asset that exists; None where he may.

    AIT refuses nobody; nothing refuses modules and its own issuer.
    """
    if asset == TOKEN or not _flags_binding(state, asset, holder):
        return None
    if is_frozen(state, asset, holder):
        return _refusal(RejectionReason.ASSET_FROZEN, state, asset, "has frozen", holder)
    if not is_authorized(state, asset, holder):
        return _refusal(RejectionReason.NOT_AUTHORIZED, state, asset, "has not authorised", holder)
    return None


def _refusal(reason: RejectionReason, state: State, asset: Address, verb: str, holder: Address) -> Rejected:
    symbol = issued_asset(state, asset).symbol
    return Rejected(reason, f"the issuer of {symbol} {verb} 0x{holder.hex()}", asset=symbol)


def _standing(state: State, asset: Address, holder: Address) -> int:
    return state.read_record(state_key(Domain.ASSET_STANDING, asset + holder), decode_integer, 0)


def _set_standing(state: State, asset: Address, holder: Address, bit: int, value: bool) -> None:
    standing = _standing(state, asset, holder) & ~bit | (bit if value else 0)
    key = state_key(Domain.ASSET_STANDING, asset + holder)
    state.write_record(key, standing, message_pack.encode if standing else None)
