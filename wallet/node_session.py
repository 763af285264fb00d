"""A client of a node that serves the wallet's network, with its errors turned into exit codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wallet.known_networks import KnownNetwork, KnownNetworks
from wallet.terminal import CommandError, ExitCode

if TYPE_CHECKING:  # httpx takes a tenth of a second to load; only what asks a node waits for it.
    from chain.answers import StatusView
    from chain.client import NodeClient


@contextmanager
def open_node(node_url: str, home: Path, chain_id: int | None) -> "Iterator[tuple[NodeClient, StatusView]]":
    """A client of the node, once it has shown that it serves the wallet's network, and its status."""
    from chain.client import NodeClient, NodeRefused, NodeUnavailable

    try:
        client = NodeClient(node_url)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None
    with client:
        try:
            try:
                status = client.status()
            except NodeRefused as error:  # No node refuses to say who it is.
                raise NodeUnavailable(f"what answers at {client.url} is no node: {error.message}") from error
            met = KnownNetwork(chain_id=status.chain_id, genesis_hash=status.genesis_hash, name=status.network)
            known = KnownNetworks(home).check(met, chain_id)
            # Under the name that the wallet remembers: a node can call its network whatever it likes.
            yield client, msgspec.structs.replace(status, network=known.name)
        except NodeUnavailable as error:
            raise CommandError(str(error), ExitCode.NODE_UNAVAILABLE) from error
        except NodeRefused as error:
            raise CommandError(f"the node refused: {error.message} ({error.reason})", ExitCode.REFUSED) from error
