"""`aitbc node governance propose issuer|authority|market|policy|spend`: who may issue, and what is traded how.

What a proposal would do is shown in words, with the assets' own symbols and decimals, before anything is signed.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from chain.node.governance.deciding import Execute, Yes, finish, operator_at
from chain.node.governance.proposal_words import argument_names, explain
from chain.node.options import DEFAULT_URL, AsJson, DataDir, NodeUrl, OptionalKeyFile, explained
from chain.primitives.abi import Function
from chain.primitives.hexadecimal import parse_address
from chain.primitives.market import (
    ADD_AUTHORITY,
    CREATE_MARKET,
    DEFINE_POLICY,
    MAX_FEE_BASIS_POINTS,
    REMOVE_AUTHORITY,
    SET_MARKET_FEES,
    SET_MARKET_POLICY,
    SET_MARKET_STATUS,
    SPEND_TREASURY,
    MarketStatus,
)
from chain.primitives.modules import ADD_ISSUER, GOVERNANCE, MARKET, REMOVE_ISSUER, TOKEN
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import MAX_UINT256, Address

issuer_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who may issue assets.")
authority_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Whose credentials count.")
market_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Open a market, or change one.")

_ASSET_HELP: Final = "AIT, or the asset's address."


class Status(StrEnum):
    """A market's."""

    OPEN = "open"
    CANCEL_ONLY = "cancel-only"
    HALTED = "halted"


AccountAddress = Annotated[str, typer.Argument(metavar="ADDRESS", help="0x and 40 hex digits.")]
MarketNumber = Annotated[int, typer.Argument(metavar="MARKET", min=1, max=2**32 - 1, help="The market's number.")]
_basis_points: Final[dict[str, Any]] = {"min": 0, "max": MAX_FEE_BASIS_POINTS}
MakerFee = Annotated[int, typer.Option("--maker-fee", **_basis_points, help="Basis points of what it receives.")]
TakerFee = Annotated[int, typer.Option("--taker-fee", **_basis_points, help="Basis points of what it receives.")]
Policy = Annotated[int, typer.Option("--policy", min=0, max=2**32 - 1, help="Whom it lets trade; 0: everybody.")]


class _Given(msgspec.Struct, frozen=True):
    """The options that all of these commands have."""

    data_dir: Path
    key_file: Path | None
    url: str
    may_execute: bool
    is_sure: bool
    as_json: bool


def _propose(given: _Given, target: Address, function: Function, *arguments: Any) -> None:
    with operator_at(given.data_dir, given.key_file, given.url) as operator:
        call_data = function.encode(*arguments)
        typer.echo(f"{function.name}:", err=True)
        for label, text in explain(
            operator.client, function, dict(zip(argument_names(function), arguments, strict=True))
        ):
            typer.echo(f"  {label:<18} {text}", err=True)
        if not given.is_sure:
            typer.confirm("Propose it?", abort=True, err=True)
        finish(operator, operator.propose(call_data, target), may_execute=given.may_execute, as_json=given.as_json)


def _asset(text: str, field: str) -> Address:
    return TOKEN if text == "AIT" else parse_address(text, field)


def _check_amounts(**amounts: int) -> None:
    for name, atoms in amounts.items():
        if atoms > MAX_UINT256:
            raise Rejected(RejectionReason.OUT_OF_RANGE, f"{name} has at most 256 bits", field=name)


@issuer_app.command("add")
def add_issuer(
    issuer: AccountAddress,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let an account issue assets."""
    given = _Given(data_dir, key_file, url, may_execute, is_sure, as_json)
    _propose_for(given, GOVERNANCE, ADD_ISSUER, issuer)


@issuer_app.command("remove")
def remove_issuer(
    issuer: AccountAddress,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take that away: it mints no more and can only burn. Holders keep, move and trade what they have."""
    given = _Given(data_dir, key_file, url, may_execute, is_sure, as_json)
    _propose_for(given, GOVERNANCE, REMOVE_ISSUER, issuer)


@authority_app.command("add")
def add_authority(
    authority: AccountAddress,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let an account write credentials that policies accept."""
    given = _Given(data_dir, key_file, url, may_execute, is_sure, as_json)
    _propose_for(given, MARKET, ADD_AUTHORITY, authority)


@authority_app.command("remove")
def remove_authority(
    authority: AccountAddress,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take that away: none of its credentials counts any longer."""
    given = _Given(data_dir, key_file, url, may_execute, is_sure, as_json)
    _propose_for(given, MARKET, REMOVE_AUTHORITY, authority)


def _propose_for(given: _Given, target: Address, function: Function, account: str) -> None:
    with explained():
        address = parse_address(account, argument_names(function)[0])
    _propose(given, target, function, address)


@market_app.command("create")
def create_market(
    base: Annotated[str, typer.Argument(help=f"What is bought and sold: {_ASSET_HELP}")],
    quote: Annotated[str, typer.Argument(help=f"What is paid with: {_ASSET_HELP}")],
    lot: Annotated[int, typer.Option("--lot", min=1, help="Base atoms of one lot.")],
    tick: Annotated[int, typer.Option("--tick", min=1, help="Quote atoms per lot of one step of the price.")],
    data_dir: DataDir,
    minimum_lots: Annotated[int, typer.Option("--minimum-lots", min=1, max=2**48 - 1, help="Of an order.")] = 1,
    maker_fee: MakerFee = 0,
    taker_fee: TakerFee = 0,
    policy: Policy = 0,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Open a market. Lot and tick stay as they are for good."""
    given = _Given(data_dir, key_file, url, may_execute, is_sure, as_json)
    with explained():
        assets = _asset(base, "base"), _asset(quote, "quote")
        _check_amounts(lot=lot, tick=tick)
    _propose(given, MARKET, CREATE_MARKET, *assets, lot, tick, minimum_lots, maker_fee, taker_fee, policy)


@market_app.command("status")
def market_status(
    market: MarketNumber,
    status: Annotated[Status, typer.Argument(help="cancel-only is for good; a halted market may open again.")],
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Open, halt or close a market. Cancelling works in each status."""
    given = _Given(data_dir, key_file, url, may_execute, is_sure, as_json)
    _propose(given, MARKET, SET_MARKET_STATUS, market, int(MarketStatus[status.name]))


@market_app.command("fees")
def market_fees(
    market: MarketNumber,
    maker_fee: MakerFee,
    taker_fee: TakerFee,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Change a market's fees, for trades from then on."""
    given = _Given(data_dir, key_file, url, may_execute, is_sure, as_json)
    _propose(given, MARKET, SET_MARKET_FEES, market, maker_fee, taker_fee)


@market_app.command("policy")
def market_policy(
    market: MarketNumber,
    policy: Annotated[int, typer.Argument(min=0, max=2**32 - 1, help="Its number; 0: everybody may trade.")],
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Change whom a market lets trade; who no longer may is cancelled when met."""
    given = _Given(data_dir, key_file, url, may_execute, is_sure, as_json)
    _propose(given, MARKET, SET_MARKET_POLICY, market, policy)


def propose_policy(
    authorities: Annotated[list[str], typer.Argument(metavar="AUTHORITY...", help="Whose credentials it accepts.")],
    data_dir: DataDir,
    allow: Annotated[
        list[int] | None, typer.Option("--allow", min=1, max=999, help="Only these ISO 3166 codes.")
    ] = None,
    deny: Annotated[
        list[int] | None, typer.Option("--deny", min=1, max=999, help="All but these ISO 3166 codes.")
    ] = None,
    minimum_level: Annotated[int, typer.Option("--minimum-level", min=0, max=255, help="Of the credential.")] = 0,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Define whom markets may let trade. A policy never changes; a market can change to another."""
    given = _Given(data_dir, key_file, url, may_execute, is_sure, as_json)
    if allow and deny:
        raise typer.BadParameter("either --allow or --deny")
    with explained():
        accepted = [parse_address(each, "authority") for each in authorities]
    _propose(given, MARKET, DEFINE_POLICY, accepted, bool(allow), allow or deny or [], minimum_level)


def propose_spend(
    asset: Annotated[str, typer.Argument(help=_ASSET_HELP)],
    to: AccountAddress,
    atoms: Annotated[int, typer.Argument(min=1, help="Atoms of the asset.")],
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Pay from the treasury, which holds the markets' fees."""
    given = _Given(data_dir, key_file, url, may_execute, is_sure, as_json)
    with explained():
        values = _asset(asset, "asset"), parse_address(to, "to")
        _check_amounts(atoms=atoms)
    _propose(given, MARKET, SPEND_TREASURY, *values, atoms)
