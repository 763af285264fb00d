"""One hub: dialled again and again, ever more slowly; then its messages, until the connection ends."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from chain.primitives.client_request import check_hub_id_is_no_address
from chain.primitives.hexadecimal import parse_hash
from chain.primitives.hub_messages import (
    PROTOCOL_VERSION,
    Assignment,
    Attested,
    Cancel,
    Challenge,
    CheckSteps,
    ComputePictures,
    Lifted,
    OpenSteps,
    Outstanding,
    PlanCheck,
    SignReceipt,
    Suspended,
    Taken,
    Welcome,
)
from chain.primitives.rejection import Rejected
from chain.primitives.worker_fields import shown
from chain.primitives.worker_hello import LOOPBACK_HOSTS, audience_of, is_audience_of, sign_hello
from chain.primitives.worker_message import Drain, Heartbeat, Refused
from chain.primitives.worker_messages import HubMessage, decode_from_hub
from provider.errors import ProviderError
from provider.http.schemas import HubEntry, HubOutstanding
from provider.hub_link.backoff import Backoff
from provider.hub_link.checks import Checks, refusal_of
from provider.hub_link.concluding import AWAY_S, Concluding, in_words
from provider.hub_link.errors import LinkEnded
from provider.hub_link.frames import IncomingFiles
from provider.hub_link.leases import Leases
from provider.hub_link.offering import LinkTools, heartbeat, hello
from provider.hub_link.receipts import HubReceipts
from provider.hub_link.socket import HubSocket, dial

_HANDSHAKE_S: Final = 20.0
_MISSED_HEARTBEATS: Final = 3
_FEWEST_S: Final = 0.2
"""Between two heartbeats, whatever a hub asks for."""
_REMEMBERED_NONCES: Final = 1_024
_MAX_TASKS: Final = 128
"""Questions of a hub that are being answered."""
_MAX_DETAIL: Final = 500

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.hub_link")

M = TypeVar("M", Challenge, Welcome)

_Question = OpenSteps | PlanCheck | CheckSteps | ComputePictures | SignReceipt | Attested


class HubLink:
    """One URL. On the event loop's thread."""

    def __init__(self, url: str, tools: LinkTools, claim_name: Callable[[str, str], bool]) -> None:
        """`claim_name(hub id, url)`: whether no other hub of this provider has this name."""
        self._url = url
        self._audience = audience_of(url)
        self._tools = tools
        self._claim_name = claim_name
        self._state, self._detail = "dialling", ""
        self._hub_id: str | None = None
        self._leases: Leases | None = None
        self._checks: Checks | None = None
        self._receipts: HubReceipts | None = None
        self._concluding: Concluding | None = None
        self._socket: HubSocket | None = None
        self._nonces: deque[str] = deque(maxlen=_REMEMBERED_NONCES)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._backoff = Backoff()
        self._connected_at_s = math.inf
        """On the monotonic clock; infinite while there is no connection."""

    def report(self) -> HubEntry:
        """How this provider stands with the hub."""
        newest = None if self._concluding is None else self._concluding.newest
        return HubEntry(
            hub_id=self._hub_id,
            state=self._state,
            detail=self._detail or None,
            leases=0 if self._leases is None else self._leases.count,
            outstanding=None
            if newest is None
            else HubOutstanding(
                leases=newest.leases, checks=newest.checks, jobs=newest.jobs, attestations=newest.attestations
            ),
        )

    def waits_for(self) -> str | None:
        """What this hub has not concluded, in words; None where that is nothing, as far as is known."""
        if self._concluding is None or not self._concluding.may_be_open:
            return None
        newest = self._concluding.newest
        what = "what it says is open" if newest is None else in_words(newest)
        return f"{self._hub_id}: {what}{'' if self._socket is not None else ' (and it is away)'}"

    async def run(self) -> None:
        """Until cancelled."""
        if self._url.startswith("ws://") and not is_audience_of(self._audience, LOOPBACK_HOSTS):
            _log.warning(
                "hub_without_tls", url=self._url, detail="prompts and pictures go over the network in the clear"
            )
        await asyncio.wrap_future(self._tools.engine.loaded)
        while True:
            try:
                await self._connect()
            except LinkEnded as ended:
                if (self._state, self._detail) != (ended.reason, ended.message):
                    _log.warning("hub_left", url=self._url, reason=ended.reason, detail=ended.message)
                self._state, self._detail = ended.reason, ended.message
            connected_s, self._connected_at_s = time.monotonic() - self._connected_at_s, math.inf
            await asyncio.sleep(self._backoff.pause_s(connected_s))

    async def drain(self) -> None:
        """Tells the hub that this provider wants no more."""
        if self._socket is not None:
            await self._send_quietly(self._socket.send(Drain()))

    async def finish(self) -> None:
        """Until every result was handed over; only while the hub is there."""
        if self._leases is not None and self._socket is not None:
            await self._leases.wait_until_idle()

    async def conclude(self, on_news: Callable[[], None], *, away_s: float = AWAY_S) -> None:
        """After `finish`: until the hub wants nothing more of what it was brought, or stays away for so long."""
        if self._concluding is not None:
            await self._concluding.wait(on_news, away_s=away_s)

    async def close(self) -> None:
        """After the last job."""
        if self._leases is not None:
            await self._leases.close()

    # A connection

    async def _connect(self) -> None:
        if self._tools.chain.chain_id is None or self._tools.chain.genesis_hash is None:
            raise LinkEnded("the chain node has not answered yet", reason="waiting_for_node")
        socket = await dial(self._url)
        try:
            challenge = await self._shake_hands(socket)
            await self._serve(socket, challenge)
        except LinkEnded as ended:
            if ended.is_told:
                refusal = Refused(reason=ended.reason, detail=ended.message[:_MAX_DETAIL])
                await self._send_quietly(socket.send(refusal))
            elif ended.reason == "malformed" and self._concluding is not None:
                self._concluding.misunderstood()
            raise
        finally:
            self._socket = None
            if self._leases is not None:
                self._leases.disconnect()
            if self._concluding is not None:
                self._concluding.disconnect()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await socket.close()

    async def _shake_hands(self, socket: HubSocket) -> Challenge:
        challenge = await _expect(socket, Challenge)
        chain = self._tools.chain
        assert chain.chain_id is not None
        if challenge.version != PROTOCOL_VERSION:
            raise _broken(f"it speaks version {challenge.version} of the protocol", "wrong_version")
        if (challenge.chain_id, challenge.genesis_hash) != (chain.chain_id, chain.genesis_hash):
            raise _broken(f"it is of another network, with chain id {challenge.chain_id}", "wrong_network")
        if challenge.nonce in self._nonces:
            raise _broken("it asks for the same signature again", "repeated_nonce")
        self._nonces.append(challenge.nonce)
        self._name(challenge.hub_id)
        assert self._leases is not None
        signature = await asyncio.to_thread(
            sign_hello,
            self._tools.key,
            chain_id=challenge.chain_id,
            hub_id=challenge.hub_id,
            audience=self._audience,
            nonce=parse_hash(challenge.nonce),
            genesis_hash=parse_hash(challenge.genesis_hash),
        )
        await socket.send(hello(self._tools, signature, self._audience, self._leases.ids))
        welcome = await _expect(socket, Welcome)
        self._leases.connect(socket, welcome.leases)
        return challenge

    def _name(self, hub_id: str) -> None:
        """A hub keeps the name that it had first, and shares it with no other."""
        try:
            check_hub_id_is_no_address(hub_id)
        except Rejected as rejected:
            raise _broken(rejected.message, "bad_hub_id") from None
        if self._hub_id is None:
            if not self._claim_name(hub_id, self._url):
                raise _broken(f"another hub of this provider is called {hub_id}", "hub_id_taken")
            self._hub_id = hub_id
            self._leases = Leases(self._tools, hub_id)
            self._checks = Checks(self._tools, hub_id)
            self._receipts = HubReceipts(self._tools, hub_id)
            self._concluding = Concluding(self._leases)
        elif self._hub_id != hub_id:
            raise _broken(f"it was called {self._hub_id}, and now {hub_id}", "hub_id_changed")

    async def _serve(self, socket: HubSocket, challenge: Challenge) -> None:
        assert self._concluding is not None
        self._socket = socket
        self._concluding.connect(socket)
        self._state, self._detail, self._connected_at_s = "connected", "", time.monotonic()
        _log.info("hub_joined", url=self._url, hub_id=challenge.hub_id)
        if self._tools.jobs.is_draining:
            await socket.send(Drain())
        beat_s = max(_FEWEST_S, challenge.heartbeat_s)
        self._spawn(self._beat(socket, beat_s))
        incoming = IncomingFiles()
        while True:
            frame = await socket.receive(_MISSED_HEARTBEATS * beat_s)
            if isinstance(frame, bytes):
                whole = incoming.take(frame)
                if whole is not None:
                    await self._take_work(socket, *whole)
                continue
            try:
                message = decode_from_hub(frame)
            except Rejected as rejected:
                raise _broken(rejected.message, "malformed") from None
            if not incoming.announce(message):
                await self._take(socket, message)

    async def _beat(self, socket: HubSocket, interval_s: float) -> None:
        while True:
            await socket.send(heartbeat(self._tools.engine))
            await asyncio.sleep(interval_s)

    # Messages

    async def _take(self, socket: HubSocket, message: HubMessage) -> None:
        assert self._leases is not None
        assert self._concluding is not None
        if isinstance(message, Taken):
            self._leases.taken(message.lease_id)
        elif isinstance(message, Cancel):
            self._leases.cancel(message.lease_id)
        elif isinstance(message, Refused):
            self._take_refusal(message)
        elif isinstance(message, Drain):
            self._state, self._detail = "hub_draining", ""
        elif isinstance(message, Outstanding):
            self._concluding.heard(message)
        elif isinstance(message, Suspended):
            self._state, self._detail = "suspended", f"{message.reason}: {shown(message.detail)}"
            _log.warning("hub_suspends", hub_id=self._hub_id, reason=message.reason, detail=shown(message.detail))
        elif isinstance(message, Lifted):
            self._state, self._detail = "connected", ""
        elif isinstance(message, (Challenge, Welcome)):
            raise _broken("a second handshake", "malformed")
        elif not isinstance(message, Heartbeat):
            await self._take_work(socket, message, ())

    def _take_refusal(self, message: Refused) -> None:
        assert self._leases is not None
        assert self._concluding is not None
        if not message.about:
            raise LinkEnded(f"the hub says: {shown(message.detail)}", reason=message.reason)
        self._concluding.refused(message.about, message.retry_after_s)
        if not self._leases.refused(message.about, message.reason, message.retry_after_s):
            _log.info("hub_refused", hub_id=self._hub_id, about=message.about, reason=message.reason)

    async def _take_work(self, socket: HubSocket, message: HubMessage, files: tuple[bytes, ...]) -> None:
        assert self._leases is not None
        if isinstance(message, Assignment):
            try:
                self._leases.begin(message)
            except ProviderError as error:
                await self._refuse(socket, message.lease_id, error)
        elif isinstance(message, (OpenSteps, PlanCheck, CheckSteps, ComputePictures, SignReceipt, Attested)):
            if len(self._tasks) >= _MAX_TASKS:
                await self._refuse(socket, _key_of(message), LinkEnded("too many questions at once", reason="busy"))
            else:
                self._spawn(self._answer(socket, message, files))
        else:
            raise _broken("a message that has no place here", "malformed")

    async def _answer(self, socket: HubSocket, question: _Question, files: tuple[bytes, ...]) -> None:
        assert self._checks is not None
        assert self._receipts is not None
        try:
            if isinstance(question, SignReceipt):
                await socket.send(await self._receipts.sign(question))
            elif isinstance(question, Attested):
                await socket.send(await self._receipts.take(question))
            else:
                answer, answer_files = await self._checks.answer(question, files)
                await socket.send(answer, answer_files)
        except LinkEnded:
            return  # The reader finds out by itself.
        except (ProviderError, Rejected) as error:
            await self._send_quietly(self._refuse(socket, _key_of(question), error))
        except Exception:  # noqa: BLE001 - a fault of ours: the log gets the traceback, the hub an answer
            _log.exception("hub_question_broke", hub_id=self._hub_id, question=type(question).__name__)
            fault = LinkEnded("a fault in this provider", reason="internal_error")
            await self._send_quietly(self._refuse(socket, _key_of(question), fault))

    async def _refuse(self, socket: HubSocket, about: str, error: ProviderError | Rejected) -> None:
        refusal = refusal_of(error)
        _log.info("hub_told_no", hub_id=self._hub_id, about=about, reason=refusal.reason)
        detail = shown(refusal.message)[:_MAX_DETAIL]
        await socket.send(
            Refused(about=about, reason=refusal.reason, detail=detail, retry_after_s=refusal.retry_after_s)
        )

    async def _send_quietly(self, sending: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(_HANDSHAKE_S):
                await sending
        except (LinkEnded, TimeoutError) as error:
            _log.debug("not_sent", url=self._url, detail=str(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, LinkEnded):  # That one the reader finds out by itself.
            _log.error("hub_task_failed", hub_id=self._hub_id, exc_info=error)


async def _expect(socket: HubSocket, kind: type[M]) -> M:
    """The next message, which must be of this kind; raises LinkEnded, also for the hub's refusal."""
    deadline_s = time.monotonic() + _HANDSHAKE_S
    while True:
        frame = await socket.receive(max(0.001, deadline_s - time.monotonic()))
        if isinstance(frame, bytes):
            raise _broken("a binary frame during the handshake", "malformed")
        try:
            message = decode_from_hub(frame)
        except Rejected as rejected:
            raise _broken(rejected.message, "malformed") from None
        if isinstance(message, kind):
            return message
        if isinstance(message, Refused):
            raise LinkEnded(f"the hub says: {shown(message.detail)}", reason=message.reason)
        if not isinstance(message, Heartbeat):
            raise _broken(f"a {type(message).__name__} during the handshake", "malformed")


def _key_of(question: _Question) -> str:
    return question.receipt_hash if isinstance(question, Attested) else question.order_id


def _broken(complaint: str, reason: str) -> LinkEnded:
    return LinkEnded(f"this hub cannot be served: {complaint}", reason=reason, is_told=True)
