"""Bodies on their way: what they hold of the room for large ones, and who gets how much of it."""

import asyncio
from typing import Any

import pytest

from chain.web.bodies import BodyReader, Hold, LargerBodies
from chain.web.problems import Problem

MAX_BYTES = 10


async def recognise(_scope: Any, beginning: bytes) -> bool:
    """A body that begins with `k` is a known sender's; one with `w` is refused."""
    assert len(beginning) <= MAX_BYTES
    if beginning.startswith(b"w"):
        raise Problem(401, "invalid_api_key", "a wrong key")
    return beginning.startswith(b"k")


LARGER = LargerBodies(max_bytes=100, paths={"/large": recognise}, all_bytes=250, strangers_bytes=120)


class Sender:
    """One request whose body comes piece by piece, as a test gives them."""

    def __init__(self, reader: BodyReader, *, declared_bytes: int | None = None) -> None:
        length = [] if declared_bytes is None else [(b"content-length", str(declared_bytes).encode())]
        self._pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.hold: Hold = reader.hold()
        self.reading = asyncio.create_task(reader.read({"path": "/large", "headers": length}, self.receive, self.hold))

    async def receive(self) -> dict[str, Any]:
        """ASGI."""
        return await self._pieces.get()

    async def send(self, piece: bytes, *, is_last: bool = False) -> None:
        """Returns when it is read."""
        await self._pieces.put({"type": "http.request", "body": piece, "more_body": not is_last})
        for _ in range(5):
            await asyncio.sleep(0)

    def refusal(self) -> str | None:
        """The reason of the problem that it ended with, None while it has not."""
        if not self.reading.done():
            return None
        error = self.reading.exception()
        if error is None:
            return None
        assert isinstance(error, Problem)
        self.hold.release()
        return error.reason


async def test_room_is_taken_as_bytes_arrive_and_kept_until_the_answer() -> None:
    reader = BodyReader(MAX_BYTES, LARGER)
    slow = [Sender(reader) for _ in range(5)]
    for sender in slow:
        await sender.send(b"k" * 20)
    whole = Sender(reader)
    await whole.send(b"k" * 100, is_last=True)
    assert await whole.reading == b"k" * 100
    late = Sender(reader)
    await late.send(b"k" * 51)
    assert late.refusal() == "crowded"
    whole.hold.release()
    again = Sender(reader)
    await again.send(b"k" * 51, is_last=True)
    assert await again.reading == b"k" * 51
    for sender in slow:
        await sender.send(b"", is_last=True)
        assert await sender.reading == b"k" * 20


async def test_strangers_share_a_part_while_their_bodies_arrive() -> None:
    reader = BodyReader(MAX_BYTES, LARGER)
    stalled = Sender(reader)
    await stalled.send(b"s" * 99)
    second = Sender(reader)
    await second.send(b"s" * 22)
    assert second.refusal() == "crowded"
    known = Sender(reader)
    await known.send(b"k" * 100, is_last=True)
    assert await known.reading == b"k" * 100
    # What has arrived whole is looked at, whoever sent it, and leaves the strangers' part to the next.
    await stalled.send(b"s", is_last=True)
    assert len(await stalled.reading or b"") == 100
    third = Sender(reader)
    await third.send(b"s" * 50)
    assert third.refusal() is None
    for sender in (stalled, known):
        sender.hold.release()
    await third.send(b"s" * 50, is_last=True)
    third.hold.release()
    for _ in range(3):  # Everything was given back.
        last = Sender(reader)
        await last.send(b"s" * 100, is_last=True)
        last.hold.release()
        assert await last.reading is not None


async def test_a_body_that_will_find_no_room_is_refused_at_its_beginning() -> None:
    reader = BodyReader(MAX_BYTES, LARGER)
    for _ in range(2):
        await Sender(reader).send(b"k" * 100, is_last=True)
    hopeless = Sender(reader, declared_bytes=60)
    await hopeless.send(b"k" * 11)
    assert hopeless.refusal() == "crowded"
    small = Sender(reader, declared_bytes=10)
    await small.send(b"k" * 10, is_last=True)
    assert await small.reading == b"k" * 10


async def test_whom_the_recogniser_refuses_is_not_read_on() -> None:
    reader = BodyReader(MAX_BYTES, LARGER)
    wrong = Sender(reader, declared_bytes=100)
    await wrong.send(b"w" * 10)
    assert wrong.refusal() is None, "it may be small"
    await wrong.send(b"w")
    assert wrong.refusal() == "invalid_api_key"


@pytest.mark.parametrize("pieces", [[b"k" * 5], [b"k" * 50, b"k"], []])
async def test_a_client_that_goes_away_leaves_its_room(pieces: list[bytes]) -> None:
    reader = BodyReader(MAX_BYTES, LARGER)
    for _ in range(10):
        gone = Sender(reader)
        for piece in pieces:
            await gone.send(piece)
        await gone._pieces.put({"type": "http.disconnect"})
        assert await gone.reading is None
        gone.hold.release()
