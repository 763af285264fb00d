"""The settings of one node process: built once, in `cli.py`, and passed down."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chain.node.pool_limits import PoolLimits

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8545
"""Where Ethereum tools look for a node."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Every setting of `aitbc node run`."""

    data_dir: Path
    """Folder that `aitbc node init` made."""

    host: str = DEFAULT_HOST
    """Address to listen on; 0.0.0.0 lets other machines in."""

    port: int = DEFAULT_PORT
    """TCP port; 0 lets the system choose."""

    max_connections: int = 256
    """Requests beyond this many connections are answered with 503."""

    peers: tuple[str, ...] = ()
    """URLs of peers to dial, besides those of the network file."""

    peer_url: str | None = None
    """What other nodes dial to reach this one; None: what the network file says of this node's key, if anything."""

    accepts_lost_votes: bool = False
    """The operator knows that the vote journal is lost, and that no other process holds the key."""

    pool: PoolLimits = field(default_factory=PoolLimits)
    """Bounds of the mempool."""
