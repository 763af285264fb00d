"""Files that follow a hub's message: counted and hashed against what was announced, and kept in memory."""

import hashlib
from typing import Final

from chain.primitives.hub_messages import CheckSteps
from chain.primitives.worker_messages import HubMessage
from provider.hub_link.errors import LinkEnded

MAX_FILES_BYTES: Final = 64 * 2**20
"""Of one message: the latents of a check have less."""


class IncomingFiles:
    """Of one message at a time."""

    def __init__(self) -> None:
        self._message: CheckSteps | None = None
        self._octets = bytearray()
        self._total_bytes = 0

    def announce(self, message: HubMessage) -> bool:
        """Whether files of this message have to come first; raises LinkEnded where others are on their way."""
        if not message.attachments:
            return False
        assert isinstance(message, CheckSteps)
        if self._message is not None:
            raise _broken("files of two messages at one time")
        self._total_bytes = sum(each.size_bytes for each in message.attachments)
        if self._total_bytes > MAX_FILES_BYTES:
            raise _broken(f"files of {self._total_bytes} bytes")
        self._message = message
        return True

    def take(self, octets: bytes) -> tuple[CheckSteps, tuple[bytes, ...]] | None:
        """A binary frame; the message with its files once the last byte is there. Raises LinkEnded."""
        message = self._message
        if message is None or not octets or len(self._octets) + len(octets) > self._total_bytes:
            raise _broken("a binary frame that no message has announced")
        self._octets += octets
        if len(self._octets) < self._total_bytes:
            return None
        files: list[bytes] = []
        start = 0
        for each in message.attachments:
            file = bytes(self._octets[start : start + each.size_bytes])
            if hashlib.sha256(file).hexdigest() != each.sha256:
                raise _broken("bytes that are not those that were announced")
            files.append(file)
            start += each.size_bytes
        self._message, self._octets = None, bytearray()
        return message, tuple(files)


def _broken(complaint: str) -> LinkEnded:
    return LinkEnded(f"the hub breaks the protocol: {complaint}", reason="malformed", is_told=True)
