"""What each API key may use in a day."""

from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from hub.store.errors import QuotaExceeded
from hub.store.records import columns_of, made
from hub.store.statements import Prepared
from hub.store.tables.records import QUOTAS
from hub.store.transaction import Reader, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaLimits:
    """Of one day; None: as much as one likes. `amount` in atoms."""

    jobs: int | None = None
    pictures: int | None = None
    micro_units: int | None = None
    amount: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was used, or what is to be; `amount` in atoms."""

    jobs: int = 0
    pictures: int = 0
    micro_units: int = 0
    amount: int = 0


_SPENT: Final = select(*columns_of(QUOTAS, Spent)).where(
    QUOTAS.c.key == bindparam("the_key"), QUOTAS.c.day == bindparam("the_day")
)
_LOOK: Final = Prepared(_SPENT)
_LOCKED: Final = Prepared(_SPENT.with_for_update())
_SPEND: Final = Prepared(
    update(QUOTAS)
    .where(QUOTAS.c.key == bindparam("the_key"), QUOTAS.c.day == bindparam("the_day"))
    .values({name: bindparam(f"new_{name}", type_=QUOTAS.c[name].type) for name in Spent.__dataclass_fields__})
)
_COUNTED: Final = ("jobs", "pictures", "micro_units")
_ADD: Final = Prepared(
    update(QUOTAS)
    .where(
        QUOTAS.c.key == bindparam("the_key"),
        QUOTAS.c.day == bindparam("the_day"),
        *(QUOTAS.c[name] + bindparam(f"more_{name}") <= bindparam(f"most_{name}") for name in _COUNTED),
    )
    .values({name: QUOTAS.c[name] + bindparam(f"more_{name}") for name in _COUNTED})
    .returning(*columns_of(QUOTAS, Spent))
)
"""One statement for what is nearly always so: the row is there, nothing is at its limit, and no amount is counted."""
_NO_LIMIT: Final = 2**62
_BEGIN: Final = {
    True: sqlite.insert(QUOTAS).on_conflict_do_nothing(index_elements=["key", "day"]),
    False: postgresql.insert(QUOTAS).on_conflict_do_nothing(index_elements=["key", "day"]),
}


def spend(transaction: Transaction, key: str, day: str, limits: QuotaLimits, more: Spent) -> Spent:
    """Adds to the day (UTC, as 2026-11-23) of a key; what it has used then. Negative numbers give back.

    Raises QuotaExceeded where that would pass a limit; nothing is spent then.
    """
    where = {"the_key": key, "the_day": day}
    if more.amount == 0 and min(more.jobs, more.pictures, more.micro_units) >= 0:
        step = {f"more_{name}": getattr(more, name) for name in _COUNTED}
        most = {f"most_{name}": getattr(limits, name) for name in _COUNTED}
        step |= {name: _NO_LIMIT if limit is None else limit for name, limit in most.items()}
        added = transaction.execute(_ADD, {**where, **step}).mappings().one_or_none()
        if added is not None:
            return made(Spent, added)
    row = transaction.execute(_LOCKED, where).mappings().one_or_none()
    if row is None:
        transaction.execute(_BEGIN[transaction.is_sqlite], {"key": key, "day": day, **asdict(Spent())})
        row = transaction.execute(_LOCKED, where).mappings().one()
    after = _after(made(Spent, row), limits, more)
    transaction.execute(_SPEND, {**where, **{f"new_{name}": value for name, value in asdict(after).items()}})
    return after


def check(reader: Reader, key: str, day: str, limits: QuotaLimits, more: Spent) -> None:
    """Raises QuotaExceeded where `spend` would, if nobody comes between."""
    row = reader.execute(_LOOK, {"the_key": key, "the_day": day}).mappings().one_or_none()
    _after(Spent() if row is None else made(Spent, row), limits, more)


def _after(used: Spent, limits: QuotaLimits, more: Spent) -> Spent:
    after = {}
    for name, before in asdict(used).items():
        limit, addition = getattr(limits, name), getattr(more, name)
        if limit is not None and addition > 0 and before + addition > limit:
            raise QuotaExceeded(name, wanted=addition, left=max(0, limit - before), daily=limit)
        after[name] = max(0, before + addition)
    return Spent(**after)
