"""What the hub holds of each provider: figures of its work, its standing, and why it may be paused or banned."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from hub.store import audit, sessions
from hub.store.records import columns_of, made
from hub.store.statements import Prepared
from hub.store.tables.providers import PROVIDERS
from hub.store.transaction import Reader, Transaction


class Standing(StrEnum):
    """How closely its work is looked at."""

    NEW = "new"
    NORMAL = "normal"
    PROVEN = "proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider as the hub knows it. Counts are of shards."""

    address: str
    standing: Standing = Standing.NEW
    score: float = 1.0
    """Share of its work that goes well, 0 to 1, as of `score_at_ms`; it decays from there."""
    score_at_ms: int = 0
    accepted: int = 0
    refused: int = 0
    failed: int = 0
    timed_out: int = 0
    micro_units: int = 0
    """Of accepted work."""
    benchmark: dict[str, Any] = field(default_factory=dict)
    declared: dict[str, Any] = field(default_factory=dict)
    suspended_until_ms: int | None = None
    suspended_reason: str | None = None
    suspended_detail: str | None = None
    is_banned: bool = False
    ban_reason: str | None = None
    ban_detail: str | None = None
    first_seen_at_ms: int = 0
    last_seen_at_ms: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


_PROVIDER: Final = select(*columns_of(PROVIDERS, Provider))
_OF_ADDRESS: Final = _PROVIDER.where(PROVIDERS.c.address == bindparam("the_address"))
_BY_ADDRESS: Final = Prepared(_OF_ADDRESS)
_LOCKED: Final = Prepared(_OF_ADDRESS.with_for_update())
_EVERY: Final = Prepared(_PROVIDER.order_by(PROVIDERS.c.address))
_NAMES: Final = tuple(field.name for field in fields(Provider))
_MAKE: Final = {
    True: sqlite.insert(PROVIDERS).on_conflict_do_nothing(index_elements=["address"]),
    False: postgresql.insert(PROVIDERS).on_conflict_do_nothing(index_elements=["address"]),
}
_REPLACE: Final = Prepared(
    update(PROVIDERS)
    .where(PROVIDERS.c.address == bindparam("the_address"))
    .values({name: bindparam(f"new_{name}", type_=PROVIDERS.c[name].type) for name in _NAMES})
)


def _provider_of(row: Any) -> Provider:
    return made(Provider, {**row, "standing": Standing(row["standing"])})


def get(reader: Reader, address: str) -> Provider | None:
    """One of them."""
    row = reader.execute(_BY_ADDRESS, {"the_address": address}).mappings().one_or_none()
    return None if row is None else _provider_of(row)


def every(reader: Reader) -> list[Provider]:
    """All, by address."""
    return [_provider_of(row) for row in reader.execute(_EVERY).mappings()]


def ban_of(reader: Reader, address: str) -> tuple[str, str] | None:
    """Reason and detail of its ban."""
    provider = get(reader, address)
    return (
        None if provider is None or not provider.is_banned else (provider.ban_reason or "", provider.ban_detail or "")
    )


def change(transaction: Transaction, address: str, how: Callable[[Provider], Provider], now_ms: int) -> Provider:
    """Replaces a provider's row by what `how` makes of it (its row is locked meanwhile); a new one is made first."""
    which = {"the_address": address}
    row = transaction.execute(_LOCKED, which).mappings().one_or_none()
    if row is None:
        fresh = Provider(address=address, score_at_ms=now_ms, first_seen_at_ms=now_ms, last_seen_at_ms=now_ms)
        transaction.execute(_MAKE[transaction.is_sqlite], {name: getattr(fresh, name) for name in _NAMES})
        row = transaction.execute(_LOCKED, which).mappings().one()
    before = _provider_of(row)
    after = how(before)
    assert after.address == address
    if after != before:
        transaction.execute(_REPLACE, {**which, **{f"new_{name}": getattr(after, name) for name in _NAMES}})
    return after


def suspend(
    transaction: Transaction, address: str, *, until_ms: int | None, reason: str, detail: str, now_ms: int
) -> None:
    """Pauses it, for good where `until_ms` is None; audited, and announced to the process that has its session."""
    _decide(
        transaction,
        address,
        "suspended",
        {"reason": reason, "detail": detail, "until_ms": until_ms},
        {
            "suspended_until_ms": _FOR_GOOD_MS if until_ms is None else until_ms,
            "suspended_reason": reason,
            "suspended_detail": detail,
        },
        now_ms,
    )


def lift(transaction: Transaction, address: str, now_ms: int) -> None:
    """Ends its pause."""
    values = {"suspended_until_ms": None, "suspended_reason": None, "suspended_detail": None}
    _decide(transaction, address, "suspension_lifted", {}, values, now_ms)


def ban(transaction: Transaction, address: str, *, reason: str, detail: str, now_ms: int) -> None:
    """Refuses it from now on."""
    facts = {"reason": reason, "detail": detail}
    values = {"is_banned": True, "ban_reason": reason, "ban_detail": detail}
    _decide(transaction, address, "banned", facts, values, now_ms)


def unban(transaction: Transaction, address: str, now_ms: int) -> None:
    """Takes it again."""
    values = {"is_banned": False, "ban_reason": None, "ban_detail": None}
    _decide(transaction, address, "unbanned", {}, values, now_ms)


def _decide(
    transaction: Transaction,
    address: str,
    kind: str,
    told: dict[str, Any],
    values: dict[str, Any],
    now_ms: int,
) -> None:
    change(transaction, address, lambda provider: provider, now_ms)
    transaction.execute(update(PROVIDERS).where(PROVIDERS.c.address == address).values(**values))
    audit.append(transaction, f"provider_{kind}", address, told, now_ms)
    transaction.announce(sessions.TOPIC)


_FOR_GOOD_MS: Final = 2**53
"""Later than any clock says, and still a number in every JSON reader."""
