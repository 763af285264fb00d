"""`aitbc hub init`: everything that a new hub needs, in files of its own; nothing is ever overwritten."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.commands.flags import AsJson
from hub.commands.outcome import failed

_SECRET_BYTES = 32
_CLIENT = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A key that TOML takes without quotes."""


def init(
    data_dir: Annotated[Path, typer.Option(help="Folder to make for the hub.")] = Path("hub-data"),
    node_url: Annotated[
        str, typer.Option("--node-url", "--node", help="A node of the network that the attester shall serve.")
    ] = "http://127.0.0.1:8545",
    hub_id: Annotated[str, typer.Option(help="This hub's name: it stands in every receipt.")] = "hub",
    client: Annotated[str, typer.Option(help="Name of the first API key.")] = "me",
    as_json: AsJson = False,
) -> None:
    """Make a data folder, an attester's key for the node's network, and an API key. That is shown once: keep it."""
    made = _make(data_dir.absolute(), node_url, hub_id, client)
    if as_json:
        print(json.dumps(made))
        return
    print(
        f"attester  {made['attester']}\napi key   {made['api_key']}  (shown once; {client} in {made['clients_file']})"
    )
    print(
        f"\nKeep a copy of {made['keystore']} and its password. Governance must add the attester to the chain's list:"
        f"\nvalidators propose and approve `aitbc node governance propose attester set {made['attester']} …`."
        f"\nNext:  {made['next']}",
        file=sys.stderr,
    )


def _make(data_dir: Path, node_url: str, hub_id: str, client: str) -> dict[str, Any]:
    import secrets
    import shlex

    from chain.client import NodeClient, NodeError
    from chain.primitives.hexadecimal import parse_hash, to_checksum_address
    from chain.primitives.keys import PrivateKey
    from hub.settings import check_hub_id
    from wallet.attester import AttesterNetwork, save_attester_key
    from wallet.keystore import write_new_file

    if not _CLIENT.fullmatch(client):
        raise typer.BadParameter("letters, digits, - and _, 64 at most", param_hint="--client")
    try:
        check_hub_id(hub_id)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--hub-id") from None
    if data_dir.exists() and any(data_dir.iterdir()):
        raise failed(f"{data_dir} is not empty: choose another --data-dir, or run the hub that is there")
    try:
        with NodeClient(node_url) as node:
            status = node.status()
    except (NodeError, ValueError) as error:
        raise failed(f"an attester's key is for one network, which the node is asked for: {error}") from None
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    keystore, password_file = data_dir / "attester.json", data_dir / "attester-password"
    clients_file = data_dir / "clients.toml"
    key, password, api_key = PrivateKey.generate(), secrets.token_urlsafe(_SECRET_BYTES), secrets.token_urlsafe(24)
    write_new_file(password_file, password.encode())
    network = AttesterNetwork(status.chain_id, parse_hash(status.genesis_hash))
    save_attester_key(keystore, key, password, network)
    write_new_file(clients_file, f'[clients]\n{client} = "{api_key}"\n'.encode())
    command = ["aitbc", "hub", "run", "--data-dir", str(data_dir), "--node", node_url]
    command += ["--attester-keystore", str(keystore), "--attester-password-file", str(password_file)]
    command += ["--clients-file", str(clients_file), "--hub-id", hub_id, "--wait"]
    return {
        "attester": to_checksum_address(key.address),
        "keystore": str(keystore),
        "password_file": str(password_file),
        "clients_file": str(clients_file),
        "api_key": api_key,
        "chain_id": status.chain_id,
        "next": shlex.join(command),
    }


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(init)
