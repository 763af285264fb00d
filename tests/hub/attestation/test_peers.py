"""The file of other attesters, the hub's own key, and an attester that answers anything but a signature."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.types import Hash32
from chain.web.server import Server, listen
from hub.attestation.authentication import Network
from hub.attestation.errors import NotEndorsed, NotYet
from hub.attestation.peers import PATH, Peer, PeerAttester, read_peers
from hub.errors import HubConfigurationError

WEST = PrivateKey(b"\x0c" * 32)
DIGEST = Hash32(keccak256(b"a digest"))
NETWORK = Network(5, Hash32(bytes(32)))


def entry(**changes: str | None) -> str:
    fields: dict[str, str | None] = {
        "hub_id": "west",
        "url": "https://west.example",
        "address": to_checksum_address(WEST.address),
        "key": "0x" + "22" * 20,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in (fields | changes).items() if value is not None]
    return "[[attester]]\n" + "\n".join(lines) + "\n"


def read(tmp_path: Path, text: str) -> tuple[Peer, ...]:
    path = tmp_path / "attesters.toml"
    path.write_text(text)
    return read_peers(path)


def test_the_file(tmp_path: Path) -> None:
    (peer,) = read(tmp_path, entry())
    assert (peer.hub_id, peer.url, peer.address) == ("west", "https://west.example", WEST.address)
    assert read(tmp_path, entry(url=None))[0].url is None
    assert read(tmp_path, "") == ()


@pytest.mark.parametrize(
    "text",
    [
        "[[attester]",
        "attester = 5",
        "[[attester]]\n",
        entry(url="ftp://west.example"),
        entry(address="0x12"),
        entry(key="nonsense"),
        entry(hub_id="no spaces"),
        entry(hub_id="0x" + "22" * 20),
        entry(colour="red"),
        entry() + entry(),
        entry() + entry(hub_id="other", key="0x" + "33" * 20),
        "\n".join(entry(hub_id=f"hub-{number}") for number in range(65)),
        "#" * 70_000,
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(HubConfigurationError):
        read(tmp_path, text)


Answer = Callable[[], Response]


@asynccontextmanager
async def answering(answer: Answer, key: PrivateKey = WEST) -> AsyncIterator[PeerAttester]:
    """An attester on a socket that says what it likes."""

    async def respond(request: Request) -> Response:
        await request.body()
        return answer()

    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    ready = asyncio.Event()
    application = FastAPI()
    application.add_route(PATH, respond, methods=["POST"])
    server = Server(application, listener, max_connections=8)
    task = asyncio.create_task(server.serve(lambda _url: ready.set()))
    await ready.wait()
    peer = PeerAttester(Peer("west", url, key.address, key.address), PrivateKey(b"\x1b" * 32), NETWORK)
    try:
        yield peer
    finally:
        await peer.close()
        server.stop()
        await task


def saying(status: int, **members: Any) -> Answer:
    return lambda: Response(json.dumps(members), status, media_type="application/json")


async def test_a_signature() -> None:
    signature = WEST.sign(DIGEST)
    async with answering(saying(200, signature=to_hex(signature))) as peer:
        assert await peer.ask(b"evidence", DIGEST) == signature


@pytest.mark.parametrize(
    "answer",
    [
        saying(200, signature=to_hex(PrivateKey(b"\x0d" * 32).sign(DIGEST))),
        saying(200, signature=to_hex(WEST.sign(Hash32(bytes(32))))),
        saying(200, signature="0x12"),
        saying(200, signature=5),
        saying(202, reason="challenge_window", retry_after_s=7),
        saying(202, retry_after_s=1e300),
        saying(202, reason="a" * 10_000),
        saying(500),
        saying(429),
        lambda: Response(b"\xff\xfe", 200),
        lambda: Response(b"[" * 5_000, 200),
        lambda: Response(b"{" + b" " * 100_000 + b"}", 200),
    ],
    ids=range(12),
)
async def test_answers_after_which_it_is_asked_again(answer: Callable[[], Response]) -> None:
    async with answering(answer) as peer:
        with pytest.raises(NotYet) as later:
            await peer.ask(b"evidence", DIGEST)
        assert 1 <= later.value.retry_after_s <= 3_600


@pytest.mark.parametrize("answer", [saying(422, reason="wrong_size"), saying(403), saying(200), saying(302)])
async def test_refusals(answer: Callable[[], Response]) -> None:
    async with answering(answer) as peer:
        with pytest.raises(NotEndorsed):
            await peer.ask(b"evidence", DIGEST)


async def test_nobody_there() -> None:
    async with answering(saying(200)) as peer:
        pass
    away = PeerAttester(peer.peer, PrivateKey(b"\x1b" * 32), NETWORK)
    with pytest.raises(NotYet, match="does not answer"):
        await away.ask(b"evidence", DIGEST)
    await away.close()


async def test_an_answer_that_never_ends() -> None:
    """Byte after byte, so that no single read takes too long: the whole has its limit, and who does it comes last."""

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.02)

    async with answering(lambda: StreamingResponse(drip())) as peer:
        hasty = PeerAttester(peer.peer, PrivateKey(b"\x1b" * 32), NETWORK, timeout_s=0.5)
        assert not hasty.is_troubled
        with pytest.raises(NotYet, match="TimeoutError"):
            await hasty.ask(b"evidence", DIGEST)
        assert hasty.is_troubled
        await hasty.close()


async def test_one_that_takes_nothing_of_the_evidence_is_given_up() -> None:
    # given an attester that accepts the connection, and from then on reads nothing
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        other = Peer("west", url, WEST.address, WEST.address)
        asked = PeerAttester(other, PrivateKey(b"\x1b" * 32), NETWORK, timeout_s=1e6, silent_s=0.2)

        # when it is sent more than the system takes in its place
        with pytest.raises(NotYet) as later:
            await asked.ask(bytes(64 * 1024 * 1024), DIGEST)

        # then nobody waits for its answer
        assert later.value.reason == "attester_away"
        assert asked.is_troubled
        await asked.close()
