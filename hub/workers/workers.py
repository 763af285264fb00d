"""All providers that are connected to this process: who comes in, who is gone, and what waits is given out.

One clock serves all sessions, so that a connected provider costs no task beside its connection's own.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from starlette.types import Receive, Scope, Send

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.hub_messages import Lifted, Suspended, Welcome
from chain.primitives.provider_messages import Hello
from chain.primitives.types import Address
from chain.primitives.worker_message import Drain, Heartbeat, Refused
from chain.primitives.worker_messages import encode
from hub.workers.desk import Grant, WorkerView
from hub.workers.errors import SessionEnds, WorkerGone
from hub.workers.handshake import ProviderRegistry, greet
from hub.workers.intake import SessionTools
from hub.workers.leases import PROGRESS_INTERVAL_S, HeldLease
from hub.workers.mailbox import Mailbox
from hub.workers.orders import Orders
from hub.workers.session import Session
from hub.workers.socket import CloseCode, SocketClosed, WorkerSocket

PATH: Final = "/v1/workers"
_MISSED_HEARTBEATS: Final = 3
_RETRY_S: Final = 1.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.workers")


@dataclass(frozen=True, slots=True)
class WorkerBounds:
    """How many, how long."""

    sessions: int = 2_000
    per_host: int = 256
    """Connections from one network address: many providers may share a router's."""
    unbounded_hosts: tuple[str, ...] = ("127.0.0.1", "::1")
    """Where a reverse proxy of this machine brings all of them from; it has a bound of its own for each address."""
    greeting: int = 128
    """Connections that have not said who they are."""
    handshake_s: float = 10.0
    heartbeat_s: float = 10.0
    poll_s: float = 0.5
    """How often it is looked for waiting work, and for who is late, without having been told of any."""


class Workers:
    """An ASGI application for one WebSocket, and `run` beside it. On the event loop's thread."""

    def __init__(
        self,
        tools: SessionTools,
        registry: ProviderRegistry,
        bounds: WorkerBounds = WorkerBounds(),
        mailbox: Mailbox | None = None,
    ) -> None:
        """`mailbox`: where several processes share a database."""
        self.is_draining = False
        self._tools = tools
        self._registry = registry
        self._bounds = bounds
        self._sessions: dict[Address, Session] = {}
        self._deadlines: dict[str, asyncio.Timeout] = {}
        self._suspended: dict[Address, Suspended] = {}
        self._hosts: Counter[str] = Counter()
        self._greeting = 0
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.orders = Orders(self._sessions, mailbox)
        """Questions to providers."""

    # Who is there

    def views(self) -> list[WorkerView]:
        """Everybody who is connected here."""
        return [session.view() for session in self._sessions.values()]

    def view(self, provider: Address) -> WorkerView | None:
        """One of them."""
        session = self._sessions.get(provider)
        return None if session is None else session.view()

    @property
    def count(self) -> int:
        """How many are connected here."""
        return len(self._sessions)

    # What the rest of the hub wants of them

    def wake(self) -> None:
        """Work waits, or a place is free."""
        self._news.set()

    def held_leases(self) -> list[str]:
        """Those whose results have not come in."""
        return [
            lease_id
            for session in self._sessions.values()
            for lease_id, held in session.leases.items()
            if not held.is_here
        ]

    async def cancel(self, lease_id: str) -> None:
        """Nobody wants the pictures of this lease any more; nothing happens where it is not held here."""
        for session in list(self._sessions.values()):
            if lease_id in session.leases:
                await session.cancel(lease_id)

    def suspend(self, provider: Address, reason: str, detail: str, until_s: float | None = None) -> None:
        """No work for this provider, which is told why; also when it comes back."""
        message = self._suspended[provider] = Suspended(reason=reason, detail=detail, until_s=until_s)
        session = self._sessions.get(provider)
        if session is not None:
            session.suspension = message
            self._spawn(session.out.send(message))

    def lift(self, provider: Address) -> None:
        """The end of a suspension."""
        session = self._sessions.get(provider)
        if self._suspended.pop(provider, None) is not None and session is not None:
            session.suspension = None
            self._spawn(session.out.send(Lifted()))
            self.wake()

    def ban(self, provider: Address, detail: str) -> None:
        """Ends its session with this sentence. That it cannot come back is for the registry's `ban_of` to say."""
        session = self._sessions.get(provider)
        if session is not None:
            self._end(session, "banned", detail, CloseCode.REFUSED)

    def replaced(self, session_id: str) -> None:
        """The provider has dialled another of the hub's processes; nothing happens where this session is not here."""
        for session in list(self._sessions.values()):
            if session.session_id == session_id:
                self._end(session, "replaced", "this provider has dialled in again", CloseCode.REPLACED)

    async def drain(self, timeout_s: float) -> None:
        """No more work is given out; what is under way may end within the time, then all connections do."""
        self.is_draining = True
        for session in list(self._sessions.values()):
            self._spawn(session.out.send(Drain()))
        deadline_s = time.monotonic() + timeout_s
        await self._wait_until(lambda: not any(each.leases for each in self._sessions.values()), deadline_s)
        for session in list(self._sessions.values()):
            self._end(session, "draining", "this hub is shutting down; dial again in a while", CloseCode.GOING_AWAY)
        await self._wait_until(lambda: not self._sessions, time.monotonic() + self._bounds.handshake_s)

    async def _wait_until(self, is_so: Callable[[], bool], deadline_s: float) -> None:
        while not is_so() and time.monotonic() < deadline_s:  # noqa: ASYNC110 - many sessions change it, at any time
            await asyncio.sleep(0.05)

    # Coming and going

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for one connection."""
        socket = WorkerSocket(scope, receive, send)
        try:
            if self._is_full(socket.host):
                await socket.refuse()
                return
            self._hosts[socket.host] += 1
            try:
                await self._serve(socket)
            finally:
                self._hosts[socket.host] -= 1
                if not self._hosts[socket.host]:
                    del self._hosts[socket.host]
        except SocketClosed as closed:
            _log.debug("worker_connection_ended", host=socket.host, detail=str(closed))

    def _is_full(self, host: str) -> bool:
        bounds = self._bounds
        is_crowded = self._greeting >= bounds.greeting or len(self._sessions) >= bounds.sessions
        is_many = host not in bounds.unbounded_hosts and self._hosts[host] >= bounds.per_host
        return self.is_draining or is_crowded or is_many

    async def _serve(self, socket: WorkerSocket) -> None:
        await socket.accept()
        self._greeting += 1
        try:
            async with asyncio.timeout(self._bounds.handshake_s):
                hello = await greet(socket, self._tools.hub, self._registry, heartbeat_s=self._bounds.heartbeat_s)
        except SessionEnds as end:
            await _turn_away(socket, end)
            return
        except TimeoutError:
            await _turn_away(socket, SessionEnds("too_slow", "no hello within the time for it"))
            return
        finally:
            self._greeting -= 1
        session = Session(socket, hello, self._tools)
        try:
            async with asyncio.timeout(None) as deadline:
                self._deadlines[session.session_id] = deadline
                await self._let_in(session, hello)
                await session.read()
        except SessionEnds as end:
            _log.warning("worker_turned_away", provider=hello.address, reason=end.reason, detail=end.detail)
            await _turn_away(socket, end, CloseCode.MISBEHAVED)
        except TimeoutError:
            _log.info("worker_session_ended", provider=hello.address, reason=session.ended and session.ended.reason)
        finally:
            await self._leave(session)

    async def _let_in(self, session: Session, hello: Hello) -> None:
        try:
            await self._enter(session, hello)
        except SocketClosed:
            raise
        except Exception:  # noqa: BLE001 - the database is away, say; the log has the traceback
            _log.exception("worker_not_let_in", provider=hello.address)
            raise SessionEnds("hub_failed", "this hub cannot look up its leases now; dial again in a while") from None

    async def _enter(self, session: Session, hello: Hello) -> None:
        """Takes over what the provider has under way, and greets it."""
        older = self._sessions.get(session.provider)
        if older is not None:
            self._end(older, "replaced", "this provider has dialled in again", CloseCode.REPLACED)
        session.suspension = self._suspended.get(session.provider)
        grants = await self._tools.desk.open_grants(session.provider)
        for grant in grants:
            before = None if older is None else older.leases.get(grant.lease_id)
            session.leases[grant.lease_id] = before or HeldLease.of(grant)
        await self._tools.desk.opened(session.view())
        rival = self._sessions.get(session.provider)
        if rival is not None and rival is not older:  # Came in while this one was looked up.
            self._end(rival, "replaced", "this provider has dialled in again", CloseCode.REPLACED)
        self._sessions[session.provider] = session
        known = tuple(lease_id for lease_id in hello.leases if lease_id in session.leases)
        await session.out.send(Welcome(leases=known))
        if session.suspension is not None:
            await session.out.send(session.suspension)
        for grant in grants:
            if grant.lease_id not in known:
                self._spawn(self._give(session, grant, is_again=True))
        # What was granted to the connection before, after the first look, went into a socket that nobody reads.
        for grant in await self._tools.desk.open_grants(session.provider):
            if grant.lease_id not in session.leases:
                session.leases[grant.lease_id] = HeldLease.of(grant)
                self._spawn(self._give(session, grant, is_again=True))
        _log.info("worker_joined", provider=hello.address, models=len(hello.models), leases=len(grants))
        self.wake()

    async def _leave(self, session: Session) -> None:
        self._deadlines.pop(session.session_id, None)
        if self._sessions.get(session.provider) is session:
            del self._sessions[session.provider]
        await session.close()
        try:
            await self._tools.desk.closed(session.session_id)
        except Exception:  # noqa: BLE001 - the database is away, say; whoever is dead there is found by its silence
            _log.exception("session_end_not_kept", session=session.session_id)

    def _end(self, session: Session, reason: str, detail: str, code: int) -> None:
        """Also one that does not read, or has vanished without a word."""
        session.end(reason, detail, code)
        deadline = self._deadlines.get(session.session_id)
        if deadline is not None and not deadline.expired():
            deadline.reschedule(asyncio.get_running_loop().time() + 2.0)

    # The clock, and what is given out

    async def run(self) -> None:
        """Until cancelled: heartbeats, lapsed leases, and what waits goes to who is free."""
        await asyncio.gather(self._keep_time(), self._keep_leases(), self._give_out(), self.orders.serve_others())

    async def _keep_time(self) -> None:
        next_beat_s = 0.0
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL_S)
            now_s = time.monotonic()
            is_beat = now_s >= next_beat_s
            if is_beat:
                next_beat_s = now_s + self._bounds.heartbeat_s
            for session in list(self._sessions.values()):
                if now_s - session.heard_at_s > _MISSED_HEARTBEATS * self._bounds.heartbeat_s:
                    self._end(session, "silent", "nothing was heard for too long", CloseCode.SILENT)
                elif is_beat:
                    session.out.beat(Heartbeat())

    async def _keep_leases(self) -> None:
        """Beside the clock: a database that is away must not silence the heartbeats."""
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL_S)
            await self._try(self._look_after_leases)

    async def _look_after_leases(self) -> None:
        busy = [session for session in self._sessions.values() if session.leases]
        outcomes = await asyncio.gather(*(each.look_after_leases() for each in busy), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _give_out(self) -> None:
        while True:
            with suppress(TimeoutError):  # Nothing was heard: another process may still have left something.
                async with asyncio.timeout(self._bounds.poll_s):
                    await self._news.wait()
            self._news.clear()
            if await self._try(self._assign):
                self.wake()  # There may be more.

    async def _assign(self) -> bool:
        """Whether anything was given out."""
        views = [view for view in self.views() if not view.is_draining and view.suspension is None]
        if self.is_draining or not views:
            return False
        grants: Sequence[Grant] = await self._tools.desk.assign(views)
        for grant in grants:
            session = self._sessions.get(grant.provider)
            if session is None:
                self._spawn(self._return(grant))
            elif grant.lease_id not in session.leases:  # Else whoever came in meanwhile has found it by itself.
                session.leases[grant.lease_id] = HeldLease.of(grant)
                self._spawn(self._give(session, grant))
        return bool(grants)

    async def _give(self, session: Session, grant: Grant, *, is_again: bool = False) -> None:
        try:
            await session.give(grant, is_again=is_again)
        except WorkerGone:
            # It stays in the desk's books: whoever comes back within the lease gets it again.
            _log.info("lease_not_sent", lease_id=grant.lease_id, provider=to_checksum_address(grant.provider))

    async def _return(self, grant: Grant) -> None:
        await self._tools.desk.returned(grant.lease_id, "worker_gone", "gone before it was sent", is_fault=False)

    async def _try(self, work: Callable[[], Coroutine[Any, Any, bool | None]]) -> bool:
        """The database is away for a while, say: tried again at the next turn."""
        try:
            return bool(await work())
        except Exception:  # noqa: BLE001 - the last resort of a background loop; the log has the traceback
            _log.exception("workers_loop_failed")
            await asyncio.sleep(_RETRY_S)
            return False

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, SocketClosed):  # That one its reader finds out.
            _log.error("worker_task_failed", exc_info=error)


async def _turn_away(socket: WorkerSocket, end: SessionEnds, code: int = CloseCode.REFUSED) -> None:
    """Says why, and closes."""
    with suppress(TimeoutError):  # It does not read, so it is closed without a word.
        async with asyncio.timeout(1.0):
            await socket.send_text(encode(Refused(reason=end.reason, detail=end.detail[:500])))
    await socket.close(code, end.reason)
