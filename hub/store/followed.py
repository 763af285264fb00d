"""Up to which final block the chain's events are in the books; moved in the unit that books them."""

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from hub.store.tables.attesting import FOLLOWED
from hub.store.transaction import Reader, Transaction


def height(reader: Reader, name: str) -> int | None:
    """The last block that was booked whole; None before the first."""
    found: int | None = reader.execute(select(FOLLOWED.c.height).where(FOLLOWED.c.name == name)).scalar_one_or_none()
    return found


def advance(transaction: Transaction, name: str, after: int | None, to: int) -> bool:
    """From `after` to `to`; False where another process was quicker: then nothing may be booked."""
    if after is None:
        begin = sqlite.insert if transaction.is_sqlite else postgresql.insert
        begun = transaction.execute(
            begin(FOLLOWED).values(name=name, height=to).on_conflict_do_nothing(index_elements=["name"])
        )
        return begun.rowcount == 1
    moved = transaction.execute(
        update(FOLLOWED).where(FOLLOWED.c.name == name, FOLLOWED.c.height == after).values(height=to)
    )
    return moved.rowcount == 1
