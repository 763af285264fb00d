"""Who is connected to which of the hub's processes: one session per provider, a newer one in an older one's place."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from hub.store.records import columns_of, made
from hub.store.tables.providers import SESSIONS
from hub.store.transaction import Reader, Transaction

TOPIC: Final = "sessions"
"""Announced when a session came, went or was replaced, and when its provider was paused or banned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A connection."""

    session: str
    provider: str
    process: str
    declared: dict[str, Any]
    opened_at_ms: int
    beat_at_ms: int


_SESSION: Final = select(*columns_of(SESSIONS, Session))


def open_session(
    transaction: Transaction, session: str, *, provider: str, process: str, declared: dict[str, Any], now_ms: int
) -> Session | None:
    """The provider's session from now on; the one that it replaces, whose process closes it when it hears of this."""
    begin = sqlite.insert if transaction.is_sqlite else postgresql.insert
    query = _SESSION.where(SESSIONS.c.provider == provider).with_for_update()
    row = transaction.execute(query).mappings().one_or_none()
    values = {
        "session": session,
        "process": process,
        "declared": declared,
        "opened_at_ms": now_ms,
        "beat_at_ms": now_ms,
    }
    transaction.execute(
        begin(SESSIONS)
        .values(provider=provider, **values)
        .on_conflict_do_update(index_elements=["provider"], set_=values)
    )
    transaction.announce(TOPIC)
    return None if row is None or row["session"] == session else made(Session, row)


def beat(transaction: Transaction, process: str, now_ms: int) -> None:
    """All sessions of the process live."""
    transaction.execute(update(SESSIONS).where(SESSIONS.c.process == process).values(beat_at_ms=now_ms))


def close(transaction: Transaction, session: str) -> bool:
    """The session has ended; False where it was replaced before."""
    closed = transaction.execute(delete(SESSIONS).where(SESSIONS.c.session == session))
    if closed.rowcount:
        transaction.announce(TOPIC)
    return closed.rowcount == 1


def current(reader: Reader, sessions: Collection[str]) -> set[str]:
    """Which of these are still their providers'."""
    query = select(SESSIONS.c.session).where(SESSIONS.c.session.in_(sessions))
    return set(reader.execute(query).scalars())


def of_provider(reader: Reader, provider: str) -> Session | None:
    """The provider's."""
    row = reader.execute(_SESSION.where(SESSIONS.c.provider == provider)).mappings().one_or_none()
    return None if row is None else made(Session, row)


def alive(reader: Reader, *, since_ms: int) -> list[Session]:
    """Those whose process has said so since then, by provider."""
    query = _SESSION.where(SESSIONS.c.beat_at_ms >= since_ms).order_by(SESSIONS.c.provider)
    return [made(Session, row) for row in reader.execute(query).mappings()]


def drop_dead(transaction: Transaction, *, before_ms: int) -> list[str]:
    """Forgets sessions of processes that have been silent since then; whoever does it releases their leases."""
    rows = transaction.execute(delete(SESSIONS).where(SESSIONS.c.beat_at_ms < before_ms).returning(SESSIONS.c.session))
    dead = sorted(rows.scalars())
    if dead:
        transaction.announce(TOPIC)
    return dead
