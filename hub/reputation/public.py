"""What anybody may read of a provider: figures and why it is paused, nothing of anybody's jobs."""

from typing import Any

from hub.reputation.noting import record_of
from hub.reputation.rules import decayed, score_of
from hub.store import providers
from hub.store.providers import Provider
from hub.store.transaction import Reader


def describe(reader: Reader, address: str, now_ms: int) -> dict[str, Any] | None:
    """Of the provider with this address (EIP-55), for JSON; None where it never worked here."""
    provider = providers.get(reader, address)
    return None if provider is None else described(provider, now_ms)


def described(provider: Provider, now_ms: int) -> dict[str, Any]:
    """The same of a row that is at hand."""
    record = decayed(record_of(provider), now_ms)
    return {
        "address": provider.address,
        "standing": provider.standing.value,
        "score": round(score_of(record, now_ms), 4),
        "accepted": provider.accepted,
        "refused": provider.refused,
        "failed": provider.failed,
        "timed_out": provider.timed_out,
        "checks_passed": record.passed,
        "units": provider.micro_units / 1_000_000,
        "suspension": _suspension(provider, now_ms),
        "banned": (provider.ban_detail or provider.ban_reason) if provider.is_banned else None,
        "first_seen_at_ms": provider.first_seen_at_ms,
        "last_seen_at_ms": provider.last_seen_at_ms,
    }


def _suspension(provider: Provider, now_ms: int) -> dict[str, Any] | None:
    if provider.suspended_until_ms is None or provider.suspended_until_ms <= now_ms:
        return None
    return {"reason": provider.suspended_reason, "until_ms": provider.suspended_until_ms}
