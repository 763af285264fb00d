"""Limits and times of the peer network, and what a node offers to it and learns from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from chain.consensus.effects import PeerId
from chain.consensus.messages import Message
from chain.primitives.types import Address

MIB: Final = 1024 * 1024


class PeerHandler(Protocol):
    """What a node does about its peers. Called on the event loop; none of these may raise."""

    def on_connected(self, peer: PeerId) -> None:
        """The peer can be spoken to."""

    def on_disconnected(self, peer: PeerId, reason: str) -> None:
        """It can no longer."""

    async def on_message(self, peer: PeerId, message: Message) -> None:
        """Taken one after another per peer: a long wait here is slow reading of that one peer."""

    async def on_transactions(self, peer: PeerId, raws: tuple[bytes, ...]) -> None:
        """Raw transactions, undecoded, at most 320 KiB of them; one call at a time, the peers by turns."""

    def on_error(self, error: Exception) -> None:
        """The peer network cannot do its work any more, for a fault of this node's."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second on average, and so many at once."""

    per_second: float
    burst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one peer may cost. Beyond it the peer is read more slowly."""

    received_bytes: Rate
    """Asked answers do not count."""
    signatures: Rate
    """In votes and certificates."""
    requests: Rate
    """Everything that asks for an answer or is small talk."""
    ranges: Rate
    """Requests for ranges, each of which reads megabytes from the disk; one for a block counts as a quarter."""
    transactions: Rate
    """Each costs a signature recovery."""


VALIDATOR_QUOTA: Final = Quota(
    received_bytes=Rate(64 * MIB, 128 * MIB),
    signatures=Rate(20_000, 40_000),
    requests=Rate(500, 2_000),
    ranges=Rate(40, 80),
    transactions=Rate(10_000, 20_000),
)
"""Far above what an honest validator sends: at 60 validators and ten views a second, some 2,000 signatures."""

OTHER_QUOTA: Final = Quota(
    received_bytes=Rate(2 * MIB, 8 * MIB),
    signatures=Rate(1_000, 2_000),
    requests=Rate(50, 500),
    ranges=Rate(8, 16),
    transactions=Rate(3_000, 6_000),
)
"""A follower that relays certificates and hands in transactions, or fetches 32 MiB of ranges a second."""

OTHERS_TOGETHER_QUOTA: Final = Quota(
    received_bytes=Rate(16 * MIB, 64 * MIB),
    signatures=Rate(2_000, 4_000),
    requests=Rate(500, 2_000),
    ranges=Rate(16, 64),
    transactions=Rate(6_000, 12_000),
)
"""All peers together that are no validators: new identities cost nothing. A fifth of a core in signatures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """One node's peer network. The defaults are for a network in the open and serve a devnet too."""

    listen_url: str = ""
    """Where others reach this node, like ws://host:port/p2p; empty where it only dials out."""
    bootstrap: tuple[str, ...] = ()
    """URLs to dial beside those of the network file."""
    peers_file: Path | None = None
    """Remembers the URLs that worked."""

    handshake_timeout_s: float = 10.0
    heartbeat_s: float = 5.0
    dead_after_s: float = 15.0
    """A peer that says nothing for this long is gone: stopped, or behind a half-open connection."""
    slow_after_s: float = 15.0
    """A peer that has not taken a vote, or any byte, for this long is too slow to be of use."""

    max_pending: int = 16
    """Handshakes in progress."""
    max_pending_per_address: int = 4
    """Of one IPv4 address or IPv6 /64; on loopback, where a reverse proxy may stand, only `max_pending` counts."""
    attempts_per_address: Rate = Rate(10, 40)
    """Connections that one address may open; loopback twenty times as many."""
    max_others: int = 32
    """Peers that are no validators and have dialled in; validators always get in."""
    max_others_per_address: int = 32
    target_peers: int = 8
    """Dial others than validators while there are fewer peers than this."""

    retry_first_s: float = 0.5
    retry_last_s: float = 60.0
    retry_last_validator_s: float = 5.0
    """The longest pause between two attempts to reach a validator: what a restart costs at worst."""
    probe_interval_s: float = 10.0
    """How often a URL that a peer told is tried."""
    exchange_interval_s: float = 60.0
    """How often peers tell each other URLs."""

    ban_first_s: float = 10.0
    ban_last_s: float = 600.0
    ban_last_validator_s: float = 60.0

    gossip_delay_s: float = 0.005
    """How long transactions are collected before they travel together."""
    max_throttled_s: float = 60.0
    """A peer that was read slowly for more than half of the time, and this much longer, is disconnected."""
    validator_quota: Quota = VALIDATOR_QUOTA
    other_quota: Quota = OTHER_QUOTA
    others_together_quota: Quota = OTHERS_TOGETHER_QUOTA
    waiting_validator_bytes: int = 4 * MIB
    """Transactions of one validator that were received and not yet looked at."""
    waiting_other_bytes: int = MIB
    """The same of one other peer."""

    local_address: str | None = None
    """Dial from this address of the machine's."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """One connected peer, for people and metrics."""

    peer: PeerId
    address: Address
    is_validator: bool
    is_inbound: bool
    url: str
    """Where it says that it listens; empty where it does not."""
    remote: str
    """Address and port of the other end."""
    epoch: int
    view: int
    height: int
    """Of its newest Status."""
    rtt_ms: float | None
    bytes_sent: int
    bytes_received: int
    queued_bytes: int
    """Waiting to be sent."""
    connected_s: float


@dataclass(slots=True)
class PeerCounts:
    """What has happened since the start, for metrics."""

    events: dict[str, int] = field(default_factory=dict)

    def add(self, event: str, count: int = 1) -> None:
        """Counts an event; their names are few and ours."""
        self.events[event] = self.events.get(event, 0) + count

    def view(self) -> Mapping[str, int]:
        """Read-only."""
        return MappingProxyType(self.events)
