"""What the commands of `aitbc node` share: options with one meaning each, and how their failures are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from chain.node.config import DEFAULT_HOST, DEFAULT_PORT
from chain.node.key_file import SetupError
from chain.primitives.keys import SignerUnavailable
from chain.primitives.rejection import Rejected

EXIT_FAILED: Final = 1
DEFAULT_URL: Final = f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="AITBC_NODE_DATA_DIR", help="The node's folder: network file, key, chain.")
]
OptionalKeyFile = Annotated[
    Path | None, typer.Option("--key-file", help="The validator's key, instead of the one in the node's folder.")
]
NodeUrl = Annotated[str, typer.Option("--url", envvar="AITBC_NODE_URL", help="Where the node listens.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
TimeoutS = Annotated[float, typer.Option("--timeout-s", min=1, max=86_400, help="How long to wait for finality.")]

CorsOrigins = Annotated[
    list[str] | None,
    typer.Option(
        "--cors-origin",
        envvar="AITBC_NODE_CORS_ORIGINS",
        help="Web origin whose pages may read what the node answers, such as https://wallet.example; may be "
        "repeated. Default: every one.",
    ),
]
Peers = Annotated[
    list[str] | None,
    typer.Option(
        "--peer",
        envvar="AITBC_NODE_PEERS",
        help="URL of a peer to dial (ws://host:port/p2p) besides those of the network file; may be repeated.",
    ),
]
PeerUrl = Annotated[
    str | None,
    typer.Option(
        "--peer-url",
        envvar="AITBC_NODE_PEER_URL",
        help="What other nodes dial to reach this one. Default: what the network file says of this node's key; "
        "without either it only dials out.",
    ),
]
AcceptLostVotes = Annotated[
    bool,
    typer.Option(
        "--accept-lost-votes",
        help="Go on although the record of this key's votes is lost or damaged. Only if you know that no other "
        "process holds the key: otherwise it votes twice, which is evidence against it.",
    ),
]


@contextmanager
def explained() -> Iterator[None]:
    """What the operator can put right is one line and exit code 1."""
    from chain.client import NodeError
    from chain.node.ledger import UnknownProtocolVersion
    from chain.storage.errors import StorageError
    from chain.web.server import CannotListen

    try:
        yield
    except (
        SetupError,
        Rejected,
        StorageError,
        UnknownProtocolVersion,
        CannotListen,
        NodeError,
        SignerUnavailable,
        ValueError,
    ) as error:
        typer.echo(f"aitbc node: {error}", err=True)
        raise typer.Exit(EXIT_FAILED) from None
