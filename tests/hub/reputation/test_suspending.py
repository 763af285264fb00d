"""Pauses and bans reach the provider's own socket, with the reason; and end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.hub_messages import Lifted, Suspended
from hub.reputation.noting import note
from hub.reputation.rules import Outcome
from hub.reputation.suspending import Suspending
from hub.store import providers
from hub.store.store import HubIdentity, Store, now_ms
from tests.hub.workers.rig import RunningHub, joined, key_of, serving

NAME = to_checksum_address(key_of(1).address)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'hub.sqlite3'}", HubIdentity("hub-1", 424_242, "0x" + "ab" * 32))
    yield opened
    await opened.close()


@pytest.fixture
async def running(store: Store, tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with serving(tmp_path / "workers") as hub:
        task = asyncio.create_task(Suspending(store, hub.workers).run())
        yield hub
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_liar_is_told_and_works_again_when_it_is_lifted(store: Store, running: RunningHub) -> None:
    async with joined(running.url, 1) as provider:
        await store.write(lambda t: note(t, NAME, Outcome.LIED, now_ms(), detail="another's picture"))
        told = await provider.expect(Suspended)
        assert told.reason == "false_answer"
        assert "another's picture" in told.detail and told.until_s is not None
        view = running.workers.view(key_of(1).address)
        assert view is not None and view.suspension is not None
        await store.write(lambda t: providers.lift(t, NAME, now_ms()))
        await provider.expect(Lifted)


async def test_a_pause_ends_by_itself(store: Store, running: RunningHub) -> None:
    async with joined(running.url, 1) as provider:
        until_ms = now_ms() + 1_500
        await store.write(
            lambda t: providers.suspend(t, NAME, until_ms=until_ms, reason="rest", detail="a moment", now_ms=now_ms())
        )
        assert (await provider.expect(Suspended)).reason == "rest"
        await provider.expect(Lifted)
        assert now_ms() >= until_ms


async def test_who_dials_in_while_paused_is_told(store: Store, running: RunningHub) -> None:
    await store.write(lambda t: providers.suspend(t, NAME, until_ms=None, reason="rest", detail="ask me", now_ms=1))
    async with joined(running.url, 1) as provider:
        assert (await provider.expect(Suspended)).until_s is None


async def test_a_ban_ends_the_session(store: Store, running: RunningHub) -> None:
    async with joined(running.url, 1) as provider:
        await store.write(lambda t: providers.ban(t, NAME, reason="cheat", detail="seen cheating", now_ms=now_ms()))
        assert await provider.ended() == "banned"
