"""The provider's entry in the chain's registry: enter it, keep it true, take it back."""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from chain.answers import ProviderView, TransactionView
from chain.client import AsyncNodeClient, NodeError, NodeRefused
from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.modules import PUBLISH_SLA, REGISTER, REGISTRY, UPDATE, WITHDRAW
from chain.primitives.types import ZERO_ADDRESS, Address, Hash32
from provider.errors import ConfigurationError, ProviderError
from provider.minting.chain_account import ChainAccount
from provider.settings import ProviderSettings

FINAL_TIMEOUT_S: Final = 60.0
_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 60.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.registration")


class RegistrationError(ProviderError):
    """The chain did not take the entry, or took it without effect."""

    reason = "registration_failed"


@dataclass(frozen=True)
class RegistryEntry:
    """What the registry says of a provider; `payout` None is its own address, and only counts when it registers."""

    endpoint: str
    models: tuple[str, ...]
    price_per_unit: int
    unit_type: str
    vram_mib: int
    payout: str | None = None

    def register_call(self) -> bytes:
        """Call data that enters it."""
        payout = ZERO_ADDRESS if self.payout is None else parse_address(self.payout, "payout")
        return REGISTER.encode(*self._offer(), payout)

    def update_call(self) -> bytes:
        """Call data that replaces all but the payout address."""
        return UPDATE.encode(*self._offer())

    def matches(self, view: ProviderView) -> bool:
        """Whether the chain says this already."""
        on_chain = (view.endpoint, list(view.models), int(view.price_per_unit), view.unit_type, view.vram_mib)
        return on_chain == self._offer()

    def _offer(self) -> tuple[str, list[str], int, str, int]:
        return self.endpoint, list(self.models), self.price_per_unit, self.unit_type, self.vram_mib


class Registrar:
    """Sends registry calls from one account."""

    def __init__(self, account: ChainAccount) -> None:
        self._account = account
        self._client = account.client

    async def view(self) -> ProviderView | None:
        """The present entry, withdrawn ones included; None where there never was one."""
        return await find_provider(self._client, self._account.address)

    async def register(self, entry: RegistryEntry) -> TransactionView:
        """Enters it and waits until that is final; raises RegistrationError and NodeError."""
        return await self._send(entry.register_call())

    async def update(self, entry: RegistryEntry) -> TransactionView:
        """Replaces it; raises RegistrationError and NodeError."""
        return await self._send(entry.update_call())

    async def withdraw(self) -> TransactionView:
        """Takes it back; raises RegistrationError and NodeError."""
        return await self._send(WITHDRAW.encode())

    async def publish_sla(self, sla_hash: Hash32) -> TransactionView:
        """Links to a signed statement by its hash; raises RegistrationError and NodeError."""
        return await self._send(PUBLISH_SLA.encode(sla_hash))

    async def ensure(self, entry: RegistryEntry) -> None:
        """Registers or updates where the chain says something else."""
        view = await self.view()
        if view is None or not view.active:
            sent = await self.register(entry)
            _log.info("provider_registered", endpoint=entry.endpoint, transaction_hash=sent.hash)
            return
        if entry.payout is not None and parse_address(entry.payout) != parse_address(view.payout):
            # Only the registered address can name another; said, since the operator may think it done.
            _log.warning("payout_unchanged", payout=view.payout, wanted=entry.payout)
        if not entry.matches(view):
            sent = await self.update(entry)
            _log.info("registration_updated", endpoint=entry.endpoint, transaction_hash=sent.hash)

    async def keep_trying(self, entry: RegistryEntry) -> None:
        """`ensure`, until it has succeeded."""
        delay_s = _FIRST_RETRY_S
        while True:
            try:
                await self.ensure(entry)
                return
            except (NodeError, RegistrationError) as error:
                _log.warning("registration_postponed", detail=str(error), retry_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_RETRY_S)

    async def _send(self, call: bytes) -> TransactionView:
        async with self._account.lock:
            chain_id = (await self._client.status()).chain_id
            max_fee_atoms = await self._account.max_fee_atoms()
            nonce = (await self._account.view()).pending_nonce
            signed = self._account.sign(
                chain_id=chain_id, nonce=nonce, to=REGISTRY, call=call, max_fee_atoms=max_fee_atoms
            )
            try:
                await self._client.send_transaction(signed.raw)
            except NodeRefused as error:
                raise RegistrationError(f"the chain refuses: {error.message}", reason=error.reason) from None
        final = await self._client.wait_for_transaction(signed.hash, timeout_s=FINAL_TIMEOUT_S)
        if final.status != "success":
            raise RegistrationError(f"the call had no effect: {final.reason}", reason=final.reason)
        return final


async def find_provider(client: AsyncNodeClient, address: Address) -> ProviderView | None:
    """The registry's entry of an address, or None."""
    try:
        return await client.provider(to_checksum_address(address))
    except NodeRefused as error:
        if error.status != 404:
            raise
        return None


def registry_entry(settings: ProviderSettings, url: str, vram_mib: int) -> RegistryEntry:
    """What the settings say, for the registry; raises ConfigurationError where hubs could not reach the endpoint.

    The registry has one price for all models, and hubs refuse a receipt with another. So the entry has the default
    model's price, and names the models that cost as much; the others are for clients that come directly.
    """
    endpoint = settings.endpoint or url
    if "//0.0.0.0" in endpoint or "//[::]" in endpoint:
        message = f"hubs cannot reach {endpoint}: pass --endpoint with the provider's public URL"
        raise ConfigurationError(message, reason="bad_endpoint")
    price_per_unit = settings.price_of(settings.public_model_name)
    return RegistryEntry(
        endpoint=endpoint,
        models=tuple(name for name in settings.public_models if settings.price_of(name) == price_per_unit),
        price_per_unit=price_per_unit,
        unit_type=settings.unit_type,
        vram_mib=vram_mib,
        payout=settings.payout,
    )
