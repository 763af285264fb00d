"""A client of a node that serves the wallet's network, with its errors turned into exit codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wallet.known_networks import KnownNetwork, KnownNetworks
from wallet.terminal import CommandError, ExitCode

if TYPE_CHECKING:  # httpx takes a tenth of a second to load; only what asks a node waits for it.
    from chain.answers import StatusView
    from chain.client import NodeClient


@contextmanager
def open_node(node_url: str, home: Path, chain_id: int | None) -> "Iterator[tuple[NodeClient, StatusView]]":
    """A client of the node, once it has shown that it serves the wallet's network, and what it says of itself."""
    from chain.client import NodeClient, NodeRefused, NodeUnavailable

    try:
        client = NodeClient(node_url)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None
    with client:
        try:
            status = client.status()
            met = KnownNetwork(chain_id=status.chain_id, genesis_hash=status.genesis_hash, name=status.network)
            KnownNetworks(home).check(met, chain_id)
            yield client, status
        except NodeUnavailable as error:
            raise CommandError(str(error), ExitCode.NODE_UNAVAILABLE) from error
        except NodeRefused as error:
            raise CommandError(f"the node refused: {error.message} ({error.reason})", ExitCode.REFUSED) from error
