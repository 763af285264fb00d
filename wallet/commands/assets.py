"""`aitbc wallet asset`: what is traded beside AIT: to see, to hold and to send; `issuing` has what issuers do."""

from typing import TYPE_CHECKING, Any

import typer

from chain.primitives.decimals import format_units
from chain.primitives.hexadecimal import parse_address, parse_amount, to_checksum_address
from chain.primitives.modules import TOKEN_TRANSFER
from chain.primitives.types import Address
from wallet.accounts import Accounts
from wallet.assets import NATIVE, all_assets, find_asset, format_amount
from wallet.commands import issuing
from wallet.commands.arguments import address_of, parse_argument, payee_of
from wallet.commands.balances import NameOrAddress
from wallet.commands.calling import Calling, Session, calls_chain
from wallet.commands.issuing import AmountText, AssetName, amount_details, asset_words, parse_asset_amount
from wallet.node_session import open_node
from wallet.options import AsJson, ChainId, Home, NodeUrl, Payee
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, columns, emit

if TYPE_CHECKING:  # What asks nodes loads slowly; `--help` does not wait for it.
    from chain.market_answers import AssetView

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)


@app.callback()
def asset() -> None:
    """Assets beside AIT: see and move them, or issue your own."""


@app.command("list")
def list_(home: Home, node_url: NodeUrl = None, chain_id: ChainId = None, as_json: AsJson = False) -> None:
    """AIT and every issued asset."""
    with open_node(node_url, home, chain_id) as (client, _):
        views = all_assets(client)
    rows = [["asset", "symbol", "name", "supply", "issuer may"]]
    rows += [
        [view.asset, view.symbol, view.name, format_units(view.supply, view.decimals), _powers(view)] for view in views
    ]
    emit(as_json, {"assets": [_document(view) for view in views]}, columns(rows))


@app.command()
def show(
    home: Home, asset: AssetName, node_url: NodeUrl = None, chain_id: ChainId = None, as_json: AsJson = False
) -> None:
    """One asset: who issues it, how much there is, and what its issuer may do to holders."""
    with open_node(node_url, home, chain_id) as (client, _):
        view = find_asset(client, asset)
    rows = [
        ("asset", view.asset),
        ("name", view.name),
        ("symbol", view.symbol),
        ("decimals", str(view.decimals)),
        ("issuer", view.issuer),
        ("supply", format_amount(view, view.supply)),
        ("cap", format_amount(view, view.cap) if view.cap else "none"),
        ("issuer may", _powers(view)),
        ("reserve hash", view.reserve_hash if int(view.reserve_hash, 16) else "none"),
    ]
    emit(as_json, _document(view), columns(rows))


@app.command()
def balance(
    home: Home,
    account: NameOrAddress = None,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """What an account has of AIT and of every asset, free and in open orders."""
    keys = Accounts(home)
    address = address_of(keys, account)
    with open_node(node_url, home, chain_id) as (client, _):
        view = client.account_assets(address)
    rows = [["symbol", "free", "in orders", "", "asset"]]
    rows += [
        [
            each.symbol,
            format_units(each.balance, each.decimals),
            format_units(each.in_orders, each.decimals),
            "frozen" if each.frozen else "" if each.authorized else "not authorised",
            each.asset,
        ]
        for each in view.balances
    ]
    entries = [
        {
            "asset": each.asset,
            "symbol": each.symbol,
            "decimals": each.decimals,
            "balance_atoms": str(each.balance),
            "in_orders_atoms": str(each.in_orders),
            "authorized": each.authorized,
            "frozen": each.frozen,
        }
        for each in view.balances
    ]
    emit(as_json, {"address": view.address, "balances": entries, "height": view.height}, columns(rows))


def _powers(view: "AssetView") -> str:
    named = {
        "ask for authorisation": view.authorization_required,
        "freeze": view.freezable,
        "claw back": view.clawback,
    }
    return ", ".join(name for name, has in named.items() if has) or "none of that"


def _document(view: "AssetView") -> dict[str, Any]:
    return {
        "asset": view.asset,
        "issuer": view.issuer,
        "name": view.name,
        "symbol": view.symbol,
        "decimals": view.decimals,
        "cap_atoms": str(view.cap),
        "supply_atoms": str(view.supply),
        "authorization_required": view.authorization_required,
        "freezable": view.freezable,
        "clawback": view.clawback,
        "reserve_hash": view.reserve_hash,
    }


# What holders do


@app.command()
@calls_chain
def transfer(asset: AssetName, to: Payee, amount: AmountText, *, calling: Calling) -> None:
    """Send some of an asset to an address."""
    with calling.session() as session:
        send_asset(session, asset, payee_of(session.keys, to), amount)


def send_asset(session: Session, asset: str, payee: Address, amount: str, *, is_atoms: bool = False) -> None:
    """Of an issued asset; AIT has its own kind of transaction."""
    view = find_asset(session.client, asset)
    if view.symbol == NATIVE:
        raise CommandError("AIT is sent with `aitbc wallet send`", ExitCode.USAGE)
    atoms = parse_argument(lambda: parse_amount(amount)) if is_atoms else parse_asset_amount(view, amount)
    session.call(
        parse_address(view.asset),
        TOKEN_TRANSFER.encode(payee, atoms),
        words=[*asset_words(view), ("sends", f"{format_amount(view, atoms)} to {to_checksum_address(payee)}")],
        details=amount_details(view, atoms),
    )


# What issuers do

for _command in issuing.COMMANDS:
    app.command(_command.__name__.replace("_", "-"))(_command)
