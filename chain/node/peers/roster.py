"""Who is connected: one connection per identity, validators always, others within limits."""

import time
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import structlog

from chain.consensus.effects import PeerId
from chain.node.peers.bans import Bans, is_loopback
from chain.node.peers.connection import Connection, End
from chain.node.peers.settings import PeerCounts, PeerSettings
from chain.node.peers.sockets import CloseCode
from chain.primitives.types import Address

_MAX_REPLACED: Final = 256
_TWIN_REMEMBERED_S: Final = 600.0
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node.peers")


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a connection whose identity is proven."""

    refusal: End | None = None
    replaced: Connection | None = None
    """The older connection of the same identity, which is to be closed."""


class Roster:
    """The connected peers."""

    def __init__(
        self, settings: PeerSettings, bans: Bans, counts: PeerCounts, *, own_identity: Address, own_instance: bytes
    ) -> None:
        self.validators: frozenset[Address] = frozenset()
        self._settings = settings
        self._bans = bans
        self._counts = counts
        self._own_identity = own_identity
        self._own_instance = own_instance
        self._connections: dict[PeerId, Connection] = {}
        self._replaced: OrderedDict[tuple[Address, bytes], None] = OrderedDict()
        self._twin_seen_s: float | None = None

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def __len__(self) -> int:
        return len(self._connections)

    def get(self, peer: PeerId) -> Connection | None:
        """The peer's connection, if it has one."""
        return self._connections.get(peer)

    @property
    def identities(self) -> frozenset[Address]:
        """Of all who are connected."""
        return frozenset(connection.identity for connection in self._connections.values())

    @property
    def has_twin(self) -> bool:
        """Whether another process has shown this node's own key, within ten minutes."""
        return self._twin_seen_s is not None and time.monotonic() - self._twin_seen_s < _TWIN_REMEMBERED_S

    def admit(self, connection: Connection) -> Admission:
        """Decides about a connection, and adds it unless it is refused."""
        refusal = self._refusal(connection)
        if refusal is not None:
            return Admission(refusal=refusal)
        replaced = self._connections.pop(connection.peer, None)
        if replaced is not None and replaced.instance != connection.instance:
            self._replaced[replaced.identity, replaced.instance] = None
            if len(self._replaced) > _MAX_REPLACED:
                self._replaced.popitem(last=False)
        self._connections[connection.peer] = connection
        return Admission(replaced=replaced)

    def remove(self, connection: Connection) -> bool:
        """False where another connection of the same peer has taken its place."""
        if self._connections.get(connection.peer) is not connection:
            return False
        del self._connections[connection.peer]
        return True

    def _refusal(self, connection: Connection) -> End | None:
        if connection.identity == self._own_identity:
            return self._refuse_oneself(connection)
        if self._bans.is_banned(connection.peer, time.monotonic()):
            return End(CloseCode.BANNED, "kept away for a while")
        older = self._connections.get(connection.peer)
        if older is not None:
            return self._refuse_second(older, connection)
        if connection.identity not in self.validators:
            return self._refuse_other(connection)
        return None

    def _refuse_oneself(self, connection: Connection) -> End:
        if connection.instance == self._own_instance:
            return End(CloseCode.DUPLICATE, "that is this node itself")
        if not self.has_twin:
            _log.error("second_process_with_this_key", remote=connection.host, peer=connection.peer)
        self._twin_seen_s = time.monotonic()
        self._counts.add("twin")
        return End(CloseCode.DUPLICATE, "another process runs with this key")

    def _refuse_second(self, older: Connection, newer: Connection) -> End | None:
        """Both ends judge alike, whichever connection they see first."""
        if older.instance != newer.instance:
            if (newer.identity, newer.instance) not in self._replaced:
                return None  # A restart, most likely: the older connection is dead and has not been missed yet.
            self._counts.add("peer_twin")
            _log.error("two_processes_with_one_key", peer=newer.peer, remotes=[older.host, newer.host])
            return End(CloseCode.DUPLICATE, "two processes run with this key")
        if older.is_inbound == newer.is_inbound:
            return None  # Who dials again has lost the connection that it dialled before.
        is_dialled_by_smaller = newer.is_inbound == (newer.identity < self._own_identity)
        return None if is_dialled_by_smaller else End(CloseCode.DUPLICATE, "connected already")

    def _refuse_other(self, connection: Connection) -> End | None:
        if not is_loopback(connection.group) and self._bans.is_banned(connection.group, time.monotonic()):
            return End(CloseCode.BANNED, "its address is kept away for a while")
        if not connection.is_inbound:
            return None  # Dialled on purpose, few at a time.
        others = [each for each in self._connections.values() if each.is_inbound and not each.is_validator]
        of_group = sum(each.group == connection.group for each in others)
        if len(others) >= self._settings.max_others or of_group >= self._settings.max_others_per_address:
            return End(CloseCode.FULL, "no room for more peers that are no validators")
        return None

    def connected_validators(self, among: Collection[Address]) -> frozenset[Address]:
        """Those of a set that are connected."""
        return self.identities & frozenset(among)
