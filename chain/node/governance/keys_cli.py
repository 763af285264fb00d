"""`aitbc node keys`: a new validator's consent, and replacing a validator's key."""

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from chain.client import NodeClient
from chain.node.clock import now_ms
from chain.node.folder import NodeFolder
from chain.node.governance.consent_file import consent_text
from chain.node.governance.governing import Operator, check_network
from chain.node.governance.rotation import RotationStep, advance_rotation, next_key_file, prepare_next_key, switch_key
from chain.node.key_file import SetupError, read_key_file
from chain.node.options import DEFAULT_URL, DataDir, NodeUrl, OptionalKeyFile, TimeoutS, explained
from chain.node.remote_key import opened_key, refuse_remote_key
from chain.primitives.consent import sign_consent
from chain.primitives.finality import max_head_age_ms
from chain.primitives.hexadecimal import to_checksum_address

_DAY_MS: Final = 86_400_000
_POLL_INTERVAL_S: Final = 2.0

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Consent to be a validator, or replace its key.")

Days = Annotated[int, typer.Option("--days", min=1, max=366, help="How long the consent holds.")]


@app.command("consent")
def consent(
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    days: Days = 14,
    is_offline: Annotated[
        bool, typer.Option("--offline", help="Do not look whether the node is running and has caught up.")
    ] = False,
) -> None:
    """Sign that this machine's key joins the validators; prints the document that a validator proposes.

    A validator that does not answer counts as faulty: so this asks the node first, which follows until then.
    """
    with explained():
        folder = NodeFolder.existing(data_dir)
        network = folder.read_network()
        if not is_offline:
            with NodeClient(url) as client:
                status, parameters = check_network(client, network), client.parameters().parameters
                limit_ms = max_head_age_ms(
                    parameters.get("heartbeat_ms", network.parameters.heartbeat_ms),
                    parameters.get("network_delay_ms", network.parameters.network_delay_ms),
                )
                age_ms = now_ms() - status.finalized.time_ms
                if status.syncing is not None or age_ms > limit_ms:
                    raise SetupError(
                        f"the node at {url} is at height {status.finalized.height}, {age_ms // 1000} s behind: let it "
                        "catch up first. Whoever joins must be able to vote at once."
                    )
        with opened_key(folder, key_file) as key:
            signed = sign_consent(key, chain_id=network.chain_id, expires_at_ms=now_ms() + days * _DAY_MS)
    typer.echo(consent_text(signed, chain_id=network.chain_id))
    typer.echo("Next: a validator runs `aitbc node governance propose add FILE` with this document.", err=True)


@app.command("rotate")
def rotate(
    data_dir: DataDir,
    url: NodeUrl = DEFAULT_URL,
    days: Days = 14,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until enough validators have approved.")] = False,
    timeout_s: TimeoutS = 60.0,
) -> None:
    """Replace the validator's key: draws a new one, has it proposed, and executes that once enough approve.

    Run it again to see how far it is.
    """
    with explained(), NodeClient(url) as client:
        folder = NodeFolder.existing(data_dir)
        refuse_remote_key(folder)
        operator = Operator(client, read_key_file(folder.key_file), network=folder.read_network(), timeout_s=timeout_s)
        successor = prepare_next_key(folder)
        expires_at_ms = now_ms() + days * _DAY_MS
        typer.echo(f"{to_checksum_address(operator.key.address)} -> {to_checksum_address(successor.address)}")
        typer.echo(f"The new key lies in {next_key_file(folder)}.")
        rotation = advance_rotation(operator, successor, expires_at_ms=expires_at_ms)
        while wait and rotation.step is RotationStep.WAITS:
            time.sleep(_POLL_INTERVAL_S)
            rotation = advance_rotation(operator, successor, expires_at_ms=expires_at_ms)
    if rotation.proposal is not None:
        proposal = rotation.proposal
        typer.echo(
            f"Proposal {proposal.number} has {proposal.counted_approvals} of {proposal.needed_approvals} approvals."
        )
        typer.echo(f"Next: other validators run `aitbc node governance approve {proposal.number}`, then this again.")
        return
    typer.echo("The chain counts the new key. The node's votes with the old one count no longer.")
    typer.echo(f"Next: stop the node, run `aitbc node keys switch --data-dir {data_dir}`, and start it again.")


@app.command("switch")
def switch(
    data_dir: DataDir,
    is_early: Annotated[
        bool,
        typer.Option(
            "--early", help="Although the change is not final: when the old key's vote journal is lost anyway."
        ),
    ] = False,
) -> None:
    """After a rotation, with the node stopped: make the new key the node's."""
    with explained():
        folder = NodeFolder.existing(data_dir)
        refuse_remote_key(folder)
        address = switch_key(folder, is_early=is_early)
    typer.echo(f"{folder.key_file} is the key of {to_checksum_address(address)} now. Start the node again.")
    former = sorted(Path(data_dir).glob("validator.key.0x*"))
    if former:
        typer.echo(f"The former key lies in {former[-1]}; it is of no more use here.")
