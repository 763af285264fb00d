"""Bodies within bounds, path by path, and large ones within a bound together; without a socket, as ASGI alone."""

import asyncio
from typing import Any

import pytest

from chain.web.bodies import LargerBodies, recognise_all
from chain.web.middleware import LimitsMiddleware

LARGER = LargerBodies(100, {"/large": recognise_all}, 150, 0)


class Client:
    """Sends one request's body in pieces, and keeps what comes back."""

    def __init__(self, path: str, body: bytes, *, declares: bool = True, piece_bytes: int = 7) -> None:
        length = (b"content-length", str(len(body)).encode())
        self.scope = {
            "type": "http",
            "path": path,
            "headers": [length if declares else (b"transfer-encoding", b"chunked")],
        }
        self._pieces = [body[start : start + piece_bytes] for start in range(0, len(body), piece_bytes)] or [b""]
        self.status = 0
        self.body = b""
        self.gate = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        """ASGI."""
        if not self._pieces:
            await self.gate.wait()
            return {"type": "http.disconnect"}
        piece = self._pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}

    async def send(self, message: Any) -> None:
        """ASGI."""
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")


class Echo:
    """An application that answers with the body, when it is let to."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        message = await receive()
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})


def ask(client: Client) -> Client:
    async def work() -> None:
        await LimitsMiddleware(Echo(), 10, None, LARGER)(client.scope, client.receive, client.send)

    asyncio.run(work())
    return client


@pytest.mark.parametrize("declares", [True, False])
@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/", 0, 200),
        ("/", 10, 200),
        ("/", 11, 413),
        ("/large", 10, 200),
        ("/large", 100, 200),
        ("/large", 101, 413),
        ("/large/", 11, 413),
    ],
)
def test_each_path_has_its_bound(path: str, length: int, status: int, declares: bool) -> None:
    client = ask(Client(path, b"x" * length, declares=declares))
    assert client.status == status
    assert (client.body == b"x" * length) == (status == 200)


def test_large_bodies_share_a_bound_and_give_their_room_back() -> None:
    async def work() -> None:
        echo = Echo()
        echo.gate.clear()
        limited = LimitsMiddleware(echo, 10, None, LARGER)

        def start(client: Client) -> "asyncio.Task[None]":
            return asyncio.create_task(limited(client.scope, client.receive, client.send))

        first, second, small = Client("/large", b"a" * 90), Client("/large", b"b" * 61), Client("/", b"c" * 9)
        tasks = [start(first), start(small)]
        await asyncio.sleep(0)
        await start(second)
        assert (second.status, b"crowded" in second.body) == (503, True)
        fitting = Client("/large", b"d" * 60)
        tasks.append(start(fitting))
        await asyncio.sleep(0)
        echo.gate.set()
        await asyncio.gather(*tasks)
        assert [client.status for client in (first, small, fitting)] == [200, 200, 200]
        whole = Client("/large", b"e" * 100, declares=False)
        await start(whole)
        assert whole.status == 200

    asyncio.run(work())


def test_small_bodies_of_no_declared_length_hold_no_room() -> None:
    async def work() -> None:
        echo = Echo()
        echo.gate.clear()
        limited = LimitsMiddleware(echo, 10, None, LARGER)
        clients = [Client("/large", b"a" * 9, declares=False) for _ in range(5)]
        clients.append(Client("/large", b"b" * 100, declares=False))
        tasks = [asyncio.create_task(limited(client.scope, client.receive, client.send)) for client in clients]
        await asyncio.sleep(0)
        echo.gate.set()
        await asyncio.gather(*tasks)
        assert [client.status for client in clients] == [200] * 6

    asyncio.run(work())


def test_a_length_that_is_none_is_refused() -> None:
    client = Client("/", b"")
    client.scope["headers"] = [(b"content-length", b"-5")]
    assert ask(client).status == 400
