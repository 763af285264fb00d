"""Whose data folder it is, and the secrets that were drawn for it once."""

import secrets
from typing import Final

from sqlalchemy.dialects.sqlite import insert

from provider.errors import ConfigurationError
from provider.storage.database import Database
from provider.storage.tables import IdentityRow, SecretRow

_SECRET_BYTES: Final = 32


class FolderIdentity:
    """Facts that never change."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def bind(self, name: str, value: str) -> None:
        """Remembers a fact that must never change (genesis hash, provider); raises ConfigurationError when it has."""
        with self._database.writing() as session:
            session.execute(insert(IdentityRow).values(name=name, value=value).on_conflict_do_nothing())
            known = session.get_one(IdentityRow, name).value
        if known != value:
            message = f"this data folder belongs to {name} {known}, not {value}; choose another --data-dir"
            raise ConfigurationError(message, reason="data_dir_of_another_network")

    def get(self, name: str) -> str | None:
        """A fact that `bind` has stored."""
        with self._database.reading() as session:
            row = session.get(IdentityRow, name)
            return None if row is None else row.value

    def secret(self, name: str) -> bytes:
        """32 random bytes, the same ones whenever this folder is asked."""
        with self._database.writing() as session:
            fresh = secrets.token_bytes(_SECRET_BYTES)
            session.execute(insert(SecretRow).values(name=name, value=fresh).on_conflict_do_nothing())
            return session.get_one(SecretRow, name).value
