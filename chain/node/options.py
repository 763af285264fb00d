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
