"""What the hub holds of providers, and decides about them."""

import asyncio
from dataclasses import replace

from hub.store import audit, providers
from hub.store.providers import Provider, Standing
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, BERTA, NOW_MS


def get(store: Store) -> Provider:
    provider = store.read_now(lambda c: providers.get(c, ANNA))
    assert provider is not None
    return provider


async def test_changes_of_many_callers_add_up(store: Store) -> None:
    def one_more(provider: Provider) -> Provider:
        return replace(provider, accepted=provider.accepted + 1, score=0.5, benchmark={"m": [1.5]})

    await asyncio.gather(
        *(store.write(lambda t: providers.change(t, ANNA, one_more, NOW_MS)) for _ in range(30)),
    )

    provider = get(store)
    assert (provider.accepted, provider.score, provider.benchmark) == (30, 0.5, {"m": [1.5]})
    assert (provider.standing, provider.first_seen_at_ms) == (Standing.NEW, NOW_MS)
    store.write_now(lambda t: providers.change(t, BERTA, lambda new: replace(new, standing=Standing.PROVEN), NOW_MS))
    assert [item.standing for item in store.read_now(providers.every)] == [Standing.NEW, Standing.PROVEN]


def test_a_pause_says_why_and_is_audited(store: Store) -> None:
    store.write_now(
        lambda t: providers.suspend(t, ANNA, until_ms=NOW_MS + 9, reason="slow", detail="10 of 12", now_ms=NOW_MS)
    )
    provider = get(store)
    assert (provider.suspended_until_ms, provider.suspended_reason, provider.suspended_detail) == (
        NOW_MS + 9,
        "slow",
        "10 of 12",
    )

    store.write_now(lambda t: providers.lift(t, ANNA, NOW_MS))
    assert (get(store).suspended_until_ms, get(store).suspended_reason) == (None, None)
    told = store.read_now(lambda c: audit.of_subject(c, ANNA))
    assert [entry.kind for entry in told] == ["provider_suspended", "provider_suspension_lifted"]
    assert told[0].data["reason"] == "slow"


async def test_a_ban_is_announced_and_read_by_address(store: Store) -> None:
    assert store.read_now(lambda c: providers.ban_of(c, ANNA)) is None
    async with store.announcements.subscribe("sessions") as changes:
        await store.write(lambda t: providers.ban(t, ANNA, reason="cheat", detail="a copy", now_ms=NOW_MS))
        assert await changes.wait(30)

    assert await store.read(lambda c: providers.ban_of(c, ANNA)) == ("cheat", "a copy")
    await store.write(lambda t: providers.unban(t, ANNA, NOW_MS))
    assert await store.read(lambda c: providers.ban_of(c, ANNA)) is None
