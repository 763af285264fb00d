"""A hub's database, for commands of its operator, who alone has its files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hub.commands.outcome import failed

if TYPE_CHECKING:
    from hub.store.store import Store


@contextmanager
def opened_store(data_dir: Path | None, database_url: str | None) -> "Iterator[Store]":
    """Of a hub that runs or does not."""
    from hub.opening import DATABASE_NAME
    from hub.store.store import Store

    folder = data_dir or (Path(os.environ["AITBC_HUB_DATA_DIR"]) if "AITBC_HUB_DATA_DIR" in os.environ else None)
    url = database_url or os.environ.get("AITBC_HUB_DATABASE_URL")
    if url is None:
        if folder is None or not (folder / DATABASE_NAME).exists():
            raise failed("say --data-dir with the folder of a hub, or --database-url")
        url = f"sqlite:///{folder / DATABASE_NAME}"
    store = Store(url, None)
    try:
        yield store
    finally:
        store.close_now()
