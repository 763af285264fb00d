"""What the commands of governance share: an operator at a node, and how a proposal is shown."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from chain.answers import Answer, encode_answer
from chain.client import NodeClient
from chain.governance_answers import ProposalView
from chain.node.folder import NodeFolder
from chain.node.governance.governing import Operator, is_carried
from chain.node.options import explained
from chain.node.remote_key import opened_key
from chain.primitives.call_text import describe_call
from chain.primitives.hexadecimal import parse_address, parse_hex

_TIMEOUT_S: Final = 120.0
"""How long to wait until a call is final: a few views with silent leaders."""

Execute = Annotated[bool, typer.Option("--execute", help="Execute it as well, if this approval is enough.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before signing.")]


@contextmanager
def operator_at(data_dir: Path, key_file: Path | None, url: str) -> Iterator[Operator]:
    """The folder's key, or another one, at a node of the folder's network."""
    with explained(), NodeClient(url) as client:
        folder = NodeFolder.existing(data_dir)
        with opened_key(folder, key_file) as key:
            yield Operator(client, key, network=folder.read_network(), timeout_s=_TIMEOUT_S)


def echo_json(answer: Answer) -> None:
    """On stdout, for programs."""
    typer.echo(json.dumps(json.loads(encode_answer(answer)), indent=2))


def echo_proposal(proposal: ProposalView, *, as_json: bool) -> None:
    """Its number, how it stands, and what would be called, read from the call itself."""
    if as_json:
        echo_json(proposal)
        return
    approvals = f"{proposal.counted_approvals} of {proposal.needed_approvals} approvals"
    call = describe_call(parse_address(proposal.target), parse_hex(proposal.call_data))
    typer.echo(f"proposal {proposal.number}, {proposal.status}, {approvals}: {call}")


def finish(operator: Operator, proposal: ProposalView, *, may_execute: bool, as_json: bool) -> None:
    """Executes a proposal where that is wanted and possible, and says how it stands and what comes next."""
    if may_execute and is_carried(proposal):
        proposal = operator.execute(proposal.number)
    echo_proposal(proposal, as_json=as_json)
    if not as_json and proposal.status == "open":
        who, step = ("any validator", "execute") if is_carried(proposal) else ("other validators", "approve")
        typer.echo(f"Next: {who}: `aitbc node governance {step} {proposal.number}`")
