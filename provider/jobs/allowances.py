"""What each API key may ask for: pictures per stretch of time, pictures per day, jobs at once."""

import math
import time
from collections.abc import Callable
from typing import Final

import limits
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from provider.api_keys import ApiKeys, Caller
from provider.jobs.errors import LimitReached

_DAY_MS: Final = 24 * 3600 * 1000
_FEW_S: Final = 5
"""When to ask again where nobody knows how long the key's own jobs will take."""
_HOUR_S: Final = 3600

PicturesSince = Callable[[str, int], int]
"""Name of a key and Unix milliseconds → how many pictures it has ordered since then. Blocking."""


class Allowances:
    """Counts what keys ask for. The rate is counted in memory; the day's pictures are in the job log, and durable."""

    def __init__(self, api_keys: ApiKeys, default_rate: str, pictures_since: PicturesSince) -> None:
        self._api_keys = api_keys
        self._default_rate = default_rate
        self._pictures_since = pictures_since
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def check_jobs(self, caller: Caller, running_jobs: int) -> None:
        """Raises LimitReached where the caller has as many jobs queued and at work as it may."""
        most = self._api_keys.limits_of(caller).concurrent_jobs
        if most is not None and running_jobs >= most:
            message = f"this API key may have {most} jobs at once"
            raise LimitReached(message, _FEW_S, reason="too_many_jobs")

    def check_day(self, caller: Caller, pictures: int) -> None:
        """Raises LimitReached where this order would pass the pictures of the last 24 hours. Blocking."""
        most = self._api_keys.limits_of(caller).pictures_per_day
        if most is None:
            return
        since_ms = time.time_ns() // 1_000_000 - _DAY_MS
        if self._pictures_since(caller.name, since_ms) + pictures > most:
            message = f"this API key may ask for {most} pictures in 24 hours"
            raise LimitReached(message, _HOUR_S, reason="daily_limit_reached")

    def check_rate(self, caller: Caller, pictures: int) -> None:
        """Raises LimitReached where the pictures are too many for the present stretch of time."""
        rate = self._rate_of(caller)
        if self._limiter.test(rate, caller.name, cost=pictures):
            return
        reset_at_s = self._limiter.get_window_stats(rate, caller.name).reset_time
        retry_after_s = max(1, math.ceil(reset_at_s - time.time()))
        raise LimitReached(f"this API key may ask for {rate} pictures", retry_after_s)

    def charge(self, caller: Caller, pictures: int) -> None:
        """Counts pictures that were taken on."""
        self._limiter.hit(self._rate_of(caller), caller.name, cost=pictures)

    def _rate_of(self, caller: Caller) -> limits.RateLimitItem:
        return limits.parse(self._api_keys.limits_of(caller).rate or self._default_rate)
