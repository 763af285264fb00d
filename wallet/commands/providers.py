"""`aitbc wallet providers`: who offers compute at what price, and what the chain has counted of them."""

from collections.abc import Callable
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from chain.primitives.hexadecimal import format_ait
from wallet.node_session import open_node
from wallet.options import AsJson, ChainId, Home, NodeUrl
from wallet.terminal import columns, emit, say

if TYPE_CHECKING:  # What asks a node loads slowly; `--help` does not wait for it.
    from chain.answers import ProviderView
    from chain.client import NodeClient

_MAX_PROVIDERS: Final = 2_000
_PAGE: Final = 200
_LONGEST_MODELS: Final = 48


class Order(StrEnum):
    """What comes first."""

    PRICE = "price"
    VRAM = "vram"
    UNITS = "units"
    REPUTATION = "reputation"


def providers(
    home: Home,
    model: Annotated[str | None, typer.Option("--model", help="Only who offers this model.")] = None,
    unit_type: Annotated[str | None, typer.Option("--unit-type", help="Only this unit: gpu_seconds or images.")] = None,
    sort: Annotated[
        Order, typer.Option("--sort", help="Cheapest, largest, most minted, or fewest complaints per receipt first.")
    ] = Order.PRICE,
    withdrawn: Annotated[bool, typer.Option("--withdrawn", help="Also who offers nothing any more.")] = False,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """Compare what providers offer: price, memory, models, and their record on the chain."""
    with open_node(node_url, home, chain_id) as (client, _):
        views = _all_providers(client)
    chosen = [
        view
        for view in views
        if (view.active or withdrawn)
        and (model is None or model in view.models)
        and (unit_type is None or unit_type == view.unit_type)
    ]
    chosen.sort(key=_ORDERS[sort])
    rows = [_HEADINGS, *(_row(view) for view in chosen)]
    emit(as_json, {"providers": [_document(view) for view in chosen]}, columns(rows) if chosen else ["nobody"])


def complaints(view: "ProviderView") -> Fraction:
    """Failures, disputes and breaches per served receipt or complaint: 0 for nothing to complain about."""
    counted = view.reputation
    bad = counted.failures + counted.disputes + counted.breaches
    return Fraction(bad, max(1, bad + counted.receipts))


_ORDERS: Final[dict[Order, Callable[["ProviderView"], tuple[Any, ...]]]] = {
    # Units are not comparable, so each type's prices stand together.
    Order.PRICE: lambda view: (view.unit_type, int(view.price_per_unit), complaints(view), view.address),
    Order.VRAM: lambda view: (-view.vram_mib, int(view.price_per_unit), view.address),
    Order.UNITS: lambda view: (-int(view.reputation.units), view.address),
    Order.REPUTATION: lambda view: (complaints(view), -view.reputation.receipts, view.address),
}
_HEADINGS: Final = [
    "provider",
    "AIT per unit",
    "unit",
    "VRAM MiB",
    "receipts",
    "AIT minted",
    "failures",
    "disputes",
    "breaches",
    "SLA",
    "models",
    "endpoint",
]


def _all_providers(client: "NodeClient") -> list["ProviderView"]:
    found: list[ProviderView] = []
    cursor: str | None = None
    while True:
        page = client.providers(cursor=cursor, limit=_PAGE)
        found += page.items
        cursor = page.next_cursor
        if cursor is None or len(found) >= _MAX_PROVIDERS:
            break
    if cursor is not None:
        say(f"aitbc: the registry has more than {len(found)} providers; these are the first by address")
    return found


def _row(view: "ProviderView") -> list[str]:
    counted = view.reputation
    models = ", ".join(view.models)
    return [
        view.address if view.active else f"{view.address} (withdrawn)",
        format_ait(int(view.price_per_unit)),
        view.unit_type,
        str(view.vram_mib),
        str(counted.receipts),
        format_ait(int(counted.units)),
        str(counted.failures),
        str(counted.disputes),
        str(counted.breaches),
        "-" if view.sla_hash is None else view.sla_hash[:10] + "…",
        models if len(models) <= _LONGEST_MODELS else models[: _LONGEST_MODELS - 1] + "…",
        view.endpoint or "-",
    ]


def _document(view: "ProviderView") -> dict[str, Any]:
    counted = view.reputation
    return {
        "address": view.address,
        "active": view.active,
        "endpoint": view.endpoint,
        "models": view.models,
        "price_per_unit_atoms": str(view.price_per_unit),
        "unit_type": view.unit_type,
        "vram_mib": view.vram_mib,
        "payout": view.payout,
        "reputation": {
            "receipts": counted.receipts,
            "units_atoms": str(counted.units),
            "failures": counted.failures,
            "disputes": counted.disputes,
            "breaches": counted.breaches,
        },
        "sla_hash": view.sla_hash,
    }
