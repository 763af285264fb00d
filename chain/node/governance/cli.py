"""`aitbc node validators` and `aitbc node governance`: who decides, and deciding, with keys from files."""

import json
from pathlib import Path
from typing import Annotated

import typer

from chain.answers import ValidatorsView, encode_answer
from chain.client import NodeClient
from chain.node.clock import now_ms
from chain.node.folder import read_network_text
from chain.node.governance.attester_proposals import attester_app
from chain.node.governance.auditing import verify_validators
from chain.node.governance.consent_file import read_consent
from chain.node.governance.deciding import Execute, Yes, echo_json, echo_proposal, finish, operator_at
from chain.node.governance.governing import Operator
from chain.node.governance.market_proposals import authority_app, issuer_app, market_app, propose_policy, propose_spend
from chain.node.governance.pausing import propose_pause, propose_unpause
from chain.node.options import (
    DEFAULT_URL,
    AsJson,
    DataDir,
    NodeUrl,
    OptionalKeyFile,
    explained,
)
from chain.primitives import modules
from chain.primitives.certificate import faulty_bound, quorum
from chain.primitives.finality import genesis_set
from chain.primitives.hexadecimal import parse_address
from chain.primitives.network import parse_network
from chain.primitives.parameters import check_parameter

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Propose, approve and execute what validators decide together."
)
propose_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Propose a change, and approve it thereby.")
app.add_typer(propose_app, name="propose")
propose_app.add_typer(attester_app, name="attester")
propose_app.add_typer(issuer_app, name="issuer")
propose_app.add_typer(authority_app, name="authority")
propose_app.add_typer(market_app, name="market")
propose_app.command("pause")(propose_pause)
propose_app.command("unpause")(propose_unpause)
propose_app.command("policy")(propose_policy)
propose_app.command("spend")(propose_spend)

ConsentFile = Annotated[Path, typer.Argument(help="What the new validator's `aitbc node keys consent` printed.")]
ValidatorAddress = Annotated[str, typer.Argument(help="0x and 40 hex digits.")]
Number = Annotated[int, typer.Argument(min=1, help="The proposal's number.")]


def validators(
    url: NodeUrl = DEFAULT_URL,
    as_json: AsJson = False,
    network_file: Annotated[
        Path | None,
        typer.Option("--network", help="Believe nobody: check the list, from this network file on."),
    ] = None,
) -> None:
    """Show who the validators are, and who of them has signed lately."""
    with explained(), NodeClient(url) as client:
        shown = client.validators()
        if network_file is not None:
            network = parse_network(read_network_text(network_file))
            verify_validators(client, genesis_set(network), network, shown, now_ms=now_ms())
    if as_json:
        echo_json(shown)
        return
    _echo_validators(shown)
    if network_file is not None:
        typer.echo(f"Verified from {network_file}: a fresh final block names exactly these.")


def _echo_validators(shown: ValidatorsView) -> None:
    count = len(shown.validators)
    typer.echo(f"epoch {shown.epoch}: {count} validators, quorum {shown.quorum}, {faulty_bound(count)} may be faulty")
    for index, validator in enumerate(shown.validators):
        height = validator.last_signed_height
        signed = f"signed block {height}" if height is not None else "signed none of the last blocks"
        typer.echo(f"{index:>3}  {validator.address}  {signed} of {shown.height}")


@app.command("proposals")
def proposals(
    url: NodeUrl = DEFAULT_URL,
    is_all: Annotated[bool, typer.Option("--all", help="Also those that were executed or have lapsed.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the newest 200 proposals that are open, newest first."""
    with explained(), NodeClient(url) as client:
        page = client.proposals(limit=200)
        found = [proposal for proposal in page.items if is_all or proposal.status == "open"]
    if as_json:
        typer.echo(json.dumps([json.loads(encode_answer(proposal)) for proposal in found], indent=2))
        return
    for proposal in found:
        echo_proposal(proposal, as_json=False)
    if not found:
        typer.echo("no open proposals" if not is_all else "no proposals")


@propose_app.command("add")
def propose_add(
    consent_file: ConsentFile,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    as_json: AsJson = False,
) -> None:
    """Add a validator, at the end of the order. It must be running: from then on it counts."""
    with operator_at(data_dir, key_file, url) as operator:
        consent = read_consent(consent_file, chain_id=operator.chain_id, now_ms=now_ms())
        call_data = modules.ADD_VALIDATOR.encode(consent.public_key, consent.expires_at_ms, consent.signature)
        _warn_of_size(operator, +1, as_json=as_json)
        finish(operator, operator.propose(call_data), may_execute=may_execute, as_json=as_json)


@propose_app.command("remove")
def propose_remove(
    validator: ValidatorAddress,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    as_json: AsJson = False,
) -> None:
    """Remove a validator. Its key can never return; the machine may, with a fresh one."""
    with operator_at(data_dir, key_file, url) as operator:
        call_data = modules.REMOVE_VALIDATOR.encode(parse_address(validator, "validator"))
        _warn_of_size(operator, -1, as_json=as_json)
        finish(operator, operator.propose(call_data), may_execute=may_execute, as_json=as_json)


@propose_app.command("rotate")
def propose_rotate(
    validator: ValidatorAddress,
    consent_file: ConsentFile,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    as_json: AsJson = False,
) -> None:
    """Put another key in a validator's place: for one whose own key is lost. Else `aitbc node keys rotate`."""
    with operator_at(data_dir, key_file, url) as operator:
        consent = read_consent(consent_file, chain_id=operator.chain_id, now_ms=now_ms())
        values = (consent.public_key, consent.expires_at_ms, consent.signature)
        call_data = modules.ROTATE_VALIDATOR.encode(parse_address(validator, "validator"), *values)
        finish(operator, operator.propose(call_data), may_execute=may_execute, as_json=as_json)


@propose_app.command("epoch")
def propose_epoch(
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    as_json: AsJson = False,
) -> None:
    """Begin a new epoch with the same validators."""
    with operator_at(data_dir, key_file, url) as operator:
        proposal = operator.propose(modules.FORCE_EPOCH.encode())
        finish(operator, proposal, may_execute=may_execute, as_json=as_json)


@propose_app.command("parameter")
def propose_parameter(
    name: Annotated[str, typer.Argument(help="As `/v1/parameters` lists them.")],
    value: Annotated[int, typer.Argument(min=0, help="Amounts in atoms, times in milliseconds.")],
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    as_json: AsJson = False,
) -> None:
    """Change one of the network's parameters."""
    with operator_at(data_dir, key_file, url) as operator:
        check_parameter(name, value)
        proposal = operator.propose(modules.SET_PARAMETER.encode(name, value))
        finish(operator, proposal, may_execute=may_execute, as_json=as_json)


@app.command("approve")
def approve(
    number: Number,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Approve a proposal, after showing what it would do."""
    with operator_at(data_dir, key_file, url) as operator:
        if not is_sure:
            echo_proposal(operator.client.proposal(number), as_json=False)
            typer.confirm("Approve it?", abort=True, err=True)
        finish(operator, operator.approve(number), may_execute=may_execute, as_json=as_json)


@app.command("revoke")
def revoke(
    number: Number,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Take an approval back; where the proposal is one's own, that closes it."""
    with operator_at(data_dir, key_file, url) as operator:
        echo_proposal(operator.revoke(number), as_json=as_json)


@app.command("execute")
def execute(
    number: Number,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Carry out a proposal that enough have approved."""
    with operator_at(data_dir, key_file, url) as operator:
        echo_proposal(operator.execute(number), as_json=as_json)


def _warn_of_size(operator: Operator, difference: int, *, as_json: bool) -> None:
    """What the change does to the number of validators that may fail."""
    before = len(operator.client.validators().validators)
    after = before + difference
    if not as_json and after >= 1:
        typer.echo(
            f"{before} validators, of whom {faulty_bound(before)} may fail, become {after}: "
            f"quorum {quorum(after)}, {faulty_bound(after)} may fail."
        )
