"""What each API key may use in a day, and what a job uses of it."""

import time
from collections.abc import Mapping
from typing import Any, Final

from hub.errors import HubConfigurationError
from hub.store.quotas import QuotaLimits, Spent

_DAY_MS: Final = 86_400_000
_NAMES = frozenset(QuotaLimits.__dataclass_fields__)


def read_limits(table: Mapping[str, Any], where: str) -> QuotaLimits:
    """From an entry of the clients' file such as { jobs = 100, pictures = 1000 }; raises HubConfigurationError."""
    for name, value in table.items():
        if name not in _NAMES or isinstance(value, bool) or not isinstance(value, int) or value < 0:
            known = ", ".join(sorted(_NAMES))
            raise HubConfigurationError(f"{where}: {name[:64]!r} must be one of {known}, and a whole number")
    return QuotaLimits(**table)


def day_of(now_ms: int) -> str:
    """The day in UTC, as 2026-11-23."""
    return time.strftime("%Y-%m-%d", time.gmtime(now_ms / 1000))


def renewed_in_s(now_ms: int) -> int:
    """Whole seconds until the next day in UTC begins, when what was used up is there again."""
    return -(-(_DAY_MS - now_ms % _DAY_MS) // 1_000)


def use_of(pictures: int, amount: int) -> Spent:
    """What a job of so many pictures, that may come to so many atoms, takes when it is accepted."""
    return Spent(jobs=1, pictures=pictures, amount=amount)
