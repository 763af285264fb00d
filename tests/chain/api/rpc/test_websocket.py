"""JSON-RPC over WebSocket: the same answers as over HTTP, and bounds that no client gets around."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame
from websockets.sync.client import connect
from websockets.uri import parse_uri

from chain.api.reading import BlockCache, StoredBlock
from chain.api.rpc.budget import MAX_UNSENT_BYTES, ByteBudget
from chain.api.rpc.dispatch import Dispatcher
from chain.api.rpc.heavy_pool import HeavyPool
from chain.api.rpc.metrics import RpcMetrics
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.table import all_methods
from chain.api.rpc.websocket import MAX_CONNECTIONS_PER_ADDRESS, RpcSockets
from chain.primitives.hexadecimal import to_hex
from chain.primitives.types import ATOMS_PER_AIT
from chain.web.server import Server, listen
from chain.web.websocket import MAX_MESSAGE_BYTES
from tests.chain.api.rpc.rpc_socket import PATIENCE_S, RpcSocket

if TYPE_CHECKING:
    from chain.storage.reader import ChainReader
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode

Serve = Callable[..., "Served"]


class Served:
    """The WebSockets of a node on its event loop, on a port and with bounds of their own."""

    def __init__(
        self,
        node: RunningNode,
        *,
        cache: BlockCache | None = None,
        send_timeout_s: float = 30.0,
        max_unsent_bytes: int = MAX_UNSENT_BYTES,
        **bounds: Any,
    ) -> None:
        registry = CollectorRegistry()
        self.pool = HeavyPool()
        chain = ServedChain(node.node, cache or BlockCache(), version="test")
        dispatcher = Dispatcher(all_methods(chain), pool=self.pool, metrics=RpcMetrics(registry))
        bounds.setdefault("origins", ("*",))
        unsent = ByteBudget(max_unsent_bytes)
        self.sockets = RpcSockets(chain, dispatcher, unsent, registry=registry, **bounds)
        application = FastAPI(lifespan=self._lifespan)
        self.sockets.mount(application)
        self._server = Server(application, listen("127.0.0.1", 0), send_timeout_s=send_timeout_s)
        self.url = self._server.url
        self._node = node
        self._tasks: list[asyncio.Future[Any]] = []
        self._is_ready, self._is_over = threading.Event(), threading.Event()
        self.start(self._serve())
        assert self._is_ready.wait(60)

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """On the node's event loop."""
        self._node.call_soon(lambda: self._tasks.append(asyncio.ensure_future(work)))

    @asynccontextmanager
    async def _lifespan(self, _application: FastAPI) -> AsyncIterator[None]:
        self.sockets.start()
        yield
        await self.sockets.close()
        await self.pool.close()

    async def _serve(self) -> None:
        try:
            await self._server.serve(lambda _url: self._is_ready.set())
        finally:
            self._is_over.set()

    def stop(self) -> None:
        """As SIGTERM would."""
        self._node.call_soon(self._server.stop)
        assert self._is_over.wait(60)


@pytest.fixture
def serve(node: RunningNode) -> Iterator[Serve]:
    """Serves the node's WebSockets with other bounds."""
    running: list[Served] = []

    def make(**options: Any) -> Served:
        running.append(Served(node, **options))
        return running[-1]

    yield make
    for served in running:
        served.stop()


class MuteClient:
    """One that does not read unless it is asked to, on a socket that takes hardly anything ahead of its reader."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._socket = sockets.socket()
        self._socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        self._socket.connect((host, int(port)))
        self._protocol = ClientProtocol(parse_uri(f"ws://{host}:{port}/rpc"))
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        self._protocol.receive_data(self._socket.recv(4096))
        self._protocol.events_received()  # How the opening ended.

    def send(self, method: str, *parameters: Any, times: int = 1) -> None:
        """One call, or a batch of the same."""
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        self._protocol.send_text(json.dumps(call if times == 1 else [call] * times).encode())
        self._flush()

    def send_at_once(self, count: int) -> None:
        """Many calls, each in a message of its own, in one write; their ids count from 0."""
        for call_id in range(count):
            self._protocol.send_text(b'{"jsonrpc":"2.0","id":%d,"method":"eth_chainId"}' % call_id)
        self._flush()

    def read_ids(self, count: int) -> list[int]:
        """Of so many answers."""
        self._socket.settimeout(PATIENCE_S)
        ids: list[int] = []
        while len(ids) < count and (octets := self._socket.recv(65_536)):
            self._protocol.receive_data(octets)
            frames = [event for event in self._protocol.events_received() if isinstance(event, Frame)]
            ids += [json.loads(bytes(frame.data))["id"] for frame in frames]
        return ids

    def close(self) -> None:
        """Without a word."""
        self._socket.close()

    def _flush(self) -> None:
        self._socket.sendall(b"".join(self._protocol.data_to_send()))


def wait_until(is_so: Callable[[], bool]) -> None:
    """The machine may be busy."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def end_of(connection: RpcSocket) -> int:
    """The code with which the node ends a connection, after what may still come."""
    with pytest.raises(ConnectionClosed) as ended:
        connection.wait(1_000_000)
    assert ended.value.rcvd is not None
    return ended.value.rcvd.code


REQUESTS = [
    b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}',
    b'{"jsonrpc":"2.0","id":"x","method":"eth_getBlockByNumber","params":["0x0",true]}',
    b'{"jsonrpc":"2.0","id":2,"method":"eth_getLogs","params":[{"fromBlock":"0x0"}]}',
    b'{"jsonrpc":"2.0","id":3,"method":"eth_nothing"}',
    b'{"jsonrpc":"2.0","id":4,"method":"eth_getBalance","params":["0x"]}',
    b'[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0","method":"eth_chainId"},7]',
    b"[]",
    b"{",
    b"",
    b"\xc3\xa4",
    b"[" * 100_000,
    b'{"jsonrpc":"2.0","id":5,"method":"eth_getLogs","params":[' + b'{"topics":' * 10_000,
]


def test_the_same_answers_as_over_http(node: RunningNode, rpc: RpcClient) -> None:
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    with RpcSocket(node.url) as connection:
        for request in REQUESTS:
            expected = rpc.post(request).json()
            connection.socket.send(request.decode())
            assert connection.receive() == expected
            connection.socket.send(request)  # As a binary message.
            assert connection.receive() == expected
        connection.socket.send('{"jsonrpc":"2.0","method":"eth_chainId"}')  # A notification: no answer.
        assert connection.call("eth_chainId") == rpc.call("eth_chainId")


def test_messages_sent_ahead_are_answered_in_order(node: RunningNode) -> None:
    """Transactions too: their nonces stay in order."""
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    with RpcSocket(node.url) as connection:
        expected = []
        for nonce in range(1, 101):
            transfer = node.people.transfer("ann", "bob", 1, nonce=nonce)
            expected.append((connection.send("eth_sendRawTransaction", to_hex(transfer.raw)), to_hex(transfer.hash)))
            expected += [(connection.send("eth_chainId"), hex(node.people.network.chain_id)) for _ in range(9)]
        answered = [connection.receive() for _ in expected]
    assert [(each["id"], each.get("result")) for each in answered] == expected


def test_a_thousand_messages_may_be_sent_ahead(serve: Serve) -> None:
    client = MuteClient(serve().url)
    client.send_at_once(1_000)
    assert client.read_ids(1_000) == list(range(1_000))
    client.close()


@pytest.mark.parametrize("path", ["/", "/rpc"])
def test_both_paths(node: RunningNode, path: str) -> None:
    with connect(node.url.replace("http", "ws") + path) as connection:
        connection.send(REQUESTS[0].decode())
        assert json.loads(connection.recv(5))["result"] == hex(node.people.network.chain_id)


def test_a_message_too_long_ends_the_connection(node: RunningNode) -> None:
    with RpcSocket(node.url) as connection:
        text = '{"jsonrpc":"2.0","id":1,"method":"web3_sha3","params":["0x"]}'
        connection.socket.send(text + " " * (MAX_MESSAGE_BYTES - len(text)))
        assert connection.receive()["result"].startswith("0xc5d2460186f7")
        connection.socket.send(text + " " * (MAX_MESSAGE_BYTES - len(text) + 1))
        assert end_of(connection) == 1009


def test_who_does_not_read_is_left_and_nobody_waits_for_it(serve: Serve, node: RunningNode) -> None:
    served = serve()
    people = node.people
    node.settle(people.mint("ann", ATOMS_PER_AIT, nonce=0))
    mute = MuteClient(served.url)
    for _ in range(32):
        mute.send("eth_subscribe", "newPendingTransactions", True)
    with RpcSocket(served.url) as diligent:
        hashes = diligent.call("eth_subscribe", "newPendingTransactions")
        wait_until(lambda: served.sockets.subscription_count == 33)
        sent = [people.transfer("ann", "bob", 1, nonce=nonce) for nonce in range(1, 501)]
        node.send(*sent)  # 16,000 notifications of 700 bytes for the one.
        diligent.wait(len(sent))
        assert diligent.results(hashes) == [to_hex(each.hash) for each in sent]
        wait_until(lambda: len(served.sockets) == 1)
        assert served.sockets.subscription_count == 1
        assert diligent.call("eth_chainId") == hex(people.network.chain_id)
    mute.close()
    assert node.node.fault is None


def test_an_answer_that_nobody_reads_ends_the_connection(serve: Serve, node: RunningNode) -> None:
    served = serve(send_timeout_s=0.3)
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    node.settle(*(node.people.transfer("ann", "bob", 1, nonce=nonce) for nonce in range(1, 200)))
    mute = MuteClient(served.url)
    mute.send("eth_getLogs", {"fromBlock": "0x0"}, times=40)
    wait_until(lambda: len(served.sockets) == 1)
    wait_until(lambda: len(served.sockets) == 0)
    mute.close()


def test_answers_that_nobody_reads_are_bounded_together(serve: Serve, node: RunningNode) -> None:
    served = serve(max_unsent_bytes=15_000_000)
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    node.settle(*(node.people.transfer("ann", "bob", 1, nonce=nonce) for nonce in range(1, 200)))
    mute = [MuteClient(served.url) for _ in range(3)]
    for each in mute:
        each.send("eth_getLogs", {"fromBlock": "0x0"}, times=90)  # Ten megabytes for each.
    wait_until(lambda: len(served.sockets) == 1)  # The others found no room.
    with RpcSocket(served.url) as small:
        assert small.call("eth_chainId") == hex(node.people.network.chain_id)
    for each in mute:
        each.close()
    wait_until(lambda: len(served.sockets) == 0)
    with RpcSocket(served.url) as diligent:
        assert len(diligent.call("eth_getLogs", {"fromBlock": "0x0"})) == 201


class SlowDisk(BlockCache):
    """Which takes longer for a block than the chain takes to make one."""

    def block_at(self, reader: ChainReader, height: int) -> StoredBlock | None:
        time.sleep(0.15)
        return super().block_at(reader, height)


def test_blocks_that_come_faster_than_they_can_be_told(serve: Serve, node: RunningNode) -> None:
    """None is left out; who subscribes meanwhile hears of no block that was there before."""
    served = serve(cache=SlowDisk())
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    with RpcSocket(served.url) as early, RpcSocket(served.url) as late:
        early.call("eth_subscribe", "newHeads")
        for nonce in range(1, 9):
            node.settle(node.people.transfer("ann", "bob", 1, nonce=nonce))
        before = int(late.call("eth_blockNumber"), 16)
        late.call("eth_subscribe", "newHeads")
        node.settle(node.people.transfer("ann", "bob", 1, nonce=9))
        late_numbers = [int(head["number"], 16) for _, head in late.wait(1)]
        early_numbers = [int(head["number"], 16) for _, head in early.wait(9)]
    assert late_numbers[0] == before + 1
    assert early_numbers == list(range(early_numbers[0], early_numbers[0] + len(early_numbers)))
    assert early_numbers[0] <= before - 7


def test_connections_are_bounded_and_idle_ones_make_room(serve: Serve) -> None:
    served = serve(max_connections=3, idle_s=0.5)
    with RpcSocket(served.url) as first, RpcSocket(served.url) as second, RpcSocket(served.url) as third:
        first.call("eth_subscribe", "newHeads")
        with pytest.raises(InvalidStatus) as refused:
            RpcSocket(served.url)
        assert refused.value.response.status_code == 403
        time.sleep(0.6)
        third.call("eth_chainId")
        with RpcSocket(served.url) as fourth:  # In place of the second: the first listens, the third has just asked.
            assert end_of(second) == 1001
            for connection in (first, third, fourth):
                connection.call("eth_chainId")
            with pytest.raises(InvalidStatus):
                RpcSocket(served.url)
    with RpcSocket(served.url) as later:
        later.call("eth_chainId")


def test_one_address_cannot_take_all_places(serve: Serve) -> None:
    """As ASGI has it, since a test has but one address of its own."""
    served = serve()
    told: list[str] = []
    is_over = threading.Event()
    served.start(_open_from_one_address(served.sockets, told, is_over))
    assert is_over.wait(60)
    assert told == ["websocket.accept"] * MAX_CONNECTIONS_PER_ADDRESS + ["websocket.close", "websocket.accept"]


async def _open_from_one_address(rpc_sockets: RpcSockets, told: list[str], is_over: threading.Event) -> None:
    """Notes what as many as may, one more, and somebody from elsewhere, are told."""
    tasks = []
    for host in ["203.0.113.9"] * (MAX_CONNECTIONS_PER_ADDRESS + 1) + ["198.51.100.1"]:
        events = asyncio.Queue[dict[str, Any]]()
        events.put_nowait({"type": "websocket.connect"})
        is_answered = asyncio.Event()

        async def send(event: Any, is_answered: asyncio.Event = is_answered) -> None:
            told.append(event["type"])
            is_answered.set()

        scope = {"type": "websocket", "client": (host, 1), "headers": []}
        tasks.append(asyncio.create_task(rpc_sockets(scope, events.get, send)))
        await is_answered.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    is_over.set()


def test_pages_of_other_origins_are_refused(serve: Serve) -> None:
    served = serve(origins=("https://wallet.example",))
    for origin in (None, "https://wallet.example"):
        with RpcSocket(served.url, origin=origin) as connection:
            connection.call("eth_chainId")
    for origin in ("https://evil.example", "https://wallet.example.evil", "null"):
        with pytest.raises(InvalidStatus) as refused:
            RpcSocket(served.url, origin=origin)
        assert refused.value.response.status_code == 403


def test_the_end_of_the_node_ends_the_connections_in_good_order(node: RunningNode) -> None:
    with RpcSocket(node.url) as listening, RpcSocket(node.url) as idle:
        listening.call("eth_subscribe", "newHeads")
        idle.call("eth_chainId")
        began_s = time.monotonic()
        node.stop()
        assert time.monotonic() - began_s < 60
        assert {end_of(each) for each in (listening, idle)} <= {1001, 1012}


def test_gone_clients_leave_nothing_behind(serve: Serve, node: RunningNode) -> None:
    served = serve()
    for _ in range(20):
        client = MuteClient(served.url)
        client.send("eth_subscribe", "logs")
        client.close()
    node.settle(node.people.mint("ann", ATOMS_PER_AIT, nonce=0))
    wait_until(lambda: len(served.sockets) == 0 == served.sockets.subscription_count)
