"""`aitbc node`: make a data folder, run a node in it, ask one how it is, make a validator's key."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from chain.node.config import DEFAULT_HOST, DEFAULT_PORT, NodeConfig
from chain.node.folder import NodeFolder, SetupError, read_key_file, read_network_text, write_key_file
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected

EXIT_FAILED: Final = 1

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Run a validator or follower of a network, and ask how it is.",
)

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="AITBC_NODE_DATA_DIR", help="The node's folder: network file, key, chain.")
]


@contextmanager
def _explained() -> Iterator[None]:
    """What the operator can put right is one line and exit code 1."""
    from chain.client import NodeError
    from chain.node.ledger import UnknownProtocolVersion
    from chain.storage.errors import StorageError
    from chain.web.server import CannotListen

    try:
        yield
    except (SetupError, Rejected, StorageError, UnknownProtocolVersion, CannotListen, NodeError, ValueError) as error:
        typer.echo(f"aitbc node: {error}", err=True)
        raise typer.Exit(EXIT_FAILED) from None


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

    with _explained():
        text = read_network_text(network)
        key = read_key_file(key_file) if key_file is not None else None
        folder = NodeFolder.create(data_dir, text)
        parsed = folder.read_network()
        if key is not None:
            if key.address not in parsed.validator_addresses:
                raise SetupError(f"{to_checksum_address(key.address)} is no validator of the network {parsed.name!r}")
            _keep_key(folder, key)
        with Ledger.open(folder.chain, parsed, create=True) as ledger:
            height = ledger.head.height
    role = f"validator {to_checksum_address(key.address)}" if key is not None else "follower"
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
    max_connections: Annotated[
        int, typer.Option("--max-connections", envvar="AITBC_NODE_MAX_CONNECTIONS", min=2, help="More get a 503.")
    ] = 256,
    log_level: Annotated[
        str, typer.Option("--log-level", envvar="AITBC_LOG_LEVEL", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """Run the node until SIGINT or SIGTERM. Logs go to standard error, as JSON lines when that is no terminal."""
    with _explained():
        if log_level not in ("debug", "info", "warning", "error"):
            raise SetupError(f"--log-level {log_level[:20]!r} is none of debug, info, warning, error")
        config = NodeConfig(data_dir=data_dir, host=host, port=port, max_connections=max_connections)
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
    from chain.node.runner import Node, settle_garbage_collector
    from chain.web.logs import set_up_logging
    from chain.web.server import Server, listen

    folder = NodeFolder.existing(config.data_dir)
    network = folder.read_network()
    key = read_key_file(folder.key_file) if folder.key_file.exists() else None
    with Ledger.open(folder.chain, network) as ledger:
        registry = CollectorRegistry()
        node = Node(ledger, key=key, limits=config.pool, metrics=NodeMetrics(registry))
        listener = listen(config.host, config.port)
        set_up_logging(log_level)
        api = create_api(node, registry=registry, version=version("aitbc"))
        server = Server(api, listener, max_connections=config.max_connections)
        node.on_fault = server.stop
        settle_garbage_collector()
        server.run()
    return node.fault


@app.command("status")
def status(
    url: Annotated[
        str, typer.Option("--url", envvar="AITBC_NODE_URL", help="Where the node listens.")
    ] = f"http://{DEFAULT_HOST}:{DEFAULT_PORT}",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Ask a running node which network it is on, and how far it is."""
    from chain.answers import encode_answer
    from chain.client import NodeClient

    with _explained(), NodeClient(url) as client:
        answer = client.status()
    if as_json:
        typer.echo(json.dumps(json.loads(encode_answer(answer)), indent=2))
        return
    typer.echo(f"{answer.network}: chain id {answer.chain_id}, genesis {answer.genesis_hash}")
    typer.echo(f"final height {answer.finalized.height}, block {answer.finalized.hash}")
    typer.echo(f"{answer.mempool.transactions} transactions waiting; aitbc {answer.version} at {url}")


@app.command("new-key")
def new_key(
    key_file: Annotated[Path, typer.Option("--key-file", help="The file to write; it must not exist.")],
) -> None:
    """Make a validator's key, and show the lines that a network file needs for it."""
    key = PrivateKey.generate()
    with _explained():
        write_key_file(key_file, key)
    typer.echo("[[validators]]")
    typer.echo(f'address = "{to_checksum_address(key.address)}"')
    typer.echo(f'public_key = "{to_hex(key.public_key)}"')
