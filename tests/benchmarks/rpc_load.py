"""A process of its own that asks a server over a few connections, each waiting for its answer before it asks again, and
prints how long that took.

Reads a MessagePack file: host, port, path, and per connection the bodies to post, or the targets to get. Waits for a
line on standard input, and prints a JSON line: seconds in all, and of each request.
"""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Final, cast

import msgspec
import uvloop

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_HEAD_END: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
_MOST_SHOWN: Final = 400


class Plan(msgspec.Struct):
    """What to ask whom."""

    host: str
    port: int
    path: str
    connections: list[list[bytes]]
    method: str = "POST"


class Asking(asyncio.Protocol):
    """One connection. As little Python per answer as may be: it shares the machine with the server."""

    def __init__(self, requests: list[bytes], done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._done = done
        self._next = 0
        self._received = b""
        self._sent_at = 0.0
        self.seconds: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for `ask`."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none, but has its methods.

    def ask(self) -> None:
        """Sends the next request."""
        if self._next == len(self._requests):
            self._done.set_result(None)
            return
        self._next += 1
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests[self._next - 1])

    def data_received(self, data: bytes) -> None:
        """Goes on once the answer is whole."""
        self._received += data
        if not _is_whole(self._received):
            return
        self.seconds.append(time.perf_counter() - self._sent_at)
        answer, self._received = self._received, b""
        if not answer.startswith(b"HTTP/1.1 200") or b'"error"' in answer:
            self._fail(f"refused: {answer[:_MOST_SHOWN]!r}")
        else:
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that hangs up has failed."""
        self._fail(f"the connection ended: {exc}")

    def _fail(self, message: str) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError(message))


def _is_whole(received: bytes) -> bool:
    end = received.find(_HEAD_END)
    if end < 0:
        return False
    length = _LENGTH.search(received, 0, end + 2)
    return received.endswith(_LAST_CHUNK) if length is None else len(received) == end + len(_HEAD_END) + int(length[1])


def _request(plan: Plan, body: bytes) -> bytes:
    host = f"Host: {plan.host}:{plan.port}\r\n".encode()
    if plan.method == "GET":
        return b"GET %b HTTP/1.1\r\n%b\r\n" % (body, host)
    head = f"POST {plan.path} HTTP/1.1\r\n".encode() + host + b"Content-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def _ask_all(plan: Plan) -> tuple[float, list[float]]:
    loop = asyncio.get_running_loop()
    askings, ends = [], []
    for bodies in plan.connections:
        requests = [_request(plan, body) for body in bodies]
        done = loop.create_future()
        _, asking = await loop.create_connection(lambda r=requests, d=done: Asking(r, d), plan.host, plan.port)  # type: ignore[misc]
        askings.append(asking)
        ends.append(done)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    started = time.perf_counter()
    for asking in askings:
        asking.ask()
    await asyncio.gather(*ends)
    return time.perf_counter() - started, [each for asking in askings for each in asking.seconds]


def main() -> None:
    """Asks what the file holds."""
    plan = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    seconds, each = uvloop.run(_ask_all(plan))
    print(json.dumps({"seconds": seconds, "each": each}), flush=True)


if __name__ == "__main__":
    main()
