"""The steps from an empty database, or an older one, to the present tables.

A change of `hub.store.tables` gets a file of its own in `versions` (copy the newest, name the one before it as
`down_revision`) and its revision here. `tests/hub/store/test_migrations.py` says where tables and steps differ.
"""

from typing import Final

KNOWN: Final = ("0001", "0002", "0003", "0004", "0005")
"""Every revision; a database with any other was written by a newer program."""

HEAD: Final = KNOWN[-1]
"""The newest revision."""

ADOPTED: Final = "0001"
"""What a database with tables but without Alembic's mark is: a hub of stage 1 made them, without migrations."""
