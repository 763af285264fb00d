"""A hub that passes another hub's challenge on to a provider, to be let in there in the provider's name."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.client import connect

from chain.primitives.provider_messages import Hello
from chain.primitives.worker_hello import audience_of
from chain.primitives.worker_message import Refused
from chain.primitives.worker_messages import decode_from_hub, encode
from genesis.processes import free_port
from tests.hub.workers.rig import HUB, grant_to, joined, serving, until
from tests.provider.hub_link.rig import PROVIDER, linked
from tests.provider.hub_link.test_link import StrangeHub, strange_hub


@pytest.mark.parametrize(("is_changed", "reason"), [(False, "wrong_audience"), (True, "bad_signature")])
async def test_a_hub_cannot_log_in_elsewhere_as_the_provider_that_dials_it(
    tmp_path: Path, is_changed: bool, reason: str
) -> None:
    port = free_port()
    victim = replace(HUB, hosts=(f"127.0.0.1:{port}",))
    answers: list[Refused] = []
    async with serving(tmp_path / "hub", hub=victim, port=port) as hub:

        async def relay(evil: StrangeHub) -> None:
            async with connect(hub.url, compression=None, proxy=None) as to_victim:
                await evil.send(await to_victim.recv())
                hello = await evil.receive()
                assert isinstance(hello, Hello)
                if is_changed:
                    hello = msgspec.structs.replace(hello, audience=audience_of(hub.url))
                await to_victim.send(encode(hello).decode())
                answer = decode_from_hub(await to_victim.recv())
                assert isinstance(answer, Refused)
                answers.append(answer)

        async with strange_hub(relay) as url, linked(tmp_path / "provider", url):
            await until(lambda: answers)
            assert answers[0].reason == reason
            assert hub.workers.count == 0
        # The provider that dials it by itself is let in.
        async with linked(tmp_path / "honest", hub.url):
            await until(lambda: hub.workers.view(PROVIDER.address) is not None)


async def test_a_hub_is_served_under_the_names_that_its_operator_gave_it(tmp_path: Path) -> None:
    port = free_port()
    named = replace(HUB, hosts=("localhost", f"127.0.0.1:{port + 1}"))
    async with serving(tmp_path / "hub", hub=named, port=port) as hub:
        async with linked(tmp_path / "wrong", hub.url) as provider:
            await until(lambda: provider.state == "wrong_audience")
            assert "AITBC_HUB_WORKER_HOSTS" in str(provider.links.report()[0].detail)
        async with joined(f"ws://localhost:{port}/v1/workers", 1):
            hub.desk.waiting.append(grant_to(1))
            await until(lambda: hub.desk.open)
