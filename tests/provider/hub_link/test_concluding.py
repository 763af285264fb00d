"""A provider that drains stays until each hub has concluded what it was brought."""

import asyncio
import secrets
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from chain.primitives.hub_messages import Outstanding, Taken
from chain.primitives.provider_messages import AskOutstanding, Result
from chain.primitives.worker_fields import Place
from chain.primitives.worker_message import Refused
from chain.primitives.worker_messages import decode_from_provider
from hub.workers.errors import WorkerRefused
from provider.hub_link.concluding import in_words
from tests.hub.workers.rig import KeepingDesk, RunningHub, grant_to, key_of, serving, until
from tests.provider.hub_link.rig import LinkedProvider, linked
from tests.provider.hub_link.test_link import StrangeHub, strange_hub


async def brought(hub: RunningHub, provider: LinkedProvider) -> None:
    """One result, taken; then the provider drains, and has brought everything."""
    hub.desk.waiting.append(grant_to(1))
    await until(lambda: provider.links.report()[0].leases == 0 and hub.desk.deliveries)
    provider.tools.jobs.refuse_new()
    await provider.links.drain()
    await provider.links.finish()


async def test_it_stays_while_a_check_is_open_and_answers_what_it_is_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        hub.desk.open_checks = 2
        await brought(hub, provider)
        heard: list[list[str]] = []
        concluding = asyncio.create_task(provider.links.conclude(lambda: heard.append(provider.links.waits_for())))
        await until(lambda: hub.desk.questions > 1)
        assert not concluding.done()
        assert heard[0] == ["main-hub: 2 checks"]
        shown = provider.links.report()[0].outstanding
        assert shown is not None
        assert (shown.leases, shown.checks, shown.jobs, shown.attestations) == (0, 2, 0, 0)
        places = (Place(picture=0, step=0),)
        with pytest.raises(WorkerRefused) as refused:  # It answers: this backend records none.
            await hub.workers.orders.open_steps(key_of(1).address, lease_id="lease-1", places=places)
        assert refused.value.reason == "no_trajectory"
        hub.desk.open_checks = 0
        async with asyncio.timeout(60):
            await concluding
        assert heard[-1] == provider.links.waits_for() == []


async def test_a_hub_that_cannot_say_is_asked_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        await brought(hub, provider)
        hub.desk.trouble = OSError("the database is away")
        async with asyncio.timeout(60):
            await provider.links.conclude(lambda: None)
        assert hub.desk.questions == 2


async def test_a_hub_that_is_back_is_asked_again(tmp_path: Path) -> None:
    desk = KeepingDesk()
    desk.open_checks = 1
    async with serving(tmp_path, desk=desk) as hub, linked(tmp_path / "provider", hub.url) as provider:
        await brought(hub, provider)
        concluding = asyncio.create_task(provider.links.conclude(lambda: None))
        await until(lambda: desk.questions)
        hub.workers.replaced(hub.workers.views()[0].session_id)  # Its connection ends, as with a hub that starts anew.
        await until(lambda: desk.closed_sessions)
        assert not concluding.done()
        desk.open_checks = 0
        async with asyncio.timeout(60):
            await concluding
        assert hub.workers.count == 1


async def test_who_has_brought_nothing_waits_for_no_hub_that_is_away(tmp_path: Path) -> None:
    async with linked(tmp_path / "provider", "ws://127.0.0.1:9/v1/workers") as provider:
        async with asyncio.timeout(60):
            await provider.links.conclude(lambda: None)
        assert provider.links.waits_for() == []


async def test_a_hub_that_stays_away_is_given_up(tmp_path: Path) -> None:
    async with AsyncExitStack() as hubs:
        hub = await hubs.enter_async_context(serving(tmp_path))
        async with linked(tmp_path / "provider", hub.url) as provider:
            await brought(hub, provider)
            await hubs.aclose()
            await until(lambda: provider.state != "connected")
            away = ["main-hub: what it says is open (and it is away)"]
            assert provider.links.waits_for() == away
            async with asyncio.timeout(60):
                await provider.links.conclude(lambda: None, away_s=1)
            assert provider.links.waits_for() == away


@pytest.mark.parametrize("way", ["ends the connection", "refuses"])
async def test_a_hub_that_does_not_know_the_question_is_left_after_a_while(tmp_path: Path, way: str) -> None:
    """One of an earlier release: it is asked once, and then only given the time to ask."""
    asked: list[str] = []

    async def script(hub: StrangeHub) -> None:
        await hub.welcome(nonce="0x" + secrets.token_hex(32))
        if not asked:
            await hub.send(grant_to(1).message)
        async for frame in hub.connection:
            message = None if isinstance(frame, bytes) else decode_from_provider(frame)
            if isinstance(message, Result):
                await hub.send(Taken(lease_id=message.lease_id))
            elif isinstance(message, AskOutstanding):
                asked.append(message.order_id)
                about = message.order_id if way == "refuses" else ""
                await hub.send(Refused(about=about, reason="malformed", detail="unknown"))
                if way == "ends the connection":
                    return

    async with strange_hub(script) as url, linked(tmp_path, url) as provider:
        await until(lambda: provider.outbox.of_job("main-hub", "job-1") and not provider.links.report()[0].leases)
        async with asyncio.timeout(60):
            await provider.links.conclude(lambda: None, away_s=3)
        assert len(asked) == 1
        left = provider.links.waits_for()
        assert left[0].startswith("main-hub: what it says is open")


async def test_a_hub_that_floods_and_lies_keeps_nobody_beyond_its_word(tmp_path: Path) -> None:
    """Answers to questions that were not asked change nothing; of a great many, only the number is shown."""

    async def script(hub: StrangeHub) -> None:
        await hub.welcome(nonce="0x" + secrets.token_hex(32))
        most = 2**31 - 1
        many = Outstanding(order_id="x", leases=most, checks=most, jobs=most, attestations=most)
        async for frame in hub.connection:
            message = decode_from_provider(frame)
            if isinstance(message, AskOutstanding):
                for _ in range(500):
                    await hub.send(many)
                await hub.send(replace(many, order_id=message.order_id, leases=0, checks=0, jobs=0, attestations=0))

    async with strange_hub(script) as url, linked(tmp_path, url) as provider:
        await until(lambda: provider.state == "connected")
        heard: list[list[str]] = []
        async with asyncio.timeout(60):
            await provider.links.conclude(lambda: heard.append(provider.links.waits_for()))
        assert heard == [[]]


def test_what_is_open_in_words() -> None:
    outstanding = Outstanding(order_id="q", leases=0, checks=1, jobs=2, attestations=0)
    assert in_words(outstanding) == "1 check, 2 jobs"
    assert not outstanding.is_nothing
    assert Outstanding(order_id="q", leases=0, checks=0, jobs=0, attestations=0).is_nothing
