"""Evidence as bytes, for one attester at a time: the pictures that it sees, and no more in memory than is room for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from hub.attestation.errors import NeverAttested, NotYet
from hub.attestation.evidence import DRAWN, Evidence
from hub.store.results import Picture

MOST_BYTES: Final = 96 * 1024 * 1024
_COPIES: Final = 2
"""The pictures as they are read, and the body that they are put into."""
_RETRY_S: Final = 5.0

Show = Callable[[Collection[int] | None], AbstractAsyncContextManager[bytes]]
"""Which pictures an attester draws, None as long as it has not said → the body, for as long as it is being sent."""


class Room:
    """Bytes of bodies on their way; one that is larger than all of it gets it alone."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._taken_bytes = 0
        self._changed = asyncio.Condition()

    @property
    def taken_bytes(self) -> int:
        """At present."""
        return self._taken_bytes

    @asynccontextmanager
    async def of(self, size_bytes: int) -> AsyncIterator[None]:
        """Waits until there is so much."""
        wanted = min(size_bytes, self._most_bytes)
        async with self._changed:
            await self._changed.wait_for(lambda: self._taken_bytes + wanted <= self._most_bytes)
            self._taken_bytes += wanted
        try:
            yield
        finally:
            self._taken_bytes -= wanted
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
    async def show(numbers: Collection[int] | None) -> AsyncIterator[bytes]:
        every = range(len(pictures))
        chosen = set(every) if numbers is None and len(every) <= DRAWN else set(numbers or ())
        if not chosen <= set(every):
            raise NotYet("attester_unclear", "an attester wants pictures that the job does not have", _RETRY_S)
        async with room.of(_COPIES * sum(pictures[number].bytes for number in chosen)):
            octets = [await _read(read, pictures[number]) if number in chosen else b"" for number in every]
            body = await asyncio.to_thread(evidence(tuple(octets)).encode)
            del octets
            yield body

    return show


async def _read(read: Callable[[str], Awaitable[bytes | None]], picture: Picture) -> bytes:
    octets = await read(picture.sha256)
    if octets is None:
        raise NeverAttested("picture_gone", "a picture that other attesters must see is gone")
    return octets
