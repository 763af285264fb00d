"""The plainest requests, answered where they arrive: between the socket and the usual way through parser, task and
middleware, which takes ten times as long as many an answer does.

Only a POST of JSON whose head came in one piece and says nothing unusual is plain; everything else goes the usual way,
so nothing has to be supported here that is supported there.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

DirectAnswer = Callable[[bytes], bytes | None]
"""A body → the JSON to answer it with, status 200; None: this one goes the usual way. Quick, and raises nothing."""

_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_MAX_HELD_BYTES: Final = 64 * 1024
"""What a request may have, head and body, whose body comes in pieces; longer ones are no quick work."""
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*"
# What changes where the body ends, what it says, or what must be answered. A connection that stays open is the rule.
_UNUSUAL: Final = (
    rb"(?:content-length|content-encoding|transfer-encoding|te|trailer|expect|upgrade|origin):"
    rb"|connection:(?![ ]?keep-alive\r\n)"
)
_FIELDS: Final = rb"(?i:(?!" + _UNUSUAL + rb")" + _TOKEN + rb":" + _VALUE + rb"\r\n)*+"
_LENGTH: Final = rb"(?i:content-length):[ ]?([0-9]{1,9})\r\n"
_PLAIN: Final = re.compile(rb"POST (/[a-z0-9/]*) HTTP/1\.1\r\n" + _FIELDS + _LENGTH + _FIELDS + rb"\r\n")
_JSON: Final = re.compile(rb"\r\n(?i:content-type):[ ]?application/json[;\r]")


class DirectRequests:
    """One connection's, while nothing of another request is under way there."""

    def __init__(self, answers: Mapping[bytes, DirectAnswer]) -> None:
        self._answers = answers
        self._held = bytearray()
        self._missing_bytes = 0

    @property
    def is_holding(self) -> bool:
        """Whether a plain request's head is here, and the rest of its body is still to come."""
        return bool(self._held)

    def take(self, received: bytes) -> tuple[bytes | None, bytes]:
        """What the connection brought → the whole response, or the bytes that go the usual way: neither while it holds.

        Many clients send head and body apart.
        """
        if len(received) < self._missing_bytes:  # Looks at nothing else: a byte at a time must not cost a head each.
            self._missing_bytes -= len(received)
            self._held += received
            return None, b""
        if self._held:
            received, self._held, self._missing_bytes = bytes(self._held) + received, bytearray(), 0
        head = _PLAIN.match(received)
        answer = self._answers.get(head[1]) if head is not None else None
        if head is None or answer is None or _JSON.search(head[0]) is None:
            return None, received
        whole_bytes = head.end() + int(head[2])
        if len(received) < whole_bytes <= _MAX_HELD_BYTES:
            self._missing_bytes = whole_bytes - len(received)
            self._held += received
            return None, b""
        body = answer(received[head.end() :]) if len(received) == whole_bytes else None
        if body is None:
            return None, received
        return _HEAD % len(body) + body, b""
