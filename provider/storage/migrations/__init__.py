"""The steps from an empty file, or an older one, to the present tables.

A change of `tables` gets a file of its own in `versions` (copy the newest, name the one before it as `down_revision`)
and its revision here. `tests/provider/storage/test_migrations.py` says where tables and steps differ.
"""

from typing import Final

HEAD: Final = "0003"
"""The newest revision."""

ADOPTED: Final = "0001"
"""What a file without Alembic's mark is: the first outbox was made before there were migrations."""
