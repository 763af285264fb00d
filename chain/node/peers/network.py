"""The peer network as the rest of a node sees it."""

import asyncio
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from chain.consensus.effects import PeerId
from chain.consensus.messages import Message, encode_message
from chain.node.peers.address_book import AddressBook
from chain.node.peers.bans import Bans, is_loopback
from chain.node.peers.connection import Connection, End
from chain.node.peers.dialler import Dialler
from chain.node.peers.entrance import Entrance
from chain.node.peers.frames import Lane
from chain.node.peers.gossip import Gossip
from chain.node.peers.handshake import Credentials, Session
from chain.node.peers.intake import Intake
from chain.node.peers.messages import MAX_NEIGHBOURS, Neighbours, Urls
from chain.node.peers.peers_file import read_peers, write_peers
from chain.node.peers.quotas import PeerQuota
from chain.node.peers.roster import Roster
from chain.node.peers.settings import PeerCounts, PeerHandler, PeerSettings, PeerView
from chain.node.peers.sockets import CloseCode, Socket
from chain.node.peers.urls import P2P_PATH
from chain.primitives import message_pack
from chain.primitives.keys import PrivateKey, Signer
from chain.primitives.network import Network
from chain.primitives.types import Address

_SAVE_INTERVAL_S: Final = 5.0
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node.peers")


class PeerNetwork:
    """All peers of one node. `start` and `stop` once each, on one event loop, where everything else is called too."""

    def __init__(self, *, network: Network, key: Signer | None, settings: PeerSettings) -> None:
        """Without a key the node is a follower, and shows an identity drawn for this process."""
        identity_key = key or PrivateKey.generate()
        self.identity: Address = identity_key.address
        self.counts = PeerCounts()
        self._settings = settings
        self._max_block_bytes = network.parameters.max_block_bytes
        instance = secrets.token_bytes(16)
        self._bans = Bans(settings.ban_first_s, settings.ban_last_s)
        self._roster = Roster(settings, self._bans, self.counts, own_identity=self.identity, own_instance=instance)
        self._roster.validators = frozenset(network.validator_addresses)
        self._book = AddressBook(settings, own_address=self.identity, is_validator=key is not None)
        for validator in network.validators:
            self._book.pin(validator.peer_url, validator.address)
        for url in settings.bootstrap:
            self._book.pin(url)
        credentials = Credentials(network.genesis_hash, identity_key, instance, settings.listen_url)
        self._entrance = Entrance(
            settings, credentials, book=self._book, bans=self._bans, counts=self.counts, live=self._live
        )
        self._dialler = Dialler(settings, self._book, self._roster, self._entrance.visit)
        self._gossip = Gossip(self._roster, settings.gossip_delay_s)
        self._intake = Intake(settings, self.counts)
        self._others_together = PeerQuota(settings.others_together_quota, None, time.monotonic())
        self._handler: PeerHandler | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._asked: PeerId = ""
        self._neighbours_changed = asyncio.Event()

    async def start(self, handler: PeerHandler) -> None:
        """Dials and accepts from here on."""
        self._handler = handler
        path = self._settings.peers_file
        if path is not None:
            self._book.remember(await asyncio.to_thread(read_peers, path))
        self._entrance.is_open = True
        self._tasks = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("peers: dial", self._dialler.run()),
                ("peers: transactions", self._intake.run(handler.on_transactions)),
                ("peers: neighbours", self._tell_neighbours()),
                ("peers: urls", self._exchange_urls()),
            )
        ]
        for task in self._tasks:
            task.add_done_callback(self._on_task_done)

    async def stop(self) -> None:
        """Tells all peers goodbye, and remembers where they were."""
        self._gossip.stop()
        await self._entrance.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._save_urls()

    def mount(self, application: Starlette) -> None:
        """Adds the endpoint /p2p to the node's application."""
        application.router.routes.append(WebSocketRoute(P2P_PATH, self._entrance))

    @property
    def connected_validators(self) -> frozenset[Address]:
        """Of the present set, without oneself."""
        return self._roster.connected_validators(self._roster.validators)

    @property
    def other_process_with_key(self) -> bool:
        """Whether another process has shown this node's key within the last ten minutes."""
        return self._roster.has_twin

    def set_validators(self, addresses: Iterable[Address]) -> None:
        """Who gets in always, and may send large proposals: the set of the newest epoch known."""
        self._roster.validators = frozenset(addresses)
        for connection in self._roster:
            self._set_standing(connection)

    def set_max_block_bytes(self, max_block_bytes: int) -> None:
        """The parameter of the newest state known."""
        self._max_block_bytes = max_block_bytes
        for connection in self._roster:
            connection.set_max_block_bytes(max_block_bytes)

    def send(self, message: Message, peer: PeerId | None = None) -> None:
        """Queues a message for one peer or for all; one that is gone gets nothing."""
        encoded = encode_message(message)
        connections = list(self._roster) if peer is None else [self._roster.get(peer)]
        for connection in connections:
            if connection is not None:
                connection.send(message, encoded)

    def ask(self, message: Message, peer: PeerId | None = None) -> PeerId | None:
        """Sends to the named peer if it is connected, else to another one each time, validators first.

        Gives whom it has asked; None where nobody is connected.
        """
        connection = self._roster.get(peer) if peer is not None else None
        connection = connection or self._next_to_ask()
        if connection is None:
            return None
        connection.send(message, encode_message(message))
        return connection.peer

    def blame(self, peer: PeerId, reason: str) -> None:
        """Disconnects a peer that has done what no honest one does, and keeps it away for a while."""
        connection = self._roster.get(peer)
        if connection is not None:
            connection.close(End(CloseCode.MISBEHAVED, reason, is_fault=True))

    def share(self, raws: Iterable[bytes], source: PeerId | None = None) -> None:
        """Tells peers of transactions that the mempool has admitted, or that wait there for long."""
        self._gossip.share(raws, source)

    def queued_bytes(self, peer: PeerId) -> int:
        """What waits to be sent to a peer; 0 where it is gone."""
        connection = self._roster.get(peer)
        return connection.outbox.queued_bytes if connection is not None else 0

    def peers(self) -> list[PeerView]:
        """Everybody who is connected."""
        return [connection.view() for connection in self._roster]

    async def take_message(self, connection: Connection, message: Message) -> None:
        """From a connection, for the node."""
        assert self._handler is not None
        await self._handler.on_message(connection.peer, message)

    async def take_transactions(self, connection: Connection, raws: tuple[bytes, ...]) -> bool:
        """From a connection, for the node; waits while too many wait."""
        return await self._intake.put(connection.peer, raws, is_validator=connection.is_validator)

    def take_urls(self, connection: Connection, urls: Sequence[str]) -> None:
        """From a connection: where others are."""
        for url in urls:
            self._book.tell(url, teller_host=connection.host, teller=connection.group)

    async def _live(self, socket: Socket, session: Session, is_inbound: bool) -> End:
        connection = Connection(
            socket,
            session,
            self,
            settings=self._settings,
            is_inbound=is_inbound,
            max_block_bytes=self._max_block_bytes,
        )
        admission = self._roster.admit(connection)
        if admission.refusal is not None:
            self.counts.add("refused")
            await socket.close(admission.refusal.code, admission.refusal.reason)
            return admission.refusal
        end = End(CloseCode.GOING_AWAY, "this node stops")
        try:
            if admission.replaced is not None:
                self._leave(admission.replaced, End(CloseCode.DUPLICATE, "replaced by a newer connection"))
            self._join(connection)
            end = await connection.run()
        finally:
            if self._roster.remove(connection):
                self._leave(connection, end)
        return end

    def _join(self, connection: Connection) -> None:
        """The peer is in the roster."""
        self._set_standing(connection)
        _log.info(
            "peer_connected",
            peer=connection.peer,
            remote=connection.host,
            validator=connection.is_validator,
            inbound=connection.is_inbound,
        )
        self._neighbours_changed.set()
        self._tell_urls(connection)
        assert self._handler is not None
        self._handler.on_connected(connection.peer)

    def _leave(self, connection: Connection, end: End) -> None:
        """The peer is no longer in the roster, or another connection is there in its place."""
        connection.close(end)
        self._intake.forget(connection.peer)
        self._neighbours_changed.set()
        if end.is_fault:
            self.counts.add("blamed")
            self._ban(connection)
        log = _log.warning if end.is_fault else _log.info
        log("peer_disconnected", peer=connection.peer, remote=connection.host, reason=end.reason)
        assert self._handler is not None
        self._handler.on_disconnected(connection.peer, end.reason)

    def _ban(self, connection: Connection) -> None:
        now_s = time.monotonic()
        longest_s = self._settings.ban_last_validator_s if connection.is_validator else None
        self._bans.ban(connection.peer, now_s, last_s=longest_s)
        if not connection.is_validator and not is_loopback(connection.group):
            self._bans.ban(connection.group, now_s)  # Another identity costs it nothing.

    def _set_standing(self, connection: Connection) -> None:
        is_validator = connection.identity in self._roster.validators
        connection.set_standing(is_validator=is_validator, others_together=self._others_together)

    def _next_to_ask(self) -> Connection | None:
        """Validators by turns, and others only where none is connected."""
        connections = sorted(self._roster, key=lambda each: each.peer)
        choice = [each for each in connections if each.is_validator] or connections
        following = [each for each in choice if each.peer > self._asked] or choice
        if not following:
            return None
        self._asked = following[0].peer
        return following[0]

    async def _tell_neighbours(self) -> None:
        while True:
            await self._neighbours_changed.wait()
            await asyncio.sleep(self._settings.gossip_delay_s)  # Changes come in flocks.
            self._neighbours_changed.clear()
            identities = tuple(sorted(self._roster.identities))[:MAX_NEIGHBOURS]
            encoded = message_pack.encode(Neighbours(identities))
            for connection in self._roster:
                connection.put(Lane.CONTROL, encoded)

    async def _exchange_urls(self) -> None:
        while True:
            deadline_s = time.monotonic() + self._settings.exchange_interval_s
            while time.monotonic() < deadline_s:
                await asyncio.sleep(min(_SAVE_INTERVAL_S, self._settings.exchange_interval_s))
                if self._book.has_changed:
                    await self._save_urls()
            for connection in self._roster:
                self._tell_urls(connection)

    def _tell_urls(self, connection: Connection) -> None:
        urls = self._book.urls_for(connection.host)
        if urls:
            connection.put(Lane.CONTROL, message_pack.encode(Urls(tuple(urls))))

    async def _save_urls(self) -> None:
        self._book.has_changed = False
        if self._settings.peers_file is not None:
            await asyncio.to_thread(write_peers, self._settings.peers_file, self._book.verified_urls())

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        """None of these ends by itself; a node that no longer dials, say, must not go on as if all were well."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            _log.critical("peers_task_failed", task=task.get_name(), fault=str(error))
            assert self._handler is not None
            self._handler.on_error(error)
