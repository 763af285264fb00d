"""The settings of one node process: built once, in `cli.py`, and passed down."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chain.node.pool_limits import PoolLimits
from chain.primitives.rejection import Rejected, RejectionReason

if TYPE_CHECKING:
    from chain.remote_signer import SignerSettings

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8545
"""Where Ethereum tools look for a node."""
DEFAULT_CORS_ORIGINS: Final = ("*",)
"""Any page may ask: what a node answers is public, and it knows nobody by cookies or passwords."""
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*]+")


def check_cors_origin(origin: str) -> str:
    """The origin; raises Rejected for what no browser sends as one: it would match nothing, and nobody would know."""
    if origin != "*" and _ORIGIN.fullmatch(origin) is None:
        raise Rejected(
            RejectionReason.MALFORMED,
            f"{origin[:80]!r} is no origin such as https://wallet.example, nor *",
            field="origin",
        )
    return origin


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Every setting of `aitbc node run`."""

    data_dir: Path
    """Folder that `aitbc node init` made."""

    host: str = DEFAULT_HOST
    """Address to listen on; 0.0.0.0 lets other machines in."""

    port: int = DEFAULT_PORT
    """TCP port; 0 lets the system choose."""

    cors_origins: tuple[str, ...] = DEFAULT_CORS_ORIGINS
    """Web origins whose pages may read the answers; `*` means every one."""

    max_connections: int = 256
    """Requests beyond this many connections are answered with 503."""

    peers: tuple[str, ...] = ()
    """URLs of peers to dial, besides those of the network file."""

    peer_url: str | None = None
    """What other nodes dial to reach this one; None: what the network file says of this node's key, if anything."""

    accepts_lost_votes: bool = False
    """The operator knows that the vote journal is lost, and that no other process holds the key."""

    signer: "SignerSettings | None" = None
    """Who holds the validator's key, if that is not in the folder; None: as the folder says."""

    pool: PoolLimits = field(default_factory=PoolLimits)
    """Bounds of the mempool."""
