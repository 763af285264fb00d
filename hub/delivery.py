"""Brings each attestation to the provider that earned it: at once, then again with growing pauses, across restarts.

What is due stands in the database, so nothing is forgotten when the hub is killed. A provider that has the attestation
already answers the same again. Whoever cannot be reached for days is given up: the client has receipt and attestation
too, and anybody may send the mint.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from chain.primitives.hexadecimal import parse_address
from chain.primitives.types import Address
from hub.chain_view import ChainView
from hub.errors import FaultReason, ProviderFault
from hub.metrics import HubMetrics
from hub.provider_client import ProviderClient
from hub.settings import HubSettings
from hub.store import Store, now_ms
from hub.tables import ReceiptRow

_BATCH: Final = 32
_TIMEOUT_S: Final = 15.0
_IDLE_PAUSE_S: Final = 0.5  # New attestations wake the loop at once; this is for retries that become due.

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.delivery")


class Delivery:
    """The loop; `run` it as a task. `wake` is set whenever there is something new."""

    def __init__(
        self,
        settings: HubSettings,
        *,
        store: Store,
        chain: ChainView,
        client: ProviderClient,
        keys: Mapping[Address, str],
        metrics: HubMetrics,
        wake: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._store = store
        self._chain = chain
        self._client = client
        self._keys = keys
        self._metrics = metrics
        self._wake = wake

    async def run(self) -> None:
        """Delivers until cancelled."""
        while True:
            self._wake.clear()
            due = await asyncio.to_thread(self._store.due_deliveries, _BATCH)
            await asyncio.gather(*(self._deliver(receipt) for receipt in due))
            self._metrics.undelivered.set(await asyncio.to_thread(self._store.count_undelivered))
            if len(due) < _BATCH:
                try:
                    await asyncio.wait_for(self._wake.wait(), _IDLE_PAUSE_S)
                except TimeoutError:
                    continue

    async def _deliver(self, receipt: ReceiptRow) -> None:
        assert receipt.attestation is not None
        provider = parse_address(receipt.provider)
        try:
            key = self._keys.get(provider)
            if key is None:
                raise ProviderFault(FaultReason.KEY_REFUSED, "the providers file has no key for this provider any more")
            await self._client.deliver(
                self._endpoint(provider, receipt.endpoint),
                key,
                receipt_hash=receipt.receipt_hash,
                attestation=receipt.attestation,
                timeout_s=_TIMEOUT_S,
            )
        except ProviderFault as fault:
            await self._note_failure(receipt, fault)
        else:
            await asyncio.to_thread(self._store.note_delivery, receipt.job_id, error=None, next_ms=None)
            self._metrics.deliveries.labels("ok").inc()
            _log.info("delivered", job_id=receipt.job_id, provider=receipt.provider)

    async def _note_failure(self, receipt: ReceiptRow, fault: ProviderFault) -> None:
        assert receipt.attested_at_ms is not None
        self._metrics.deliveries.labels(fault.reason.value).inc()
        is_given_up = now_ms() - receipt.attested_at_ms > self._settings.delivery_give_up_s * 1000
        pause_s = retry_pause_s(
            receipt.delivery_attempts,
            first_s=self._settings.delivery_first_retry_s,
            longest_s=self._settings.delivery_longest_retry_s,
        )
        _log.warning(
            "delivery_given_up" if is_given_up else "delivery_failed",
            job_id=receipt.job_id,
            provider=receipt.provider,
            reason=fault.reason.value,
            detail=fault.message,
            retry_in_s=None if is_given_up else pause_s,
        )
        await asyncio.to_thread(
            self._store.note_delivery,
            receipt.job_id,
            error=f"{fault.reason.value}: {fault.message}",
            next_ms=None if is_given_up else now_ms() + round(pause_s * 1000),
        )

    def _endpoint(self, provider: Address, served_from: str) -> str:
        """Where the provider is now, if it is registered still; else where it served the job."""
        snapshot = self._chain.snapshot
        if snapshot is not None:
            for offer in snapshot.offers:
                if offer.address == provider:
                    return offer.endpoint
        return served_from


def retry_pause_s(failures_before: int, *, first_s: float, longest_s: float) -> float:
    """The pause after a failure when there were so many before it: it doubles up to the longest."""
    return float(min(longest_s, first_s * 2 ** min(failures_before, 32)))
