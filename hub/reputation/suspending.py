"""Pauses and bans, brought to providers' sessions by the process that has them; they stand in the database."""

from collections.abc import Collection, Sequence
from typing import Final, Protocol

import structlog

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.types import Address
from hub.store import providers, sessions
from hub.store.errors import StoreError
from hub.store.providers import Provider
from hub.store.store import Store, now_ms
from hub.store.transaction import Reader
from hub.workers.desk import WorkerView

_POLL_S: Final = 5.0
_FOR_GOOD_MS: Final = 2**53
_MAX_DETAIL_CHARACTERS: Final = 500

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.reputation")


class Sessions(Protocol):
    """`hub.workers.workers.Workers`."""

    def views(self) -> Sequence[WorkerView]:
        """Who is connected to this process."""

    def suspend(self, provider: Address, reason: str, detail: str, until_s: float | None = None) -> None:
        """No work, and why."""

    def lift(self, provider: Address) -> None:
        """Work again."""

    def ban(self, provider: Address, detail: str) -> None:
        """Ends its session."""


class Suspending:
    """The loop."""

    def __init__(self, store: Store, workers: Sessions) -> None:
        self._store = store
        self._workers = workers
        self._told: dict[Address, tuple[str, int]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with self._store.announcements.subscribe(sessions.TOPIC) as changes:
            while True:
                try:
                    await self.apply()
                except StoreError as error:
                    _log.warning("suspensions_not_read", detail=str(error))
                await changes.wait(_POLL_S)

    async def apply(self) -> None:
        """Tells each provider that is connected here what has changed for it."""
        present = {view.address: to_checksum_address(view.address) for view in self._workers.views()}
        self._told = {address: told for address, told in self._told.items() if address in present}
        if not present:
            return
        known = await self._store.read(lambda c: _of(c, frozenset(present.values())))
        now = now_ms()
        for address, name in present.items():
            provider = known.get(name)
            if provider is None:
                continue
            if provider.is_banned:
                self._workers.ban(address, provider.ban_detail or "the operator of this hub has banned this provider")
                continue
            self._tell(address, provider, now)

    def _tell(self, address: Address, provider: Provider, now: int) -> None:
        until_ms = provider.suspended_until_ms
        if until_ms is None or until_ms <= now:
            if self._told.pop(address, None) is not None:
                self._workers.lift(address)
            return
        news = (provider.suspended_reason or "suspended", until_ms)
        if self._told.get(address) != news:
            self._told[address] = news
            until_s = None if until_ms >= _FOR_GOOD_MS else until_ms / 1_000
            detail = (provider.suspended_detail or "no work for now")[:_MAX_DETAIL_CHARACTERS]
            self._workers.suspend(address, news[0], detail, until_s)
            _log.warning("provider_suspended", provider=provider.address, reason=news[0], until_s=until_s)


def _of(reader: Reader, names: Collection[str]) -> dict[str, Provider]:
    """Rows by address."""
    return {provider.address: provider for provider in providers.every(reader) if provider.address in names}
