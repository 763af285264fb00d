"""The ledger's tests run on the store's databases."""

from tests.hub.store.conftest import (
    open_store,
    postgresql_database,
    postgresql_server,
    sqlite_database,
    store,
    url,
)

__all__ = ["open_store", "postgresql_database", "postgresql_server", "sqlite_database", "store", "url"]
