"""What attesting asks the chain: its attesters and bounds, providers' entries, and whether a receipt is used."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chain.answers import AttesterView, ProviderView, ReceiptView
from chain.client import AsyncNodeClient, NodeError, NodeRefused
from chain.primitives.hexadecimal import parse_address
from chain.primitives.types import Address, Hash32
from hub.attestation.errors import NotYet

_FRESH_S: Final = 2.0
_RETRY_S: Final = 2.0
_NOT_FOUND: Final = 404
_CONCURRENT: Final = 8


@dataclass(frozen=True, slots=True)
class Attesters:
    """Who may attest, how many must, and how much one receipt may mint."""

    threshold: int
    by_address: dict[Address, AttesterView]
    ceiling_atoms: int

    def has_allowance(self, attester: Address, atoms: int) -> bool:
        """Whether the chain would take a receipt of so many minted atoms on its signature in this period."""
        view = self.by_address.get(attester)
        if view is None or view.used_receipts >= view.receipts_per_period:
            return False
        return not atoms or view.used_atoms + atoms <= view.atoms_per_period


class AttestationChain:
    """A node's answers; every failure to have one is NotYet (`chain_silent`)."""

    def __init__(self, node: AsyncNodeClient) -> None:
        self._node = node
        self._attesters: Attesters | None = None
        self._read_at_s = 0.0
        self._reading = asyncio.Lock()

    async def attesters(self) -> Attesters:
        """As of a moment ago."""
        async with self._reading:
            if self._attesters is None or time.monotonic() - self._read_at_s > _FRESH_S:
                try:
                    listed = await self._node.attesters()
                    parameters = await self._node.parameters()
                except NodeError as error:
                    raise _silent(error) from None
                self._attesters = Attesters(
                    listed.threshold,
                    {parse_address(view.address): view for view in listed.attesters},
                    int(parameters.parameters["receipt_ceiling_atoms"]),
                )
                self._read_at_s = time.monotonic()
            return self._attesters

    async def providers(self, addresses: Iterable[Address]) -> dict[Address, ProviderView | None]:
        """Their entries in the registry; None for who never registered."""
        limit = asyncio.Semaphore(_CONCURRENT)

        async def read(address: Address) -> tuple[Address, ProviderView | None]:
            async with limit:
                try:
                    return address, await self._node.provider(address)
                except NodeRefused as refused:
                    if refused.status == _NOT_FOUND:
                        return address, None
                    raise _silent(refused) from None
                except NodeError as error:
                    raise _silent(error) from None

        return dict(await asyncio.gather(*(read(address) for address in set(addresses))))

    async def use_of(self, receipt_hash: Hash32 | str) -> ReceiptView | None:
        """How a receipt was used, None where it was not."""
        try:
            return await self._node.receipt(receipt_hash)
        except NodeRefused as refused:
            if refused.status == _NOT_FOUND:
                return None
            raise _silent(refused) from None
        except NodeError as error:
            raise _silent(error) from None


def _silent(error: NodeError) -> NotYet:
    return NotYet("chain_silent", f"the chain cannot be asked now: {error}", _RETRY_S)
