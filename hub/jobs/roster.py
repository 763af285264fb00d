"""The providers that are connected, as the scheduler sees them: offers, speeds, standing, what they have to do."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.types import Address
from hub.chain_view import RegisteredProvider
from hub.jobs import elsewhere
from hub.jobs.elsewhere import Elsewhere
from hub.scheduling.speed import SpeedBook
from hub.scheduling.workers import Offer, Standing, Worker
from hub.store import providers
from hub.store.providers import Provider
from hub.store.store import Store, now_ms
from hub.store.transaction import Reader, Transaction
from hub.workers.desk import WorkerView

_REFRESH_S: Final = 2.0
SPEEDS_FACT: Final = "speeds"

SpeedRows = Sequence[tuple[str, int, float]]


class Roster:
    """On the event loop's thread. What is known of a provider is read again every two seconds."""

    def __init__(self, store: Store, process: str) -> None:
        """`process`: this one's name among those that share the database."""
        self._store = store
        self._process = process
        self._elsewhere = Elsewhere({}, {})
        self._records: dict[str, Provider] = {}
        self._speeds: dict[Address, SpeedBook] = {}
        self._written_at_s: dict[Address, float] = {}
        self._expected: dict[str, tuple[Address, float]] = {}
        self._held_until_s: dict[Address, float] = {}
        self._registered: dict[Address, RegisteredProvider] = {}
        self._read_at_s = float("-inf")

    async def refresh(self) -> None:
        """Reads what the database says of providers, unless that was done a moment ago."""
        if time.monotonic() < self._read_at_s + _REFRESH_S:
            return
        self._read_at_s = time.monotonic()
        self._records = {record.address: record for record in await self._store.read(providers.every)}
        self._elsewhere = await self._store.read(lambda r: elsewhere.read(r, self._process))

    def forget(self) -> None:
        """The next refresh reads anew."""
        self._read_at_s = float("-inf")

    def record(self, provider: Address) -> Provider | None:
        """What is known of a provider, as of the last refresh."""
        return self._records.get(to_checksum_address(provider))

    def register(self, entry: RegisteredProvider) -> None:
        """What a provider that is connected has on the chain."""
        self._registered[entry.address] = entry

    # Under way

    def expect(self, lease_id: str, provider: Address, ends_at_s: float) -> None:
        """It has this lease, and is expected to be done with it then, on the monotonic clock."""
        self._expected[lease_id] = (provider, ends_at_s)

    def release(self, lease_id: str) -> None:
        """It has it no more."""
        self._expected.pop(lease_id, None)

    @property
    def has_leases(self) -> bool:
        """Whether anybody here is at work."""
        return bool(self._expected)

    def hold(self, provider: Address, until_s: float) -> None:
        """It has said that it is busy: it gets nothing until then, on the monotonic clock."""
        self._held_until_s[provider] = until_s

    def release_all(self, provider: Address) -> None:
        """Of a provider whose session has ended."""
        for lease_id in [key for key, (holder, _) in self._expected.items() if holder == provider]:
            del self._expected[lease_id]

    # As the scheduler sees them

    def workers(self, views: Iterable[WorkerView]) -> list[Worker]:
        """One for each."""
        busy: dict[Address, list[float]] = {}
        for provider, ends_at_s in self._expected.values():
            busy.setdefault(provider, []).append(ends_at_s)
        now_s = time.monotonic()
        self._held_until_s = {who: until_s for who, until_s in self._held_until_s.items() if until_s > now_s}
        return [self._worker(view, self._busy_until_s(view, busy.get(view.address, ()))) for view in views]

    def _busy_until_s(self, view: WorkerView, leases_s: Sequence[float]) -> Sequence[float]:
        """When each of its slots is free; whoever is held has none before."""
        held_s = self._held_until_s.get(view.address)
        idle = max(0, max(1, view.slots) - len(leases_s))
        return sorted(leases_s if held_s is None else [*leases_s, *[held_s] * idle])

    def everyone(self, here: Iterable[WorkerView]) -> list[Worker]:
        """Those who are connected to this process, and those of other processes, as of the last refresh."""
        mine = self.workers(here)
        present = {worker.address for worker in mine}
        busy = self._elsewhere.busy_until_s
        return mine + [
            self._worker(view, sorted(busy.get(view.address, ())))
            for view in self.views_elsewhere()
            if view.address not in present
        ]

    def taken_elsewhere(self) -> list[Worker]:
        """Those of other processes, without a free slot: they count where work is laid out, and are given none here."""
        now_s = time.monotonic()
        busy = self._elsewhere.busy_until_s
        found = [self._worker(view, busy.get(view.address, ())) for view in self.views_elsewhere()]
        return [
            msgspec.structs.replace(
                worker, busy_until_s=tuple(sorted((*worker.busy_until_s, *[now_s] * worker.free_slots)))
            )
            for worker in found
        ]

    def views_elsewhere(self) -> list[WorkerView]:
        """Whoever is connected to another process of this hub, as of the last refresh."""
        return list(self._elsewhere.views.values())

    def is_elsewhere(self, provider: Address) -> bool:
        """Whether another process had its session at the last refresh."""
        return provider in self._elsewhere.views

    def _worker(self, view: WorkerView, busy_until_s: Sequence[float]) -> Worker:
        record = self.record(view.address)
        entry = self._registered.get(view.address)
        offers = {
            name: Offer(model.price_per_unit, view.unit_type)
            for name, model in view.models.items()
            if entry is None or name in entry.models
        }
        return Worker(
            address=view.address,
            offers=offers,
            loaded=frozenset(name for name, model in view.models.items() if model.is_loaded),
            vram_mib=view.vram_mib,
            concurrency=max(1, view.slots),
            busy_until_s=tuple(busy_until_s),
            speeds=self.speeds(view.address).speeds(),
            batch_rows=max(1, view.concurrency // max(1, view.slots)),
            most_pictures=view.max_pictures,
            standing=Standing.NEW if record is None else Standing(record.standing.value),
            reputation=1.0 if record is None else record.score,
            is_draining=view.is_draining,
            is_paused=view.suspension is not None or is_paused(record),
        )

    def speeds(self, provider: Address) -> SpeedBook:
        """How fast it has been seen to be."""
        book = self._speeds.get(provider)
        if book is None:
            record = self.record(provider)
            rows = [] if record is None else record.benchmark.get(SPEEDS_FACT, [])
            book = SpeedBook((str(model), int(size), float(speed)) for model, size, speed in rows)
            if record is not None:
                self._speeds[provider] = book
        return book

    def measured(self, provider: Address, book: SpeedBook) -> bool:
        """A measurement was added to the book; whether it is time to write it down. Others read it as seldom."""
        self._speeds[provider] = book
        now_s = time.monotonic()
        if now_s < self._written_at_s.get(provider, float("-inf")) + _REFRESH_S:
            return False
        self._written_at_s[provider] = now_s
        return True


def is_paused(record: Provider | None) -> bool:
    """Banned, or suspended for a while yet."""
    if record is None:
        return False
    return record.is_banned or (record.suspended_until_ms or 0) > now_ms()


def keep_speeds(transaction: Transaction, provider: str, rows: SpeedRows, now: int) -> None:
    """Writes measured speeds down: a book's `rows`."""
    providers.change(
        transaction,
        provider,
        lambda record: replace(record, benchmark={**record.benchmark, SPEEDS_FACT: rows}, last_seen_at_ms=now),
        now,
    )


def ban_of(reader: Reader, provider: Address) -> str | None:
    """Why this hub takes no work from it, in a sentence."""
    ban = providers.ban_of(reader, to_checksum_address(provider))
    return None if ban is None else ban[1] or ban[0]
