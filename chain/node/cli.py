"""`aitbc node`: make a data folder, run a node in it, ask one how it is, make a validator's key."""

import json
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chain.node.config import DEFAULT_CORS_ORIGINS, DEFAULT_HOST, DEFAULT_PORT, NodeConfig, check_cors_origin
from chain.node.folder import (
    NodeFolder,
    SetupError,
    open_journal,
    read_key_file,
    read_network_text,
    refuse_used_key,
    write_key_file,
)
from chain.node.governance.cli import app as governance_app
from chain.node.governance.cli import validators
from chain.node.governance.keys_cli import app as keys_app
from chain.node.options import (
    DEFAULT_URL,
    EXIT_FAILED,
    AcceptLostVotes,
    AsJson,
    CorsOrigins,
    DataDir,
    NodeUrl,
    Peers,
    PeerUrl,
    explained,
)
from chain.node.remote_key import keep_signer, opened_signer, read_signer, used_key_file
from chain.node.signer_options import (
    SignerCa,
    SignerCertificate,
    SignerCertificateKey,
    SignerPublicKey,
    SignerTimeoutS,
    SignerUrl,
    signer_settings,
)
from chain.node.verification.cli import verify
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey, Signer
from chain.primitives.network import Network, check_peer_url

if TYPE_CHECKING:
    from chain.node.peers.settings import PeerSettings
    from chain.remote_signer import RemoteSigner

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Run a validator or follower of a network, and ask how it is.",
)


@app.command("init")
def init(
    network: Annotated[Path, typer.Option("--network", help="The network file (TOML).")],
    data_dir: DataDir,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            help="A validator's key, to be copied into the folder; without one the node follows. "
            "Never run two nodes with one key.",
        ),
    ] = None,
) -> None:
    """Make a node's data folder, with the genesis block of a network."""
    from chain.node.ledger import Ledger

    with explained():
        text = read_network_text(network)
        key = read_key_file(key_file) if key_file is not None else None
        folder = NodeFolder.create(data_dir, text)
        parsed = folder.read_network()
        if key is not None and key_file is not None:
            refuse_used_key(folder, key_file)
            _keep_key(folder, key)
        with Ledger.open(folder.chain, parsed, create=True) as ledger:
            height = ledger.head.height
    role = "follower"
    if key is not None:
        is_member = key.address in parsed.validator_addresses
        role = "validator" if is_member else "follower until governance adds the validator"
        role += f" {to_checksum_address(key.address)}"
    typer.echo(f"{data_dir} is ready for {parsed.name} (chain id {parsed.chain_id}), {role}, at height {height}.")
    typer.echo(f"genesis hash {to_hex(parsed.genesis_hash)}")
    typer.echo(f"Next: aitbc node run --data-dir {data_dir}")


def _keep_key(folder: NodeFolder, key: PrivateKey) -> None:
    if folder.key_file.exists():
        if read_key_file(folder.key_file).address != key.address:
            raise SetupError(f"{folder.key_file} holds another key, and a key is never overwritten: move it away first")
        return
    write_key_file(folder.key_file, key)


@app.command("run")
def run(
    data_dir: DataDir,
    host: Annotated[
        str, typer.Option("--host", envvar="AITBC_NODE_HOST", help="Address to listen on; 0.0.0.0 lets others in.")
    ] = DEFAULT_HOST,
    port: Annotated[
        int, typer.Option("--port", envvar="AITBC_NODE_PORT", min=0, max=65535, help="0: the system chooses.")
    ] = DEFAULT_PORT,
    cors_origin: CorsOrigins = None,
    max_connections: Annotated[
        int, typer.Option("--max-connections", envvar="AITBC_NODE_MAX_CONNECTIONS", min=2, help="More get a 503.")
    ] = 256,
    peer: Peers = None,
    peer_url: PeerUrl = None,
    accept_lost_votes: AcceptLostVotes = False,
    signer_url: SignerUrl = None,
    signer_public_key: SignerPublicKey = None,
    signer_certificate: SignerCertificate = None,
    signer_certificate_key: SignerCertificateKey = None,
    signer_ca: SignerCa = None,
    signer_timeout_s: SignerTimeoutS = 1.0,
    log_level: Annotated[
        str, typer.Option("--log-level", envvar="AITBC_LOG_LEVEL", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """Run the node until SIGINT or SIGTERM. Logs go to standard error, as JSON lines when that is no terminal."""
    with explained():
        if log_level not in ("debug", "info", "warning", "error"):
            raise SetupError(f"--log-level {log_level[:20]!r} is none of debug, info, warning, error")
        config = NodeConfig(
            data_dir=data_dir,
            host=host,
            port=port,
            cors_origins=tuple(check_cors_origin(origin) for origin in cors_origin or DEFAULT_CORS_ORIGINS),
            max_connections=max_connections,
            peers=tuple(check_peer_url(url) for url in peer or ()),
            peer_url=check_peer_url(peer_url) if peer_url is not None else None,
            accepts_lost_votes=accept_lost_votes,
            signer=signer_settings(
                signer_url,
                signer_public_key,
                certificate=signer_certificate,
                certificate_key=signer_certificate_key,
                ca=signer_ca,
                timeout_s=signer_timeout_s,
            ),
        )
        fault = _run(config, log_level)
    if fault is not None:
        typer.echo(f"aitbc node: stopped: {fault}", err=True)
        raise typer.Exit(EXIT_FAILED)


def _run(config: NodeConfig, log_level: str) -> str | None:
    """Runs to the end; returns what went wrong, None after a signal."""
    from prometheus_client import CollectorRegistry

    from chain.api.application import create_api
    from chain.node.ledger import Ledger
    from chain.node.metrics import NodeMetrics
    from chain.node.runner import Node, settle_interpreter
    from chain.web.logs import set_up_logging
    from chain.web.server import Server, listen

    folder = NodeFolder.existing(config.data_dir)
    network = folder.read_network()
    with ExitStack() as opened:
        ledger = opened.enter_context(Ledger.open(folder.chain, network))
        set_up_logging(log_level)
        signer = _open_signer(config, folder, opened)
        key_file = used_key_file(folder)
        key: Signer | None = signer if signer is not None or key_file is None else read_key_file(key_file)
        journal, is_vote_history_lost = None, False
        if key is not None:
            journal, is_vote_history_lost = open_journal(
                folder,
                network,
                accept_lost_history=config.accepts_lost_votes,
                chain_height=ledger.head.height,
                key_file=key_file,
            )
            opened.callback(journal.close)
        registry = CollectorRegistry()
        node = Node(
            ledger,
            key=key,
            journal=journal,
            limits=config.pool,
            metrics=NodeMetrics(registry),
            peers=_peer_settings(config, folder, network, key),
            is_vote_history_lost=is_vote_history_lost,
        )
        if signer is not None:
            node.watch_signer(signer)
        listener = listen(config.host, config.port)
        api = create_api(node, registry=registry, version=version("aitbc"), cors_origins=config.cors_origins)
        server = Server(
            api,
            listener,
            max_connections=config.max_connections,
            on_stopping=api.state.on_stopping,
            direct_answers=api.state.direct_answers,
        )
        node.on_fault = server.stop
        settle_interpreter()
        server.run()
    return node.fault


def _open_signer(config: NodeConfig, folder: NodeFolder, opened: ExitStack) -> "RemoteSigner | None":
    """Who holds the key by the settings, which the folder then keeps, or by what it has kept; None for nobody."""
    if config.signer is not None:
        signer = opened.enter_context(opened_signer(config.signer))
        keep_signer(folder, config.signer)
        return signer
    if used_key_file(folder) != folder.remote_key_file:
        return None
    return opened.enter_context(opened_signer(read_signer(folder.remote_key_file)))


def _peer_settings(config: NodeConfig, folder: NodeFolder, network: Network, key: Signer | None) -> "PeerSettings":
    """Whom to dial, and what others are told to dial."""
    from chain.node.peers.settings import PeerSettings

    listen_url = config.peer_url
    if listen_url is None:
        own = (each.peer_url for each in network.validators if key is not None and each.address == key.address)
        listen_url = next(own, "")
    return PeerSettings(listen_url=listen_url, bootstrap=config.peers, peers_file=folder.peers_file)


@app.command("status")
def status(
    url: NodeUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Ask a running node which network it is on, and how far it is."""
    from chain.answers import encode_answer
    from chain.client import NodeClient

    with explained(), NodeClient(url) as client:
        answer = client.status()
    if as_json:
        typer.echo(json.dumps(json.loads(encode_answer(answer)), indent=2))
        return
    typer.echo(f"{answer.network}: chain id {answer.chain_id}, genesis {answer.genesis_hash}")
    typer.echo(f"final height {answer.finalized.height}, block {answer.finalized.hash}")
    role = answer.role if answer.validator_index is None else f"{answer.role} {answer.validator_index}"
    typer.echo(f"{role}; epoch {answer.epoch}, view {answer.view}")
    typer.echo(f"{answer.peers.connected} peers, {answer.peers.validators} of them validators")
    if answer.syncing is not None:
        typer.echo(f"catching up: {answer.syncing.height} of {answer.syncing.target} blocks")
    typer.echo(f"{answer.mempool.transactions} transactions waiting; aitbc {answer.version} at {url}")


@app.command("new-key")
def new_key(
    key_file: Annotated[Path, typer.Option("--key-file", help="The file to write; it must not exist.")],
) -> None:
    """Make a validator's key, and show the lines that a network file needs for it."""
    key = PrivateKey.generate()
    with explained():
        write_key_file(key_file, key)
    typer.echo("[[validators]]")
    typer.echo(f'address = "{to_checksum_address(key.address)}"')
    typer.echo(f'public_key = "{to_hex(key.public_key)}"')


app.command("verify")(verify)
app.command("validators")(validators)
app.add_typer(governance_app, name="governance")
app.add_typer(keys_app, name="keys")
