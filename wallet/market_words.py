"""The arguments of calls to the market, to swaps and to assets, in words.

A wallet that signs may be offline, so nothing is asked of a node: atoms of an asset stay atoms, since how many decimals
it has stands on the chain.
"""

from enum import IntEnum
from typing import Any, Final

from chain.primitives.hexadecimal import format_ait, to_checksum_address
from chain.primitives.market import AssetFlag, MarketStatus, OrderKind, Side, is_asset_address
from chain.primitives.modules import HTLC, MARKET, TOKEN
from chain.primitives.types import Address

_ENUMS: Final[dict[str, type[IntEnum]]] = {"side": Side, "kind": OrderKind, "status": MarketStatus}
_ASSET_PARAMETERS: Final = frozenset({"asset", "base", "quote"})
_AMOUNT_PARAMETERS: Final = frozenset({"value", "cap"})


def trades_assets(to: Address) -> bool:
    """Whether amounts in a call to this address are not AIT as a matter of course."""
    return to in (MARKET, HTLC) or is_asset_address(to)


def describe_asset(asset: Address) -> str:
    """`AIT`, or the asset's address."""
    return "AIT" if asset == TOKEN else f"asset {to_checksum_address(asset)}"


def describe_asset_amount(asset: Address, atoms: int) -> str:
    """`1.5 AIT (1500000000000000000 atoms)`, `25000 atoms of the asset`."""
    return f"{format_ait(atoms)} AIT ({atoms} atoms)" if asset == TOKEN else f"{atoms} atoms of the asset"


def describe_argument(name: str, value: Any, asset: Address) -> str | None:
    """None where an argument needs no words of its own; `asset` is the one that amounts in this call are of."""
    if name in _ASSET_PARAMETERS:
        return describe_asset(value)
    if name in _AMOUNT_PARAMETERS:
        return describe_asset_amount(asset, value)
    if name in _ENUMS:
        names = {int(member): member.name.lower().replace("_", " ") for member in _ENUMS[name]}
        return names.get(value, f"unknown ({value})")
    if name == "flags":
        return _describe_flags(value)
    if name == "price":
        return f"{value} quote atoms per lot"
    return None


def _describe_flags(flags: int) -> str:
    if flags > ~AssetFlag(0):
        return f"unknown ({flags})"
    names = (flag.name or "" for flag in AssetFlag if flags & flag)
    return ", ".join(name.lower().replace("_", " ") for name in names) or "none"
