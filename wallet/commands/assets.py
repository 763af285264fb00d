"""`aitbc wallet asset`: what is traded beside AIT: holders' transfers, and what issuers do."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from chain.primitives.abi import Function
from chain.primitives.decimals import format_units, parse_units
from chain.primitives.hexadecimal import parse_address, parse_amount, parse_hash, to_checksum_address
from chain.primitives.market import (
    BURN_ASSET,
    CLAW_BACK,
    ISSUE_ASSET,
    MINT_ASSET,
    SET_AUTHORIZED,
    SET_FROZEN,
    SET_RESERVE,
    WEAKEN_FLAGS,
    AssetFlag,
)
from chain.primitives.modules import MARKET, TOKEN_TRANSFER
from chain.primitives.types import Address, Hash32
from wallet.accounts import Accounts
from wallet.assets import NATIVE, all_assets, find_asset, format_amount
from wallet.commands.arguments import address_of, parse_argument, payee_of
from wallet.commands.balances import NameOrAddress
from wallet.commands.calling import Calling, Session, Words, calls_chain
from wallet.market_events import read_issued
from wallet.node_session import open_node
from wallet.options import AsJson, ChainId, Home, NodeUrl, Payee, complete_names
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, columns, emit

if TYPE_CHECKING:  # What asks nodes loads slowly; `--help` does not wait for it.
    from chain.answers import TransactionView
    from chain.market_answers import AssetView

_NO_RESERVE: Final = Hash32(bytes(32))
_MAX_UINT256: Final = 2**256 - 1

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)

AssetName = Annotated[str, typer.Argument(metavar="ASSET", help="Its address, or its symbol if no other has the same.")]
AmountText = Annotated[str, typer.Argument(metavar="AMOUNT", help="Units of the asset, such as 1.5.")]
Holder = Annotated[
    str, typer.Argument(help="Address, or the name of an account of this home.", autocompletion=complete_names)
]
AuthorizationRequired = Annotated[
    bool, typer.Option("--authorization-required", help="Only holders whom you authorise receive and trade it.")
]
Freezable = Annotated[bool, typer.Option("--freezable", help="You may freeze a holder's balance.")]
Clawback = Annotated[bool, typer.Option("--clawback", help="You may take a holder's balance back.")]


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
    address = address_of(keys, account) if account else keys.only().address
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
    atoms = parse_argument(lambda: parse_amount(amount)) if is_atoms else _atoms(view, amount)
    session.call(
        parse_address(view.asset),
        TOKEN_TRANSFER.encode(payee, atoms),
        words=[*_asset_words(view), ("sends", f"{format_amount(view, atoms)} to {to_checksum_address(payee)}")],
        details=_asset_details(view, atoms),
    )


# What issuers do


@app.command()
@calls_chain
def issue(
    name: Annotated[str, typer.Argument(help="For people, at most 64 ASCII characters.")],
    symbol: Annotated[str, typer.Argument(help="At most 16 ASCII characters without spaces.")],
    decimals: Annotated[int, typer.Option("--decimals", min=0, max=36, help="1 unit is 10^DECIMALS atoms.")] = 6,
    cap: Annotated[
        str | None, typer.Option("--cap", help="Never more units than this; else there is no bound.")
    ] = None,
    authorization_required: AuthorizationRequired = False,
    freezable: Freezable = False,
    clawback: Clawback = False,
    reserve_hash: Annotated[
        str | None, typer.Option("--reserve-hash", help="32 bytes in 0x-hex: `asset reserve`.")
    ] = None,
    *,
    calling: Calling,
) -> None:
    """Begin an asset of your own, if governance has made you an issuer. What you may do to holders is fixed now."""
    reserve = parse_argument(lambda: parse_hash(reserve_hash, "--reserve-hash")) if reserve_hash else _NO_RESERVE
    most = 0 if cap is None else parse_argument(lambda: parse_units(cap, decimals, "--cap"))
    if most > _MAX_UINT256 or (cap is not None and not most):
        raise CommandError("--cap must be at least one atom and below 2^256", ExitCode.USAGE)
    flags = _flags(authorization_required, freezable, clawback)
    with calling.session() as session:
        session.call(
            MARKET,
            ISSUE_ASSET.encode(name, symbol, decimals, most, int(flags), reserve),
            words=[("asset", f"{symbol}, {name!r}: one unit is 10^{decimals} atoms"), ("you may", _flag_words(flags))],
            details={"name": name, "symbol": symbol, "decimals": decimals, "cap_atoms": str(most)},
            read=_read_issued,
        )


def _read_issued(view: "TransactionView") -> tuple[dict[str, Any], list[str]]:
    issued = read_issued(view)
    text = None if issued is None else to_checksum_address(issued)
    return {"asset": text}, [] if text is None else [f"the asset's address is {text}"]


def _flags(authorization_required: bool, freezable: bool, clawback: bool) -> AssetFlag:
    chosen = zip(AssetFlag, (authorization_required, freezable, clawback), strict=True)
    return AssetFlag(sum(flag for flag, is_chosen in chosen if is_chosen))


def _flag_words(flags: AssetFlag) -> str:
    return ", ".join((flag.name or "").lower().replace("_", " ") for flag in flags) or "do nothing to holders"


@app.command()
@calls_chain
def mint(asset: AssetName, to: Payee, amount: AmountText, *, calling: Calling) -> None:
    """Make more of your asset, for somebody."""
    with calling.session() as session:
        payee = payee_of(session.keys, to)
        _issuer_call(session, asset, MINT_ASSET, amount=amount, holder=payee, does="mints {} for {}")


@app.command()
@calls_chain
def burn(asset: AssetName, amount: AmountText, *, calling: Calling) -> None:
    """Destroy some of your asset that you hold yourself."""
    with calling.session() as session:
        _issuer_call(session, asset, BURN_ASSET, amount=amount, does="burns {} of your own")


@app.command("claw-back")
@calls_chain
def claw_back(asset: AssetName, holder: Holder, amount: AmountText, *, calling: Calling) -> None:
    """Take some of your asset back from a holder. What stands in its orders: `freeze` first, then cancel those."""
    with calling.session() as session:
        address = payee_of(session.keys, holder)
        _issuer_call(session, asset, CLAW_BACK, amount=amount, holder=address, does="takes {} back from {}")


def _issuer_call(
    session: Session, asset: str, function: Function, *, amount: str, does: str, holder: Address | None = None
) -> None:
    """A call with an amount: (asset, value), or (asset, holder, value)."""
    view = find_asset(session.client, asset)
    atoms = _atoms(view, amount)
    holders = () if holder is None else (holder,)
    said = does.format(format_amount(view, atoms), *map(to_checksum_address, holders))
    session.call(
        MARKET,
        function.encode(parse_address(view.asset), *holders, atoms),
        words=[*_asset_words(view), ("does", said)],
        details=_asset_details(view, atoms),
    )


@app.command()
@calls_chain
def authorize(
    asset: AssetName,
    holder: Holder,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the authorisation back instead.")] = False,
    *,
    calling: Calling,
) -> None:
    """Let a holder receive and trade your asset."""
    with calling.session() as session:
        does = "no longer lets {} receive, send and trade it" if withdraw else "lets {} receive, send and trade it"
        _set_standing(session, asset, SET_AUTHORIZED, holder, not withdraw, does)


@app.command()
@calls_chain
def freeze(
    asset: AssetName,
    holder: Holder,
    thaw: Annotated[bool, typer.Option("--thaw", help="Set the balance free again instead.")] = False,
    *,
    calling: Calling,
) -> None:
    """Stop a holder from moving and trading your asset; cancelling orders still works."""
    with calling.session() as session:
        does = "sets what {} has of it free" if thaw else "freezes what {} has of it"
        _set_standing(session, asset, SET_FROZEN, holder, not thaw, does)


def _set_standing(session: Session, asset: str, function: Function, holder: str, value: bool, does: str) -> None:
    view, address = find_asset(session.client, asset), payee_of(session.keys, holder)
    session.call(
        MARKET,
        function.encode(parse_address(view.asset), address, value),
        words=[*_asset_words(view), ("does", does.format(to_checksum_address(address)))],
        details={"asset": view.asset, "holder": to_checksum_address(address), "value": value},
    )


@app.command()
@calls_chain
def reserve(
    asset: AssetName,
    reserve_hash: Annotated[str, typer.Argument(metavar="HASH", help="32 bytes in 0x-hex, of what you publish.")],
    *,
    calling: Calling,
) -> None:
    """Say by its hash which statement about your asset's reserves you stand by."""
    octets = parse_argument(lambda: parse_hash(reserve_hash, "HASH"))
    with calling.session() as session:
        view = find_asset(session.client, asset)
        session.call(
            MARKET,
            SET_RESERVE.encode(parse_address(view.asset), octets),
            words=[*_asset_words(view), ("instead of", view.reserve_hash)],
            details={"asset": view.asset, "reserve_hash": reserve_hash},
        )


@app.command()
@calls_chain
def weaken(
    asset: AssetName,
    authorization_required: AuthorizationRequired = False,
    freezable: Freezable = False,
    clawback: Clawback = False,
    *,
    calling: Calling,
) -> None:
    """Give powers over holders up, for good: those that you name."""
    given_up = _flags(authorization_required, freezable, clawback)
    if not given_up:
        raise CommandError("name what you give up: --authorization-required, --freezable, --clawback", ExitCode.USAGE)
    with calling.session() as session:
        view = find_asset(session.client, asset)
        rest = _flags(view.authorization_required, view.freezable, view.clawback) & ~given_up
        session.call(
            MARKET,
            WEAKEN_FLAGS.encode(parse_address(view.asset), int(rest)),
            words=[*_asset_words(view), ("gives up", _flag_words(given_up)), ("keeps", _flag_words(rest))],
            details={"asset": view.asset, "flags": int(rest)},
        )


def _atoms(view: "AssetView", amount: str) -> int:
    atoms = parse_argument(lambda: parse_units(amount, view.decimals))
    if atoms > _MAX_UINT256:
        raise CommandError("amount has more than 256 bits", ExitCode.USAGE)
    return atoms


def _asset_words(view: "AssetView") -> Words:
    return [("asset", f"{view.symbol} ({view.name}), issued by {view.issuer}")]


def _asset_details(view: "AssetView", atoms: int) -> dict[str, Any]:
    return {"asset": view.asset, "symbol": view.symbol, "amount_atoms": str(atoms)}
