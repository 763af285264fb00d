"""Hubs that lie, stall, flood or vanish: each is left with a reason, and dialled again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from chain.primitives.hub_messages import Challenge, CheckSteps, Suspended, Welcome
from chain.primitives.provider_messages import Hello
from chain.primitives.worker_fields import Attachment, Place
from chain.primitives.worker_message import Drain, Message, Refused
from chain.primitives.worker_messages import decode_from_provider, encode
from genesis.processes import free_port
from tests.hub.workers.rig import HUB, run_of, serving, until
from tests.provider.hub_link.rig import linked

NONCE = "0x" + "01" * 32
CHALLENGE = Challenge(
    hub_id=HUB.hub_id, chain_id=HUB.chain_id, genesis_hash=HUB.genesis_hash, nonce=NONCE, heartbeat_s=5
)


class StrangeHub:
    """A hub's end, frame by frame."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    async def send(self, message: Message | str | bytes) -> None:
        await self.connection.send(encode(message).decode() if isinstance(message, Message) else message)

    async def receive(self) -> Message:
        async with asyncio.timeout(60):
            frame = await self.connection.recv()
        return decode_from_provider(frame)

    async def welcome(self, **changes: Any) -> Hello:
        """The hello of the provider that is let in."""
        fields = {name: getattr(CHALLENGE, name) for name in CHALLENGE.__struct_fields__}
        await self.send(Challenge(**(fields | changes)))
        hello = await self.receive()
        assert isinstance(hello, Hello)
        await self.send(Welcome())
        return hello


Script = Callable[[StrangeHub], Awaitable[None]]


@asynccontextmanager
async def strange_hub(script: Script) -> AsyncIterator[str]:
    """One that follows this script on each connection."""

    async def handle(connection: ServerConnection) -> None:
        try:
            await script(StrangeHub(connection))
        except ConnectionClosed:
            return

    async with serve(handle, "127.0.0.1", 0, max_size=2**20, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}"


def challenge(**changes: Any) -> Challenge:
    fields = {name: getattr(CHALLENGE, name) for name in CHALLENGE.__struct_fields__}
    return Challenge(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"chain_id": 1}, "wrong_network"),
        ({"genesis_hash": "0x" + "18" * 32}, "wrong_network"),
        ({"version": 2}, "wrong_version"),
        ({"hub_id": "0x" + "12" * 20}, "bad_hub_id"),
    ],
)
async def test_a_foreign_hub_gets_a_reason_and_no_signature(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    heard: list[Message] = []

    async def script(hub: StrangeHub) -> None:
        await hub.send(challenge(**changes))
        heard.append(await hub.receive())

    async with strange_hub(script) as url, linked(tmp_path, url) as provider:
        await until(lambda: heard and provider.state == reason)
        assert isinstance(heard[0], Refused)
        assert heard[0].reason == reason


async def test_a_nonce_that_comes_again_is_not_signed(tmp_path: Path) -> None:
    heard: list[Message] = []

    async def script(hub: StrangeHub) -> None:
        await hub.send(CHALLENGE)
        heard.append(await hub.receive())

    async with strange_hub(script) as url, linked(tmp_path, url):
        await until(lambda: len(heard) >= 2)
        assert isinstance(heard[0], Hello)
        assert isinstance(heard[1], Refused)
        assert heard[1].reason == "repeated_nonce"


async def test_two_hubs_of_one_name_are_not_both_served(tmp_path: Path) -> None:
    """Or one could pass the other's challenge on, and be served in its name."""
    async with (
        serving(tmp_path / "a") as one,
        serving(tmp_path / "b") as two,
        linked(tmp_path / "provider", one.url, two.url) as provider,
    ):
        await until(lambda: sorted(entry.state for entry in provider.links.report()) == ["connected", "hub_id_taken"])
        assert one.workers.count + two.workers.count == 1


@pytest.mark.parametrize(
    "frame",
    [
        "no JSON",
        b"bytes that nobody announced",
        '{"type":"heartbeat","surprise":1}',
        encode(CHALLENGE).decode(),
        encode(Welcome()).decode(),
        "x" * 300_000,
    ],
)
async def test_frames_that_no_honest_hub_sends_end_the_connection(tmp_path: Path, frame: str | bytes) -> None:
    ended = asyncio.Event()

    async def script(hub: StrangeHub) -> None:
        await hub.welcome()
        await hub.send(frame)
        try:
            while True:
                await hub.receive()
        finally:
            ended.set()

    async with strange_hub(script) as url, linked(tmp_path, url) as provider:
        async with asyncio.timeout(60):
            await ended.wait()
        await until(lambda: provider.state != "connected")


async def test_files_that_are_not_the_announced_ones_are_not_worked_on(tmp_path: Path) -> None:
    told: list[str] = []

    async def script(hub: StrangeHub) -> None:
        await hub.welcome()
        announced = Attachment(size_bytes=4, sha256="00" * 32)
        places = (Place(picture=0, step=1),)
        await hub.send(CheckSteps(order_id="order-1", run=run_of(), places=places, opened=places, latents=(announced,)))
        await hub.send(b"four")
        while True:
            message = await hub.receive()
            if isinstance(message, Refused):
                told.append(message.reason)

    async with strange_hub(script) as url, linked(tmp_path, url) as provider:
        await until(lambda: told == ["malformed"])
        assert provider.backend.begun.empty()


async def test_a_hub_that_falls_silent_is_left_and_dialled_again(tmp_path: Path) -> None:
    connections: list[int] = []

    async def script(hub: StrangeHub) -> None:
        connections.append(1)
        await hub.welcome(heartbeat_s=0.2, nonce="0x" + f"{len(connections):064x}")
        await hub.connection.wait_closed()

    async with strange_hub(script) as url, linked(tmp_path, url):
        await until(lambda: len(connections) >= 2)


async def test_a_hub_that_says_nothing_at_all_is_not_waited_for(tmp_path: Path) -> None:
    """Also one whose port is open and that never answers the opening request."""

    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, linked(tmp_path, f"ws://127.0.0.1:{port}") as provider:
        await until(lambda: provider.state == "hub_unreachable")


async def test_redirects_are_not_followed(tmp_path: Path) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        location = f"Location: {hub.url}\r\n"
        writer.write(f"HTTP/1.1 302 Found\r\n{location}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with serving(tmp_path / "hub") as hub:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, linked(tmp_path, f"ws://127.0.0.1:{port}") as provider:
            await until(lambda: provider.state == "hub_unreachable")
            assert hub.workers.count == 0


async def test_it_dials_until_the_hub_is_there_and_again_after_a_restart(tmp_path: Path) -> None:
    port = free_port()
    async with linked(tmp_path / "provider", f"http://127.0.0.1:{port}") as provider:
        await until(lambda: provider.state == "hub_unreachable")
        for _ in range(2):
            async with serving(tmp_path, port=port):
                await until(lambda: provider.state == "connected")
            await until(lambda: provider.state != "connected")


async def test_what_the_hub_says_of_this_provider_is_shown(tmp_path: Path) -> None:
    async def script(hub: StrangeHub) -> None:
        await hub.welcome()
        await hub.send(Suspended(reason="checks_failed", detail="two of three\nfailed"))
        await asyncio.sleep(0.5)
        await hub.send(Drain())
        await hub.connection.wait_closed()

    async with strange_hub(script) as url, linked(tmp_path, url) as provider:
        await until(lambda: provider.state == "suspended")
        assert provider.links.report()[0].detail == "checks_failed: two of three?failed"
        await until(lambda: provider.state == "hub_draining")


async def test_a_banned_provider_says_why(tmp_path: Path) -> None:
    async with serving(tmp_path) as hub, linked(tmp_path / "provider", hub.url) as provider:
        hub.registry.bans[provider.key.address] = "three lies"
        await until(lambda: provider.state == "banned")
        assert "three lies" in str(provider.links.report()[0].detail)
