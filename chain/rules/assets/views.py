"""What can be asked of assets at the market's address; what each answers at its own stands in `tokens.py`."""

from typing import Any, Final

import msgspec

from chain.primitives.authorization import token_domain
from chain.primitives.market import ASSET, ASSET_COUNT, HOLDER
from chain.primitives.market_records import Asset
from chain.primitives.modules import MARKET, MINTER, TOKEN
from chain.primitives.types import Address, Amount, Hash32
from chain.rules.assets.holdings import asset_count, is_authorized, is_frozen, issued_asset
from chain.rules.call import Call, ViewTable
from chain.rules.state import State

_NATIVE_DECIMALS: Final = 18


def describe(state: State, chain_id: int, asset: Address) -> Asset:
    """An asset's record; AIT's is made up from what it is: its issuer is the minter module. Raises Rejected."""
    if asset != TOKEN:
        return issued_asset(state, asset)
    return Asset(
        issuer=MINTER,
        name=token_domain(chain_id).name,
        symbol="AIT",
        decimals=_NATIVE_DECIMALS,
        cap=Amount(0),
        flags=0,
        reserve_hash=Hash32(bytes(32)),
        supply=state.supply().circulating,
    )


def _asset(call: Call, asset: Address) -> tuple[Any, ...]:
    return msgspec.structs.astuple(describe(call.state, call.block.chain_id, asset))


def _holder(call: Call, asset: Address, account: Address) -> tuple[bool, bool]:
    if asset == TOKEN:
        return True, False
    return is_authorized(call.state, asset, account), is_frozen(call.state, asset, account)


VIEWS: Final[ViewTable] = {
    (MARKET, ASSET): _asset,
    (MARKET, ASSET_COUNT): lambda call: (asset_count(call.state),),
    (MARKET, HOLDER): _holder,
}
