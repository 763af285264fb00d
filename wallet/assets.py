"""Assets and markets as a node knows them, found by what people call them."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from chain.primitives.decimals import format_units
from chain.primitives.hexadecimal import parse_address
from chain.primitives.market_units import MarketUnits
from chain.primitives.modules import TOKEN
from chain.primitives.rejection import Rejected, RejectionReason

if TYPE_CHECKING:  # What asks nodes loads slowly; `--help` does not wait for it.
    from chain.answers import Page
    from chain.client import NodeClient
    from chain.market_answers import AssetView, MarketView

NATIVE: Final = "AIT"
_PAGE: Final = 200
_MOST: Final = 10_000
"""More assets or markets than this are not listed, whatever a node says."""

T = TypeVar("T")


def all_assets(client: "NodeClient") -> "list[AssetView]":
    """AIT first, then by number."""
    return [*_each(client.assets)]


def all_markets(client: "NodeClient") -> "list[MarketView]":
    """By number."""
    return [*_each(client.markets)]


def _each(ask: "Callable[..., Page[T]]") -> Iterator[T]:
    cursor: str | None = None
    for _ in range(_MOST // _PAGE):
        page = ask(cursor=cursor, limit=_PAGE)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def find_asset(client: "NodeClient", name: str) -> "AssetView":
    """Of an address, or a symbol that only one asset has. Raises Rejected, and NodeRefused for an unknown address."""
    if name.startswith(("0x", "0X")):
        return client.asset(parse_address(name, "asset"))
    if name == NATIVE:
        return client.asset(TOKEN)
    found = [asset for asset in all_assets(client) if asset.symbol == name]
    if len(found) == 1:
        return found[0]
    if not found:
        raise Rejected(RejectionReason.UNKNOWN_ASSET, f"there is no asset {name[:40]!r}: see `asset list`")
    # Anybody who may issue can take any symbol: what counts is the address.
    named = ", ".join(asset.asset for asset in found[:5])
    raise Rejected(
        RejectionReason.UNKNOWN_ASSET,
        f"{len(found)} assets are called {name[:40]!r}: choose an address ({named})",
    )


def find_market(client: "NodeClient", name: str) -> "MarketView":
    """Of a number, or of `BASE/QUOTE` where only one market is called so. Raises Rejected and NodeRefused."""
    if name.isascii() and name.isdigit() and len(name) <= 10:
        return client.market(int(name))
    found = [market for market in all_markets(client) if units_of(market).name == name]
    if len(found) == 1:
        return found[0]
    if not found:
        raise Rejected(RejectionReason.UNKNOWN_MARKET, f"there is no market {name[:40]!r}: see `market list`")
    numbers = ", ".join(str(market.market) for market in found[:10])
    raise Rejected(
        RejectionReason.UNKNOWN_MARKET, f"{len(found)} markets are called {name[:40]!r}: choose a number ({numbers})"
    )


def units_of(market: "MarketView") -> MarketUnits:
    """How its prices and quantities are said."""
    return MarketUnits(
        base_symbol=market.base.symbol,
        base_decimals=market.base.decimals,
        quote_symbol=market.quote.symbol,
        quote_decimals=market.quote.decimals,
        lot=market.lot,
        tick=market.tick,
        minimum_lots=market.minimum_lots,
    )


def format_amount(asset: "AssetView", atoms: int) -> str:
    """`1.5 DUSD (1500000 atoms)`"""
    return f"{format_units(atoms, asset.decimals)} {asset.symbol} ({atoms} atoms)"
