"""`aitbc node validators` and `aitbc node governance`: who decides, and deciding, with keys from files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from chain.answers import Answer, ValidatorsView, encode_answer
from chain.client import NodeClient
from chain.governance_answers import ProposalView
from chain.node.clock import now_ms
from chain.node.folder import NodeFolder, read_network_text
from chain.node.governance.auditing import verify_validators
from chain.node.governance.consent_file import read_consent
from chain.node.governance.governing import Operator, is_carried
from chain.node.options import (
    DEFAULT_URL,
    AsJson,
    DataDir,
    NodeUrl,
    OptionalKeyFile,
    explained,
)
from chain.node.remote_key import opened_key
from chain.primitives import modules
from chain.primitives.call_text import describe_call
from chain.primitives.certificate import faulty_bound, quorum
from chain.primitives.finality import genesis_set
from chain.primitives.hexadecimal import parse_address, parse_hex
from chain.primitives.network import parse_network
from chain.primitives.parameters import check_parameter

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Propose, approve and execute what validators decide together."
)
propose_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Propose a change, and approve it thereby.")
app.add_typer(propose_app, name="propose")

_TIMEOUT_S: Final = 120.0
"""How long to wait until a call is final: a few views with silent leaders."""

ConsentFile = Annotated[Path, typer.Argument(help="What the new validator's `aitbc node keys consent` printed.")]
ValidatorAddress = Annotated[str, typer.Argument(help="0x and 40 hex digits.")]
Execute = Annotated[bool, typer.Option("--execute", help="Execute it as well, if this approval is enough.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before signing.")]
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
        _echo_json(shown)
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


def _echo_json(answer: Answer) -> None:
    typer.echo(json.dumps(json.loads(encode_answer(answer)), indent=2))


@contextmanager
def _operator(data_dir: Path, key_file: Path | None, url: str) -> Iterator[Operator]:
    """The folder's key, or another one, at a node of the folder's network."""
    with explained(), NodeClient(url) as client:
        folder = NodeFolder.existing(data_dir)
        with opened_key(folder, key_file) as key:
            yield Operator(client, key, network=folder.read_network(), timeout_s=_TIMEOUT_S)


def _text_of(proposal: ProposalView) -> str:
    """What would be called, read from the call itself."""
    return describe_call(parse_address(proposal.target), parse_hex(proposal.call_data))


def _echo_proposal(proposal: ProposalView, *, as_json: bool) -> None:
    if as_json:
        _echo_json(proposal)
        return
    approvals = f"{proposal.counted_approvals} of {proposal.needed_approvals} approvals"
    typer.echo(f"proposal {proposal.number}, {proposal.status}, {approvals}: {_text_of(proposal)}")


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
        _echo_proposal(proposal, as_json=False)
    if not found:
        typer.echo("no open proposals" if not is_all else "no proposals")


def _finish(operator: Operator, proposal: ProposalView, *, may_execute: bool, as_json: bool) -> None:
    """Executes a proposal where that is wanted and possible, and says how it stands and what comes next."""
    if may_execute and is_carried(proposal):
        proposal = operator.execute(proposal.number)
    _echo_proposal(proposal, as_json=as_json)
    if not as_json and proposal.status == "open":
        who, step = ("any validator", "execute") if is_carried(proposal) else ("other validators", "approve")
        typer.echo(f"Next: {who}: `aitbc node governance {step} {proposal.number}`")


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
    with _operator(data_dir, key_file, url) as operator:
        consent = read_consent(consent_file, chain_id=operator.chain_id, now_ms=now_ms())
        call_data = modules.ADD_VALIDATOR.encode(consent.public_key, consent.expires_at_ms, consent.signature)
        _warn_of_size(operator, +1, as_json=as_json)
        _finish(operator, operator.propose(call_data), may_execute=may_execute, as_json=as_json)


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
    with _operator(data_dir, key_file, url) as operator:
        call_data = modules.REMOVE_VALIDATOR.encode(parse_address(validator, "validator"))
        _warn_of_size(operator, -1, as_json=as_json)
        _finish(operator, operator.propose(call_data), may_execute=may_execute, as_json=as_json)


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
    with _operator(data_dir, key_file, url) as operator:
        consent = read_consent(consent_file, chain_id=operator.chain_id, now_ms=now_ms())
        values = (consent.public_key, consent.expires_at_ms, consent.signature)
        call_data = modules.ROTATE_VALIDATOR.encode(parse_address(validator, "validator"), *values)
        _finish(operator, operator.propose(call_data), may_execute=may_execute, as_json=as_json)


@propose_app.command("epoch")
def propose_epoch(
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    as_json: AsJson = False,
) -> None:
    """Begin a new epoch with the same validators."""
    with _operator(data_dir, key_file, url) as operator:
        proposal = operator.propose(modules.FORCE_EPOCH.encode())
        _finish(operator, proposal, may_execute=may_execute, as_json=as_json)


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
    with _operator(data_dir, key_file, url) as operator:
        check_parameter(name, value)
        proposal = operator.propose(modules.SET_PARAMETER.encode(name, value))
        _finish(operator, proposal, may_execute=may_execute, as_json=as_json)


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
    with _operator(data_dir, key_file, url) as operator:
        if not is_sure:
            _echo_proposal(operator.client.proposal(number), as_json=False)
            typer.confirm("Approve it?", abort=True, err=True)
        _finish(operator, operator.approve(number), may_execute=may_execute, as_json=as_json)


@app.command("revoke")
def revoke(
    number: Number,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Take an approval back; where the proposal is one's own, that closes it."""
    with _operator(data_dir, key_file, url) as operator:
        _echo_proposal(operator.revoke(number), as_json=as_json)


@app.command("execute")
def execute(
    number: Number,
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Carry out a proposal that enough have approved."""
    with _operator(data_dir, key_file, url) as operator:
        _echo_proposal(operator.execute(number), as_json=as_json)


def _warn_of_size(operator: Operator, difference: int, *, as_json: bool) -> None:
    """What the change does to the number of validators that may fail."""
    before = len(operator.client.validators().validators)
    after = before + difference
    if not as_json and after >= 1:
        typer.echo(
            f"{before} validators, of whom {faulty_bound(before)} may fail, become {after}: "
            f"quorum {quorum(after)}, {faulty_bound(after)} may fail."
        )
