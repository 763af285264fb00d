"""`aitbc wallet asset issue|mint|burn|claw-back|…`: what issuers do, and how an asset and its amounts are said."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from chain.primitives.abi import Function
from chain.primitives.decimals import parse_units
from chain.primitives.hexadecimal import parse_address, parse_hash, to_checksum_address
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
from chain.primitives.modules import MARKET
from chain.primitives.types import Address, Hash32
from wallet.assets import find_asset, format_amount
from wallet.commands.arguments import parse_argument, payee_of
from wallet.commands.calling import Calling, Session, Words, calls_chain
from wallet.market_events import read_issued
from wallet.options import Payee, complete_names
from wallet.terminal import CommandError, ExitCode

if TYPE_CHECKING:  # What asks nodes loads slowly; `--help` does not wait for it.
    from chain.answers import TransactionView
    from chain.market_answers import AssetView

_NO_RESERVE: Final = Hash32(bytes(32))
_MAX_UINT256: Final = 2**256 - 1

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


@calls_chain
def mint(asset: AssetName, to: Payee, amount: AmountText, *, calling: Calling) -> None:
    """Make more of your asset, for somebody."""
    with calling.session() as session:
        payee = payee_of(session.keys, to)
        _issuer_call(session, asset, MINT_ASSET, amount=amount, holder=payee, does="mints {} for {}")


@calls_chain
def burn(asset: AssetName, amount: AmountText, *, calling: Calling) -> None:
    """Destroy some of your asset that you hold yourself."""
    with calling.session() as session:
        _issuer_call(session, asset, BURN_ASSET, amount=amount, does="burns {} of your own")


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
    atoms = parse_asset_amount(view, amount)
    holders = () if holder is None else (holder,)
    said = does.format(format_amount(view, atoms), *map(to_checksum_address, holders))
    session.call(
        MARKET,
        function.encode(parse_address(view.asset), *holders, atoms),
        words=[*asset_words(view), ("does", said)],
        details=amount_details(view, atoms),
    )


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
        words=[*asset_words(view), ("does", does.format(to_checksum_address(address)))],
        details={"asset": view.asset, "holder": to_checksum_address(address), "value": value},
    )


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
            words=[*asset_words(view), ("instead of", view.reserve_hash)],
            details={"asset": view.asset, "reserve_hash": reserve_hash},
        )


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
            words=[*asset_words(view), ("gives up", _flag_words(given_up)), ("keeps", _flag_words(rest))],
            details={"asset": view.asset, "flags": int(rest)},
        )


def parse_asset_amount(view: "AssetView", amount: str) -> int:
    """Atoms of an argument in the asset's units."""
    atoms = parse_argument(lambda: parse_units(amount, view.decimals))
    if atoms > _MAX_UINT256:
        raise CommandError("amount has more than 256 bits", ExitCode.USAGE)
    return atoms


def asset_words(view: "AssetView") -> Words:
    """Which asset it is: its name, and who issues it."""
    return [("asset", f"{view.symbol} ({view.name}), issued by {view.issuer}")]


def amount_details(view: "AssetView", atoms: int) -> dict[str, Any]:
    """The asset and an amount of it, for `--json`."""
    return {"asset": view.asset, "symbol": view.symbol, "amount_atoms": str(atoms)}


COMMANDS: Final[tuple[Callable[..., None], ...]] = (
    issue,
    mint,
    burn,
    claw_back,
    authorize,
    freeze,
    reserve,
    weaken,
)
