"""Who may come in: the challenge, the signed hello, the registry."""

from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from chain.client import NodeError
from chain.primitives.hub_messages import Assignment, Welcome
from chain.primitives.worker_message import Drain, Refused
from hub.workers.desk import WorkerView
from tests.hub.workers.rig import KeepingDesk, dialled, grant_to, joined, key_of, serving, until


async def test_a_registered_provider_is_welcome(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as peer:
        view = hub.workers.view(peer.key.address)
        assert view is not None
        assert (view.max_pictures, view.models["aitbc/tiny-sd"].price_per_unit) == (4, 100)


async def test_strangers_the_banned_and_a_silent_chain_are_told_why(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub:
        hub.registry.strangers.add(key_of(1).address)
        hub.registry.bans[key_of(2).address] = "it sold the same picture twice"
        for number, reason in ((1, "not_registered"), (2, "banned")):
            async with dialled(hub.url, number) as peer:
                await peer.send(peer.hello())
                assert (await peer.expect(Refused)).reason == reason
                assert await peer.ended() == reason
        hub.registry.trouble = NodeError("down")
        async with dialled(hub.url, 3) as peer:
            await peer.send(peer.hello())
            assert (await peer.expect(Refused)).reason == "chain_unreachable"
        assert hub.workers.count == 0


async def test_a_signature_is_good_for_one_challenge_and_one_address(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, dialled(hub.url) as first, dialled(hub.url) as second:
        overheard = first.hello()
        await second.send(overheard)
        assert (await second.expect(Refused)).reason == "bad_signature"
        await first.send(first.hello())
        await first.expect(Welcome)
    async with serving(tmp_path) as hub, dialled(hub.url) as peer:
        other = key_of(2).address
        await peer.send(peer.hello(address="0x" + other.hex()))
        assert (await peer.expect(Refused)).reason == "bad_signature"


@pytest.mark.parametrize("frame", ["", "{", "[]", '{"type":"heartbeat"}', b"\x00" * 100, "x" * 90_000])
async def test_who_says_anything_else_first_is_sent_away(tmp_path: Path, frame: str | bytes) -> None:
    async with serving(tmp_path) as hub, dialled(hub.url) as peer:
        await peer.connection.send(frame)
        assert (await peer.expect(Refused)).reason == "malformed"
        assert await peer.ended() == "malformed"


async def test_another_version_is_sent_away(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, dialled(hub.url) as peer:
        await peer.send(peer.hello(version=2))
        assert (await peer.expect(Refused)).reason == "wrong_version"


async def test_who_says_nothing_is_sent_away_in_time(tmp_path: Path) -> None:
    async with serving(tmp_path, handshake_s=0.2) as hub, dialled(hub.url) as peer:
        assert (await peer.expect(Refused)).reason == "too_slow"
        assert await peer.ended() == "too_slow"


async def test_no_more_connections_than_the_bounds_allow(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, per_host=2, unbounded_hosts=()) as hub,
        joined(hub.url, 1),
        joined(hub.url, 2),
    ):
        with pytest.raises(InvalidStatus):
            await connect(hub.url, proxy=None)
    async with serving(tmp_path, greeting=1) as hub, dialled(hub.url, 1) as first:
        with pytest.raises(InvalidStatus):
            await connect(hub.url, proxy=None)
        await first.send(first.hello())
        await first.expect(Welcome)
        async with joined(hub.url, 2):
            assert hub.workers.count == 2


async def test_a_proxy_of_this_machine_brings_as_many_as_there_are(tmp_path: Path) -> None:
    async with serving(tmp_path, per_host=1) as hub, joined(hub.url, 1), joined(hub.url, 2):
        assert hub.workers.count == 2


async def test_a_newer_connection_replaces_the_older_and_takes_its_leases_over(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, joined(hub.url) as old:
        hub.desk.waiting.append(grant_to(1))
        hub.workers.wake()
        await until(lambda: hub.desk.open)
        async with dialled(hub.url) as new:
            await new.send(new.hello(leases=("lease-1", "lease-of-old")))
            assert (await new.expect(Welcome)).leases == ("lease-1",)
            assert await old.ended() == "replaced"
            assert hub.workers.count == 1
            view = hub.workers.view(new.key.address)
            assert view is not None
            assert view.leased_pictures == 1
            await until(lambda: len(hub.desk.closed_sessions) == 1)
            assert hub.workers.count == 1


class SlowDesk(KeepingDesk):
    """Its answer to the older connection's look for work comes in while the newer one is let in."""

    async def opened(self, view: WorkerView) -> None:
        await super().opened(view)
        self.open["lease-1"] = grant_to(1)


async def test_what_was_granted_to_the_older_connection_meanwhile_is_sent_on_the_newer(tmp_path: Path) -> None:
    """Else nobody would do it until it lapsed, and its provider had failed."""
    async with serving(tmp_path, desk=SlowDesk()) as hub, dialled(hub.url) as new:
        await new.send(new.hello())
        assert (await new.expect(Welcome)).leases == ()
        assert (await new.expect(Assignment)).lease_id == "lease-1"
        view = hub.workers.view(new.key.address)
        assert view is not None
        assert view.leased_pictures == 1


async def test_a_draining_hub_takes_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub:
        async with joined(hub.url) as peer:
            await hub.workers.drain(0)
            await peer.expect(Drain)
            assert (await peer.expect(Refused)).reason == "draining"
        with pytest.raises(InvalidStatus):
            await connect(hub.url, proxy=None)
