"""The open database of a hub: units of work are written, queries read, and processes told of changes.

What `write` has returned from survives a power cut. See `hub.store.writing` for what a unit may and may not do.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from hub.errors import HubConfigurationError
from hub.store.announcements import Announcements
from hub.store.database import open_engine, transaction
from hub.store.errors import translated
from hub.store.locks import ANYTHING
from hub.store.reading import Query, Readers
from hub.store.tables.schema import IDENTITY
from hub.store.transaction import Reading
from hub.store.writing import Unit, Writer

_READERS: Final = 4
_READERS_OF_SQLITE: Final = 2
"""It answers from memory; four took more CPU for the same (docs/benchmarks.md)."""
_SCHEMA_VERSION_FOR_STAGE_1: Final = 2  # Any but 1, so that a hub of stage 1 refuses the database with a sentence.

Value = TypeVar("Value")


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class HubIdentity:
    """Whose data it is."""

    hub_id: str
    chain_id: int
    genesis_hash: str


class Store:
    """Opening blocks, and so does `close_now`; both are for a thread, or before and after the event loop's work."""

    def __init__(self, url: str, identity: HubIdentity | None) -> None:
        """Opens, makes or upgrades the database at an SQLAlchemy URL and binds a new one to `identity`.

        Without an identity (commands that only look) whoever it belongs to will do. Raises HubConfigurationError.
        """
        self._engine = open_engine(url)
        try:
            self.identity: Final = self._claim(identity)
            self.announcements: Final = Announcements(self._engine)
            self.announcements.open()
        except SQLAlchemyError as error:
            self._engine.dispose()
            raise HubConfigurationError(f"cannot use the hub's database: {translated(error)}") from None
        except BaseException:
            self._engine.dispose()
            raise
        count = _READERS if self.is_shared else _READERS_OF_SQLITE
        self._readers = Readers(self._engine, count)
        self._writer = Writer(self._engine, self.announcements)

    @property
    def is_shared(self) -> bool:
        """Whether several processes may serve on this database."""
        return self._engine.dialect.name == "postgresql"

    @property
    def units_waiting(self) -> int:
        """Units that the writer has not begun."""
        return self._writer.waiting

    async def write(self, unit: Unit[Value], *, first: str = ANYTHING) -> Value:
        """The unit's value, once it is on disk; raises what the unit raised, StoreBusy or StoreUnavailable.

        `first`: what it locks first (`hub.store.locks`).
        """
        return await self._writer.write(unit, first)

    def write_now(self, unit: Unit[Value]) -> Value:
        """The same for a thread of its own; never on the event loop."""
        return self._writer.write_now(unit)

    async def read(self, query: Query[Value]) -> Value:
        """The query's value, from a consistent view of what is committed; raises StoreUnavailable."""
        return await self._readers.read(query)

    def read_now(self, query: Query[Value]) -> Value:
        """The same in this thread."""
        try:
            with transaction(self._engine) as connection:
                return query(Reading(connection))
        except SQLAlchemyError as error:
            raise translated(error) from error

    async def close(self) -> None:
        """Commits what waits and closes every connection."""
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """The same, blocking."""
        self._writer.close()
        self._readers.close()
        self.announcements.close()
        self._engine.dispose()

    def _claim(self, identity: HubIdentity | None) -> HubIdentity | None:
        """Binds a new database to this hub and network; raises HubConfigurationError where it belongs to others."""
        with transaction(self._engine, is_writing=True) as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(text("LOCK TABLE identity"))  # Two processes that start at once.
            row = connection.execute(select(IDENTITY)).one_or_none()
            if row is None:
                if identity is not None:
                    connection.execute(
                        insert(IDENTITY).values(
                            id=1,
                            schema_version=_SCHEMA_VERSION_FOR_STAGE_1,
                            hub_id=identity.hub_id,
                            chain_id=identity.chain_id,
                            genesis_hash=identity.genesis_hash,
                        )
                    )
                return identity
        found = HubIdentity(row.hub_id, row.chain_id, row.genesis_hash)
        if identity is not None and found != identity:
            raise HubConfigurationError(
                f"the database belongs to hub {found.hub_id} on chain {found.chain_id} (genesis {found.genesis_hash}), "
                f"not to hub {identity.hub_id} on chain {identity.chain_id} (genesis {identity.genesis_hash}); "
                "use another --data-dir or database"
            )
        return found
