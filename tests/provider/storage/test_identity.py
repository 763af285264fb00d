"""Whose folder it is, and its secrets."""

from pathlib import Path

import pytest

from provider.errors import ConfigurationError
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity


def test_a_folder_stays_with_its_network(folder: Path) -> None:
    with Database(folder) as database:
        assert FolderIdentity(database).get("genesis_hash") is None
        FolderIdentity(database).bind("genesis_hash", "0x11")
        FolderIdentity(database).bind("genesis_hash", "0x11")
    with Database(folder) as database:
        with pytest.raises(ConfigurationError, match="belongs to genesis_hash 0x11"):
            FolderIdentity(database).bind("genesis_hash", "0x22")
        assert FolderIdentity(database).get("genesis_hash") == "0x11"


def test_secrets_are_drawn_once_and_differ(folder: Path) -> None:
    with Database(folder) as database:
        links, other = (FolderIdentity(database).secret(name) for name in ("links", "other"))
        assert len(links) == 32
        assert links != other
    with Database(folder) as database:
        assert FolderIdentity(database).secret("links") == links
