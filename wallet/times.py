"""Times as people see them."""

import datetime
from typing import Final

_LAST_MS: Final = 253_402_300_799_999  # Of the year 9999; what a node says may be anything.


def format_time_ms(time_ms: int | None) -> str:
    """`2026-01-31 12:00:00`, UTC; `-` for none, and for what no calendar has."""
    if time_ms is None or not 0 <= time_ms <= _LAST_MS:
        return "-"
    return datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
