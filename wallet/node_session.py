"""A client of a node that serves the wallet's network, with its errors turned into exit codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wallet.known_networks import KnownNetwork, KnownNetworks
from wallet.options import DEFAULT_NODE_URL
from wallet.terminal import CommandError, ExitCode

if TYPE_CHECKING:  # httpx takes a tenth of a second to load; only what asks a node waits for it.
    from chain.answers import StatusView
    from chain.client import NodeClient


def choose_node_url(node_url: str | None, home: Path, chain_id: int | None) -> str:
    """The URL that was given, else that of the network that was asked for or is the default, else a node right here."""
    if node_url is not None:
        return node_url
    networks = KnownNetworks(home)
    meant = networks.meant(chain_id)
    known = None if meant is None else networks.get(meant)
    return (known and known.node_url) or DEFAULT_NODE_URL


@contextmanager
def open_node(node_url: str | None, home: Path, chain_id: int | None) -> "Iterator[tuple[NodeClient, StatusView]]":
    """A client of the node, once it has shown that it serves the wallet's network, and its status."""
    with ask_node(choose_node_url(node_url, home, chain_id)) as (client, status):
        known = KnownNetworks(home).check(network_of(status), chain_id)
        # Under the name that the wallet remembers: a node can call its network whatever it likes.
        yield client, msgspec.structs.replace(status, network=known.name)


@contextmanager
def ask_node(node_url: str) -> "Iterator[tuple[NodeClient, StatusView]]":
    """A client of a node of any network, and its status."""
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
            yield client, status
        except NodeUnavailable as error:
            raise CommandError(str(error), ExitCode.NODE_UNAVAILABLE) from error
        except NodeRefused as error:
            raise CommandError(f"the node refused: {error.message} ({error.reason})", ExitCode.REFUSED) from error


def network_of(status: "StatusView") -> KnownNetwork:
    """What a node says that it serves."""
    return KnownNetwork(chain_id=status.chain_id, genesis_hash=status.genesis_hash, name=status.network)
