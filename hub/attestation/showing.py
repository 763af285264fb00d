"""Evidence as bytes, for one attester at a time: the pictures that it sees, and no more in memory than is room for."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from chain.primitives.types import Address
from hub.attestation.errors import NeverAttested, NotYet
from hub.attestation.evidence import DRAWN, Evidence
from hub.store.results import Picture

MOST_BYTES: Final = 128 * 1024 * 1024
MOST_BYTES_EACH: Final = 48 * 1024 * 1024
"""On their way to one attester, which may be silent for two minutes: what is left is enough to read and put together
eight of the largest pictures (72 MiB) for another."""
_COPIES: Final = 2
"""The pictures as they are read, and the body that they are put into."""
_RETRY_S: Final = 5.0

Show = Callable[[Address, Collection[int] | None], AbstractAsyncContextManager[bytes]]
"""An attester, and which pictures it draws, None as long as it has not said → the body, for as long as it is sent."""


class Place:
    """What one body takes of a `Room`."""

    def __init__(self, room: "Room", holder: Address, size_bytes: int) -> None:
        self._room = room
        self._holder = holder
        self.size_bytes = size_bytes

    async def shrink(self, size_bytes: int) -> None:
        """The rest is for others now."""
        less = self.size_bytes - min(size_bytes, self.size_bytes)
        self.size_bytes -= less
        await self._room.give_back(self._holder, less)


class Room:
    """Bytes of bodies on their way; one that is larger than all of it, or than one attester's part, gets that alone."""

    def __init__(self, most_bytes: int = MOST_BYTES, most_bytes_each: int = MOST_BYTES_EACH) -> None:
        self._most_bytes = most_bytes
        self._most_bytes_each = most_bytes_each
        self._taken_bytes: Counter[Address] = Counter()
        self._changed = asyncio.Condition()

    @property
    def taken_bytes(self) -> int:
        """At present."""
        return self._taken_bytes.total()

    @asynccontextmanager
    async def of(self, holder: Address, size_bytes: int) -> AsyncIterator[Place]:
        """Waits until there is so much for this attester."""
        place = Place(self, holder, min(size_bytes, self._most_bytes))
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(holder, place.size_bytes))
            self._taken_bytes[holder] += place.size_bytes
        try:
            yield place
        finally:
            await self.give_back(holder, place.size_bytes)

    def _has_room(self, holder: Address, size_bytes: int) -> bool:
        held = self._taken_bytes[holder]
        is_within_part = held == 0 or held + size_bytes <= self._most_bytes_each
        return is_within_part and self.taken_bytes + size_bytes <= self._most_bytes

    async def give_back(self, holder: Address, size_bytes: int) -> None:
        """For whoever waits."""
        self._taken_bytes[holder] -= size_bytes
        if not self._taken_bytes[holder]:
            del self._taken_bytes[holder]
        async with self._changed:
            self._changed.notify_all()


def showing(
    room: Room,
    pictures: Sequence[Picture],
    read: Callable[[str], Awaitable[bytes | None]],
    evidence: Callable[[tuple[bytes, ...]], Evidence],
) -> Show:
    """`read` gets the digits of a picture's SHA-256; `evidence` the job's pictures, empty where one is not shown."""

    @asynccontextmanager
    async def show(attester: Address, numbers: Collection[int] | None) -> AsyncIterator[bytes]:
        every = range(len(pictures))
        chosen = set(every) if numbers is None and len(every) <= DRAWN else set(numbers or ())
        if not chosen <= set(every):
            raise NotYet("attester_unclear", "an attester wants pictures that the job does not have", _RETRY_S)
        size_bytes = sum(pictures[number].bytes for number in chosen)
        async with room.of(attester, _COPIES * size_bytes) as place:
            octets = [await _read(read, pictures[number]) if number in chosen else b"" for number in every]
            body = await asyncio.to_thread(evidence(tuple(octets)).encode)
            del octets
            await place.shrink(size_bytes)
            yield body

    return show


async def _read(read: Callable[[str], Awaitable[bytes | None]], picture: Picture) -> bytes:
    octets = await read(picture.sha256)
    if octets is None:
        raise NeverAttested("picture_gone", "a picture that other attesters must see is gone")
    return octets
