"""What a proposal about the market says, in words: with the assets' own symbols and decimals, as a node knows them."""

from typing import Any

from chain.client import NodeClient
from chain.market_answers import AssetView
from chain.primitives.abi import Function
from chain.primitives.decimals import format_number, format_units
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.market import CREATE_MARKET, MarketStatus
from chain.primitives.market_units import MarketUnits
from chain.primitives.types import Address


def argument_names(function: Function) -> list[str]:
    """As its declaration has them."""
    return [parameter.name for parameter in function.inputs]


def explain(client: NodeClient, function: Function, named: dict[str, Any]) -> list[tuple[str, str]]:
    """Each argument in words. Raises NodeRefused for an asset or a market that there is not."""
    assets: dict[str, AssetView] = {
        name: client.asset(named[name]) for name in ("asset", "base", "quote") if name in named
    }
    lines = [(name, _describe(name, value, assets)) for name, value in named.items()]
    if function is CREATE_MARKET:
        units = _units(assets["base"], assets["quote"], named)
        lines += [
            (
                "so quantities are",
                f"multiples of {units.format_lots(1)}, at least {units.format_lots(units.minimum_lots)}",
            ),
            (
                "so prices are",
                f"multiples of {format_number(units.price_step)} {units.quote_symbol} per {units.base_symbol}",
            ),
        ]
    if "market" in named:
        market = client.market(named["market"])
        lines.insert(1, ("which trades", f"{market.base.symbol}/{market.quote.symbol}, now {market.status}"))
    return lines


def _units(base: AssetView, quote: AssetView, named: dict[str, Any]) -> MarketUnits:
    return MarketUnits(
        base_symbol=base.symbol,
        base_decimals=base.decimals,
        quote_symbol=quote.symbol,
        quote_decimals=quote.decimals,
        lot=named["lot"],
        tick=named["tick"],
        minimum_lots=named["minimumLots"],
    )


def _describe(name: str, value: Any, assets: dict[str, AssetView]) -> str:
    if name in assets:
        asset = assets[name]
        return f"{asset.symbol} ({asset.name}), {asset.asset}, issued by {asset.issuer}"
    if name == "value":
        return f"{format_units(value, assets['asset'].decimals)} {assets['asset'].symbol} ({value} atoms)"
    if name.endswith("Fee"):
        return f"{format_units(value, 2)} % ({value} basis points)"
    if name == "policy":
        return str(value) if value else "none: everybody may trade"
    if name == "status":
        return MarketStatus(value).name.lower().replace("_", "-")
    if isinstance(value, bytes):
        return to_checksum_address(Address(value))
    if isinstance(value, list):
        return ", ".join(_describe("", element, {}) for element in value) or "none"
    units = {"lot": " base atoms", "tick": " quote atoms per lot"}
    return f"{value}{units.get(name, '')}"
