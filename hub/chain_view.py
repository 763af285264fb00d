"""What the hub knows of the chain, read anew every second: the providers it has keys for, its attester's standing.

Providers are asked for one by one, by the addresses in the operator's file: how many others register does not matter.
"""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import structlog

from chain.answers import AttestersView, ProviderView
from chain.client import AsyncNodeClient, NodeError, NodeRefused
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.types import Address, Amount
from hub.selection import Offer

_SECONDS_PER_PROVIDER: Final = 0.01  # So that a thousand providers do not mean a thousand requests a second.
_MAX_CONCURRENT_READS: Final = 8

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.chain_view")


@dataclass(frozen=True, slots=True)
class ChainSnapshot:
    """One reading."""

    offers: tuple[Offer, ...]
    """Active providers that this hub has a key for."""
    receipt_ceiling_atoms: Amount
    attester_fault: str | None
    """Why an attestation of this hub would not lead to a mint, in a sentence; None when it would."""
    is_minting_paused: bool
    read_at_monotonic_s: float


class ChainView:
    """Keeps the newest snapshot. `refresh` once before use, then `keep_fresh` as a task."""

    def __init__(
        self,
        node: AsyncNodeClient,
        *,
        attester: Address,
        providers: Collection[Address],
        refresh_s: float,
        grace_s: float,
    ) -> None:
        self._node = node
        self._attester = attester
        self._providers = sorted(providers)
        self._pause_s = max(refresh_s, len(self._providers) * _SECONDS_PER_PROVIDER)
        self._grace_s = grace_s + self._pause_s
        self._newest: ChainSnapshot | None = None

    @property
    def snapshot(self) -> ChainSnapshot | None:
        """The newest reading; None where the node has been silent for longer than the grace allows."""
        newest = self._newest
        if newest is None or time.monotonic() - newest.read_at_monotonic_s > self._grace_s:
            return None
        return newest

    async def refresh(self) -> ChainSnapshot:
        """Reads everything once; raises NodeError where the node does not answer."""
        read_at = time.monotonic()
        attesters = await self._node.attesters()
        parameters = await self._node.parameters()
        limit = asyncio.Semaphore(_MAX_CONCURRENT_READS)
        views = await asyncio.gather(*(self._read_provider(address, limit) for address in self._providers))
        offers = tuple(
            _offer(address, view)
            for address, view in zip(self._providers, views, strict=True)
            if view is not None and view.active
        )
        self._newest = ChainSnapshot(
            offers=offers,
            receipt_ceiling_atoms=Amount(parameters.parameters["receipt_ceiling_atoms"]),
            attester_fault=attester_fault(attesters, self._attester),
            is_minting_paused=parameters.minting_paused,
            read_at_monotonic_s=read_at,
        )
        return self._newest

    async def keep_fresh(self) -> None:
        """Reads until cancelled; a silent node is told once, when it falls silent and when it is back."""
        was_silent = False
        while True:
            await asyncio.sleep(self._pause_s)
            try:
                await self.refresh()
            except NodeError as error:
                if not was_silent:
                    _log.warning("node_silent", detail=str(error))
                was_silent = True
            else:
                if was_silent:
                    _log.info("node_back")
                was_silent = False

    async def _read_provider(self, address: Address, limit: asyncio.Semaphore) -> ProviderView | None:
        async with limit:
            try:
                return await self._node.provider(address)
            except NodeRefused as error:
                if error.status == 404:
                    return None
                raise


def _offer(address: Address, view: ProviderView) -> Offer:
    """Of the provider that was asked for, whatever address the answer names."""
    counted = view.reputation
    return Offer(
        address=address,
        endpoint=view.endpoint.rstrip("/"),
        models=tuple(view.models),
        price_per_unit=Amount(view.price_per_unit),
        unit_type=view.unit_type,
        vram_mib=view.vram_mib,
        receipts=counted.receipts,
        complaints=counted.failures + counted.disputes + counted.breaches,
    )


def attester_fault(attesters: AttestersView, attester: Address) -> str | None:
    """Why the chain would not mint on this attester's signature, in a sentence; None when it would."""
    name = to_checksum_address(attester)
    if all(entry.address.lower() != name.lower() for entry in attesters.attesters):
        return f"the attester {name} is not on the chain's list of attesters"
    if attesters.threshold > 1:
        return f"the chain asks for {attesters.threshold} attesters on each mint, and this hub signs alone"
    return None
