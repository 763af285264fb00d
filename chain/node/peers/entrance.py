"""From a socket to a peer, whoever dialled: a place at the door, the handshake, then the connection's life."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from chain.node.peers.address_book import AddressBook, Entry
from chain.node.peers.bans import Bans, address_group, is_loopback
from chain.node.peers.connection import End
from chain.node.peers.dialler import Visit
from chain.node.peers.doors import Doors, Pending
from chain.node.peers.handshake import Credentials, Session, WrongNetwork, shake_hands_accepted, shake_hands_dialled
from chain.node.peers.settings import PeerCounts, PeerSettings
from chain.node.peers.sockets import AcceptedSocket, CloseCode, DialledSocket, Socket, SocketClosed, dial
from chain.node.peers.urls import resolve
from chain.primitives.rejection import Rejected

_MAX_LOGGED: Final = 1_024
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node.peers")

Live = Callable[[Socket, Session, bool], Awaitable[End]]
"""(socket, session, is_inbound) → how it ended; refuses or keeps the peer, closes the socket in any case."""


class Entrance:
    """Where connections become peers; itself the ASGI application of /p2p."""

    def __init__(
        self,
        settings: PeerSettings,
        credentials: Credentials,
        *,
        book: AddressBook,
        bans: Bans,
        counts: PeerCounts,
        live: Live,
    ) -> None:
        self.is_open = False
        """Whether connections are accepted."""
        self._settings = settings
        self._credentials = credentials
        self._book = book
        self._bans = bans
        self._counts = counts
        self._live = live
        self._doors = Doors(settings)
        self._logged: set[str] = set()
        self._accepted: set[asyncio.Task[object]] = set()

    @property
    def pending(self) -> int:
        """Handshakes of accepted connections in progress."""
        return len(self._doors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Takes a connection; ends when it does."""
        socket = AcceptedSocket(scope, receive, send)
        task = asyncio.current_task()
        assert task is not None
        self._accepted.add(task)
        place = self._place_for(socket.host) if self.is_open else None
        try:
            if place is None:
                self._counts.add("refused_at_door")
                await socket.refuse()
            else:
                await socket.accept()
                session = await self._shake_hands(socket, place)
                if session is not None:
                    await self._receive_peer(socket, session)
        except SocketClosed:
            self._counts.add("lost_at_door")
        except asyncio.CancelledError:
            if self.is_open:
                raise  # Not by `close`: the server ends this connection.
        finally:
            self._accepted.discard(task)
            if place is not None:
                self._doors.leave(place)

    async def close(self) -> None:
        """Accepts nothing more, and ends what it has accepted."""
        self.is_open = False
        accepted = list(self._accepted)
        for task in accepted:
            task.cancel()
        await asyncio.gather(*accepted, return_exceptions=True)

    async def visit(self, entry: Entry, is_probe: bool) -> Visit:
        """Dials a URL, and stays as long as the connection lasts."""
        try:
            host = None if entry.is_pinned else await resolve(entry.url, entry.least_reach)
            if host is None and not entry.is_pinned:
                return Visit()
            async with asyncio.timeout(self._settings.handshake_timeout_s):
                socket, session = await self._dial(entry, host, is_probe=is_probe)
        except (SocketClosed, TimeoutError) as error:
            self._counts.add("dial_failed")
            _log.debug("dial_failed", url=entry.url, fault=str(error) or "timed out")
            return Visit()
        except (WrongNetwork, Rejected) as error:
            self._counts.add("dial_refused")
            event = "peer_of_another_network" if isinstance(error, WrongNetwork) else "peer_unproven"
            self._log_once(event, entry.url, error)
            return Visit()
        if session.identity == self._credentials.key.address and session.instance == self._credentials.instance:
            await socket.close(CloseCode.DUPLICATE, "that is this node itself")
            return Visit(is_own=True)
        if entry.expected is not None and session.identity != entry.expected:
            self._log_once("unexpected_identity", entry.url, f"0x{session.identity.hex()} answers")
        self._book.answered(entry, session.identity)
        if is_probe:
            await socket.close(CloseCode.PROBED, "only looking")
            return Visit(is_settled=True)
        end = await self._live(socket, session, False)
        return Visit(is_settled=end.code == CloseCode.DUPLICATE)

    async def _dial(self, entry: Entry, host: str | None, *, is_probe: bool) -> tuple[DialledSocket, Session]:
        timeout_s = self._settings.handshake_timeout_s
        socket = await dial(entry.url, host=host, local_address=self._settings.local_address, timeout_s=timeout_s)
        try:
            return socket, await shake_hands_dialled(socket, self._credentials, is_probe=is_probe)
        except WrongNetwork as wrong:
            await socket.close(CloseCode.WRONG_NETWORK, str(wrong))
            raise
        except BaseException:
            socket.abort()
            raise

    def _place_for(self, host: str) -> Pending | None:
        group = address_group(host)
        now_s = time.monotonic()
        is_banned = not is_loopback(group) and self._bans.is_banned(group, now_s)
        return self._doors.enter(host, now_s, is_banned=is_banned)

    async def _shake_hands(self, socket: AcceptedSocket, place: Pending) -> Session | None:
        """None where it failed; the place is free again then and otherwise."""
        handshake = asyncio.create_task(shake_hands_accepted(socket, self._credentials))
        evicted = asyncio.create_task(place.evicted.wait())
        try:
            await asyncio.wait(
                {handshake, evicted},
                timeout=self._settings.handshake_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if handshake.done():
                return handshake.result()
            self._counts.add("handshake_timeout")
            await socket.close(CloseCode.NOT_PROVEN, "no handshake in time")
        except WrongNetwork as wrong:
            self._counts.add("wrong_network")
            self._log_once("peer_of_another_network", socket.host, wrong)
            await socket.close(CloseCode.WRONG_NETWORK, str(wrong))
        except Rejected as rejected:
            self._counts.add("handshake_rejected")
            self._bans.ban(address_group(socket.host), time.monotonic())
            await socket.close(CloseCode.NOT_PROVEN, str(rejected))
        finally:
            for task in (handshake, evicted):
                task.cancel()
            await asyncio.gather(handshake, evicted, return_exceptions=True)
            self._doors.leave(place)
        return None

    async def _receive_peer(self, socket: AcceptedSocket, session: Session) -> None:
        if session.listen_url:
            self._book.tell(session.listen_url, teller_host=socket.host, teller=address_group(socket.host))
        if session.is_probe:
            await socket.close(CloseCode.PROBED, "seen")
        else:
            await self._live(socket, session, True)

    def _log_once(self, event: str, whom: str, why: object) -> None:
        """A warning the first time, so that a stranger who tries every second fills no disk."""
        is_news = (name := f"{event} {whom}") not in self._logged and len(self._logged) < _MAX_LOGGED
        if is_news:
            self._logged.add(name)
        (_log.warning if is_news else _log.debug)(event, peer=whom, why=str(why))
