"""What the hub knows of the chain: read anew every second what it needs always, and providers as they dial in."""

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

_FRESH_S: Final = 2.0
_MOST_KNOWN: Final = 10_000

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.chain_view")


@dataclass(frozen=True, slots=True)
class RegisteredProvider:
    """An active provider's entry in the chain's registry."""

    address: Address
    endpoint: str
    models: tuple[str, ...]
    price_per_unit: Amount
    """Atoms per unit of `unit_type`."""
    unit_type: str
    vram_mib: int
    receipts: int
    """Ever paid for, as the chain has counted."""
    complaints: int
    """Failures, disputes and breaches that attesters recorded."""


@dataclass(frozen=True, slots=True)
class ChainSnapshot:
    """One reading."""

    receipt_ceiling_atoms: Amount
    attesters: tuple[Address, ...]
    threshold: int
    """So many of them sign each mint."""
    attester_fault: str | None
    """Why an attestation of this hub would not lead to a mint, in a sentence; None when it would."""
    read_at_monotonic_s: float


class ChainView:
    """Keeps the newest snapshot. `refresh` once before use, then `keep_fresh` as a task."""

    def __init__(
        self, node: AsyncNodeClient, *, attester: Address, co_attesters: int = 0, refresh_s: float, grace_s: float
    ) -> None:
        """`co_attesters`: how many other hubs' attesters this one can ask."""
        self._node = node
        self._attester = attester
        self._co_attesters = co_attesters
        self._pause_s = refresh_s
        self._grace_s = grace_s + refresh_s
        self._newest: ChainSnapshot | None = None
        self._providers: dict[Address, tuple[float, RegisteredProvider | None]] = {}

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
        self._newest = ChainSnapshot(
            receipt_ceiling_atoms=Amount(parameters.parameters["receipt_ceiling_atoms"]),
            attesters=tuple(Address(bytes.fromhex(entry.address[2:])) for entry in attesters.attesters),
            threshold=attesters.threshold,
            attester_fault=attester_fault(attesters, self._attester, self._co_attesters),
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

    async def provider(self, address: Address) -> RegisteredProvider | None:
        """Its active entry, at most two seconds old; raises NodeError."""
        known = self._providers.get(address)
        if known is not None and time.monotonic() - known[0] < _FRESH_S:
            return known[1]
        entry = await self._read_provider(address)
        if len(self._providers) >= _MOST_KNOWN:
            self._providers.clear()
        self._providers[address] = (time.monotonic(), entry)
        return entry

    def known_providers(self, addresses: Collection[Address]) -> list[RegisteredProvider]:
        """As they were read last."""
        entries = (self._providers.get(address) for address in addresses)
        return [known[1] for known in entries if known is not None and known[1] is not None]

    async def _read_provider(self, address: Address) -> RegisteredProvider | None:
        try:
            view = await self._node.provider(address)
        except NodeRefused as error:
            if error.status == 404:
                return None
            raise
        return _registered(address, view) if view.active else None


def _registered(address: Address, view: ProviderView) -> RegisteredProvider:
    """Of the provider that was asked for, whatever address the answer names."""
    counted = view.reputation
    return RegisteredProvider(
        address=address,
        endpoint=view.endpoint.rstrip("/"),
        models=tuple(view.models),
        price_per_unit=Amount(view.price_per_unit),
        unit_type=view.unit_type,
        vram_mib=view.vram_mib,
        receipts=counted.receipts,
        complaints=counted.failures + counted.disputes + counted.breaches,
    )


def attester_fault(attesters: AttestersView, attester: Address, co_attesters: int = 0) -> str | None:
    """Why the chain would not mint on the signatures that this hub can get, in a sentence; None when it would."""
    name = to_checksum_address(attester)
    if all(entry.address.lower() != name.lower() for entry in attesters.attesters):
        return f"the attester {name} is not on the chain's list of attesters: governance must add it"
    if attesters.threshold > 1 + co_attesters:
        asked = f"and {co_attesters} other hubs' are asked" if co_attesters else "and this hub signs alone"
        return f"the chain asks for {attesters.threshold} attesters on each mint, {asked}"
    return None
