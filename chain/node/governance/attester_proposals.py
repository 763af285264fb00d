"""`aitbc node governance propose attester`: whose signatures make tokens, and how many a stolen key could make."""

from typing import Annotated

import typer

from chain.node.governance.deciding import Execute, Yes, finish, operator_at
from chain.node.options import DEFAULT_URL, AsJson, DataDir, NodeUrl, OptionalKeyFile
from chain.primitives.hexadecimal import format_ait, parse_address, parse_ait, to_checksum_address
from chain.primitives.modules import REMOVE_ATTESTER, SET_ATTESTER_ALLOWANCE

attester_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Whose signatures mint, and how much.")

AttesterAddress = Annotated[str, typer.Argument(metavar="ADDRESS", help="Of the hub's attester: 0x and 40 hex digits.")]


@attester_app.command("set")
def set_attester(
    attester: AttesterAddress,
    data_dir: DataDir,
    ait_per_period: Annotated[
        str,
        typer.Option(
            "--ait-per-period",
            help="The most AIT that it may vouch for in a period, such as 1000: what a stolen key would be worth.",
        ),
    ],
    receipts_per_period: Annotated[
        int, typer.Option("--receipts-per-period", min=0, max=2**63 - 1, help="The most receipts in a period.")
    ] = 1_000_000,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Add an attester, or change what one may vouch for in a period of block time (a day by default)."""
    with operator_at(data_dir, key_file, url) as operator:
        address, atoms = parse_address(attester, "attester"), parse_ait(ait_per_period, "--ait-per-period")
        said = f"{format_ait(atoms)} AIT and {receipts_per_period} receipts"
        typer.echo(f"{to_checksum_address(address)} may vouch for {said} in a period.", err=True)
        if not is_sure:
            typer.confirm("Propose it?", abort=True, err=True)
        call_data = SET_ATTESTER_ALLOWANCE.encode(address, atoms, receipts_per_period)
        finish(operator, operator.propose(call_data), may_execute=may_execute, as_json=as_json)


@attester_app.command("remove")
def remove_attester(
    attester: AttesterAddress,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let nothing more be minted by an attester's signature. What it has signed and nobody has minted is lost."""
    with operator_at(data_dir, key_file, url) as operator:
        address = parse_address(attester, "attester")
        if not is_sure:
            typer.confirm(f"Propose to remove {to_checksum_address(address)}?", abort=True, err=True)
        proposal = operator.propose(REMOVE_ATTESTER.encode(address))
        finish(operator, proposal, may_execute=may_execute, as_json=as_json)
