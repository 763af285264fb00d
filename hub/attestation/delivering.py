"""Brings each attestation to the providers that earned it: at once, then with growing pauses, across restarts.

What is due stands in the database. The provider that signed the whole receipt is to have it, the others of a split job
are sent it as well: they bring it to the chain where that one does not. Once it is on the chain, nobody needs it any
more. Whoever stays away for days is given up: the client has receipt and attestation, and anybody may send the mint.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from chain.primitives.client_request import ClientRequest
from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.hub_messages import Attested
from chain.primitives.receipt import kept_receipt
from chain.primitives.types import Address
from hub.attestation.attesting import AskedOf
from hub.attestation.forms import FEE_FACT, NO_FEE, Fee, attested_message
from hub.attestation.metrics import AttestationMetrics
from hub.store import jobs, receipts, sessions
from hub.store.errors import StoreError
from hub.store.store import Store, now_ms
from hub.workers.errors import WorkerError

_BATCH: Final = 256
"""Deliveries under way at one time, and to one provider:"""
_AT_ONE_TIME: Final = 4
_IDLE_S: Final = 1.0
_SESSION_ALIVE_MS: Final = 60_000

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.delivering")


class Postman(Protocol):
    """`hub.workers.orders.Orders`."""

    async def attest(self, provider: Address, attested: Attested) -> str:
        """Raises WorkerError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """Pauses double from the first to the longest."""

    first_retry_s: float = 1.0
    longest_retry_s: float = 300.0
    give_up_s: float = 7 * 86_400


class Delivering:
    """One per process: each sends to the providers that are connected to it."""

    def __init__(
        self,
        settings: DeliverySettings,
        *,
        store: Store,
        postman: Postman,
        is_connected: Callable[[Address], bool],
        asked_of: AskedOf,
        metrics: AttestationMetrics,
    ) -> None:
        """`is_connected`: whether a provider's session is at this process."""
        self._settings = settings
        self._store = store
        self._postman = postman
        self._is_connected = is_connected
        self._asked_of = asked_of
        self._metrics = metrics
        self._under_way: dict[str, str] = {}
        """By job, whose provider is being told."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with self._store.announcements.subscribe(receipts.ATTESTATION_TOPIC) as changes:
                while True:
                    try:
                        await self._begin_due()
                    except StoreError as error:
                        _log.warning("delivering_paused", detail=str(error))
                    await changes.wait(_IDLE_S)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _begin_due(self) -> None:
        """Each in a task of its own: who answers slowly, or not at all, keeps nobody else waiting."""
        now = now_ms()
        elsewhere = await self._elsewhere(now)
        counts = Counter(self._under_way.values())
        busy = {provider for provider, count in counts.items() if count >= _AT_ONE_TIME}
        limit, under_way = _BATCH - len(self._under_way), list(self._under_way)
        if limit <= 0:
            return
        due = await self._store.read(
            lambda c: receipts.due_deliveries(c, now, limit=limit, without=elsewhere | busy, under_way=under_way)
        )
        for receipt in due:
            if counts[receipt.provider] < _AT_ONE_TIME:
                counts[receipt.provider] += 1
                self._begin(receipt)

    async def _elsewhere(self, now: int) -> set[str]:
        """Providers whose sessions are at another process of this hub."""
        if not self._store.is_shared:
            return set()
        alive = await self._store.read(lambda c: sessions.alive(c, since_ms=now - _SESSION_ALIVE_MS))
        return {each.provider for each in alive if not self._is_connected(parse_address(each.provider))}

    def _begin(self, receipt: receipts.Receipt) -> None:
        self._under_way[receipt.job_id] = receipt.provider
        task = asyncio.create_task(self._attempt(receipt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attempt(self, receipt: receipts.Receipt) -> None:
        try:
            await self._deliver(receipt)
        except StoreError as error:
            _log.warning("delivering_paused", detail=str(error))
        except Exception:  # noqa: BLE001 - one receipt that cannot be sent must not stop all others
            _log.exception("delivering_failed", job_id=receipt.job_id)
            with suppress(StoreError):
                await self._note(receipt, "internal: see the log")
        finally:
            del self._under_way[receipt.job_id]

    async def _deliver(self, kept: receipts.Receipt) -> None:
        assert kept.attestation is not None
        receipt = kept_receipt(kept.receipt_json)
        request, fee = (None, NO_FEE) if kept.form != receipts.Form.SETTLE else await self._terms_of(kept.job_id)
        message = attested_message(kept.form, receipt, kept.provider_signature, kept.attestation, request, fee)
        elsewhere = await self._elsewhere(now_ms())
        others = [
            who
            for who, _ in receipt.payouts()
            if who != receipt.provider and (self._is_connected(who) or to_checksum_address(who) in elsewhere)
        ]
        outcomes = await asyncio.gather(*(self._send(who, message, kept) for who in (receipt.provider, *others)))
        await self._note(kept, outcomes[0])

    async def _terms_of(self, job_id: str) -> tuple[ClientRequest, Fee]:
        """What a settlement says beside its receipt."""
        job = await self._store.read(lambda c: jobs.get(c, job_id))
        assert job is not None
        return self._asked_of(job).request, Fee.from_object(job.facts[FEE_FACT]) if FEE_FACT in job.facts else NO_FEE

    async def _send(self, provider: Address, message: Attested, kept: receipts.Receipt) -> str | None:
        """What went wrong, None where it has it."""
        try:
            state = await self._postman.attest(provider, message)
        except WorkerError as error:
            self._metrics.deliveries.labels("failed").inc()
            return f"{error.reason}: {error.detail}"[:500]
        self._metrics.deliveries.labels("ok").inc()
        _log.info("delivered", job_id=kept.job_id, state=state)
        return None

    async def _note(self, kept: receipts.Receipt, error: str | None) -> None:
        now, next_ms = now_ms(), None
        if error is not None:
            assert kept.attested_at_ms is not None
            is_given_up = now - kept.attested_at_ms > self._settings.give_up_s * 1_000
            pause_s = retry_pause_s(
                kept.delivery_attempts,
                first_s=self._settings.first_retry_s,
                longest_s=self._settings.longest_retry_s,
            )
            next_ms = None if is_given_up else now + round(pause_s * 1_000)
            event = "delivery_given_up" if is_given_up else "delivery_failed"
            _log.warning(event, job_id=kept.job_id, provider=kept.provider, detail=error)
        await self._store.write(
            lambda t: receipts.note_delivery(t, kept.job_id, error=error, next_ms=next_ms, now_ms=now)
        )


def retry_pause_s(failures_before: int, *, first_s: float, longest_s: float) -> float:
    """The pause after a failure when there were so many before it: it doubles up to the longest."""
    return float(min(longest_s, first_s * 2 ** min(failures_before, 32)))
