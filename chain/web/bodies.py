"""How much of requests' bodies may be in memory: a bound for each, and room that the large ones share.

A large body takes room as its bytes arrive, and holds what it has until its request is answered. Whoever has not shown
who it is gets a part of the room only, for as long as its body is on its way: slow or endless bodies of strangers so
leave room for those who are known.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.types import Receive, Scope

from chain.web.problems import Problem

Recognise = Callable[[Scope, bytes], Awaitable[bool]]
"""A request, and the first bytes of its body → whether its sender has shown who it is; raises Problem to refuse it."""

_CROWDED_RETRY_S: Final = 5


async def recognise_all(_scope: Scope, _beginning: bytes) -> bool:
    """For services that know no strangers."""
    return True


@dataclass(frozen=True)
class LargerBodies:
    """Paths whose bodies may be larger than elsewhere."""

    max_bytes: int
    paths: Mapping[str, Recognise]
    """Each with what is asked once, as soon as a body there has more bytes than are allowed elsewhere."""
    all_bytes: int
    """What large bodies may hold together, arriving or being answered."""
    strangers_bytes: int
    """How much of it bodies may hold that are still arriving from senders that were not recognised."""


class BodyReader:
    """Reads one application's request bodies, whole."""

    def __init__(self, max_bytes: int, larger: LargerBodies | None = None) -> None:
        """`max_bytes` is every body's bound but for those in `larger`."""
        self._max_bytes = max_bytes
        self._larger = larger
        self._room = _Room(larger)

    def hold(self) -> "Hold":
        """The room of one request, to be released when that is answered; none yet."""
        return Hold(self._room)

    async def read(self, scope: Scope, receive: Receive, hold: "Hold") -> bytes | None:
        """The body, or None where the client went away; raises Problem: 400, 413, 503, or what a recogniser raises."""
        recognise = self._larger.paths.get(scope["path"]) if self._larger is not None else None
        most_bytes = self._max_bytes if self._larger is None or recognise is None else self._larger.max_bytes
        declared_bytes = _declared_bytes(scope)
        if declared_bytes is not None and declared_bytes > most_bytes:
            raise _too_large(most_bytes)
        chunks: list[bytes] = []
        received_bytes = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunks.append(message.get("body", b""))
            received_bytes += len(chunks[-1])
            if received_bytes > most_bytes:
                raise _too_large(most_bytes)
            if received_bytes > self._max_bytes:
                if recognise is not None and not hold.has_begun:
                    beginning = b"".join(chunks)[: self._max_bytes]
                    hold.begin(await recognise(scope, beginning), declared_bytes or received_bytes)
                hold.grow(received_bytes)
            if not message.get("more_body", False):
                hold.settle()
                return b"".join(chunks)


class Hold:
    """What one request's body holds of the room."""

    def __init__(self, room: "_Room") -> None:
        self._room = room
        self._bytes = 0
        self._is_strange = False
        self.has_begun = False

    def begin(self, is_known: bool, expected_bytes: int) -> None:
        """Raises Problem at once where the whole body would find no room: its sender need not send it."""
        self.has_begun = True
        self._is_strange = not is_known
        self._room.check(expected_bytes, self._is_strange)

    def grow(self, received_bytes: int) -> None:
        """Takes room for all that has arrived; raises Problem where there is none."""
        self._room.take(received_bytes - self._bytes, self._is_strange)
        self._bytes = received_bytes

    def settle(self) -> None:
        """The body is whole: how slowly its sender may send it is of no concern any more."""
        if self._is_strange:
            self._room.accept(self._bytes)
            self._is_strange = False

    def release(self) -> None:
        """Gives everything back."""
        self._room.take(-self._bytes, self._is_strange)
        self._bytes = 0


class _Room:
    def __init__(self, larger: LargerBodies | None) -> None:
        self._all_bytes = 0 if larger is None else larger.all_bytes
        self._strangers_bytes = 0 if larger is None else larger.strangers_bytes
        self._held_bytes = 0
        self._held_by_strangers_bytes = 0

    def check(self, more_bytes: int, is_strange: bool) -> None:
        is_full = self._held_bytes + more_bytes > self._all_bytes
        if is_full or (is_strange and self._held_by_strangers_bytes + more_bytes > self._strangers_bytes):
            detail = "too many large requests at once; try again"
            raise Problem(503, "crowded", detail, headers={"Retry-After": str(_CROWDED_RETRY_S)})

    def take(self, more_bytes: int, is_strange: bool) -> None:
        if more_bytes > 0:
            self.check(more_bytes, is_strange)
        self._held_bytes += more_bytes
        if is_strange:
            self._held_by_strangers_bytes += more_bytes

    def accept(self, strangers_bytes: int) -> None:
        self._held_by_strangers_bytes -= strangers_bytes


def _declared_bytes(scope: Scope) -> int | None:
    """What Content-Length says, or None where nothing does."""
    declared = dict(scope["headers"]).get(b"content-length")
    if declared is None:
        return None
    if not declared.isdigit() or len(declared) > 18:
        raise Problem(400, "malformed", "the Content-Length header is not a number", field="Content-Length")
    return int(declared)


def _too_large(most_bytes: int) -> Problem:
    return Problem(413, "too_large", f"a body has at most {most_bytes} bytes here", field="body")
