"""Clients without an API key, who order by their request's signature alone: which of their jobs are taken, how many.

An address costs nothing: a bound for each of them stops nobody who makes more. So there is one for all of them
together, and by default only jobs are taken that a deposit pays for.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hub.store.quotas import QuotaLimits

SIGNERS: Final = "@signers"
"""All of them together; no API key can have this name."""
SHORTEST_IDEMPOTENCY_KEY: Final = 32
"""Characters. Providers see what was signed: only who knows this key as well is told again how to reach the job."""
_EACH: Final = QuotaLimits(jobs=100, pictures=500)
_TOGETHER: Final = QuotaLimits(jobs=2_000, pictures=10_000)


class SignedOrders(StrEnum):
    """What is taken of them."""

    NONE = "none"
    PAID = "paid"
    """What is paid from a deposit."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class SignerLimits:
    """Of one day."""

    each: QuotaLimits = _EACH
    """Of one address."""
    together: QuotaLimits = _TOGETHER
    """Of all of them."""
