"""The network between real nodes: a TCP proxy per direction of dialling, which a test can cut, delay and reset.

Node i reaches node j through `Links.url(i, j)`, so whatever passes between two nodes goes through one of two proxies,
whoever has dialled. What is cut is held back and arrives later, as with packets that TCP sends again; a reset ends
connections at once, and what was under way is lost.
"""

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

_CHUNK_BYTES: Final = 64 * 1024
_HELD_CHUNKS: Final = 64
"""Held back per direction before the sender must wait, as its own TCP window would make it."""
_ANSWER_S: Final = 10.0


@dataclass(slots=True)
class _Way:
    """One direction between two nodes."""

    passes: asyncio.Event
    delay_s: float = 0.0


@dataclass(slots=True)
class _Listener:
    """What one node dials to reach another."""

    port: int
    server: asyncio.Server
    connections: set[asyncio.Task[None]] = field(default_factory=set)


class Links:
    """Proxies on an event loop in a thread of their own. Nodes are named by index; methods may be called anywhere."""

    def __init__(self) -> None:
        self._ways: dict[tuple[int, int], _Way] = {}
        self._listeners: dict[tuple[int, int], _Listener] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every connection and the thread."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, source: int, target: int, target_port: int) -> int:
        """A port on which `source` reaches `target`, which listens on `target_port` of loopback."""
        return self._call(self._listen(source, target, target_port)).port

    def cut(self, source: int, target: int) -> None:
        """Nothing passes from `source` to `target` from now on; what goes the other way does."""
        self._call(self._set_cut(source, target))

    def isolate(self, node: int, others: Iterable[int]) -> None:
        """Cuts a node off from others, both ways."""
        for other in others:
            self.cut(node, other)
            self.cut(other, node)

    def delay(self, source: int, target: int, delay_ms: int) -> None:
        """Everything from `source` arrives so much later at `target`, in order."""
        self._call(self._set_delay(source, target, delay_ms))

    def reset(self, one: int, other: int) -> None:
        """Ends the connections between two nodes; they may dial again at once."""
        self._call(self._reset(one, other))

    def heal(self) -> None:
        """Everything passes again, without delay."""
        self._call(self._heal())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_S)

    # On the loop

    def _way(self, source: int, target: int) -> _Way:
        way = self._ways.get((source, target))
        if way is None:
            way = self._ways[source, target] = _Way(asyncio.Event())
            way.passes.set()
        return way

    async def _set_cut(self, source: int, target: int) -> None:
        self._way(source, target).passes.clear()

    async def _set_delay(self, source: int, target: int, delay_ms: int) -> None:
        self._way(source, target).delay_s = delay_ms / 1000

    async def _heal(self) -> None:
        for way in self._ways.values():
            way.passes.set()
            way.delay_s = 0.0

    async def _listen(self, source: int, target: int, target_port: int) -> _Listener:
        async def on_connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = asyncio.current_task()
            assert connection is not None
            listener.connections.add(connection)
            try:
                await self._connect(source, target, target_port, reader, writer)
            except asyncio.CancelledError:
                return  # A reset, or the end of the test. asyncio would log it as an error.
            finally:
                listener.connections.discard(connection)

        server = await asyncio.start_server(on_connected, "127.0.0.1", 0)
        listener = self._listeners[source, target] = _Listener(server.sockets[0].getsockname()[1], server)
        return listener

    async def _connect(
        self, source: int, target: int, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        forth, back = self._way(source, target), self._way(target, source)
        writers = [writer]
        try:
            await forth.passes.wait()  # A handshake needs both ways.
            await back.passes.wait()
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(target_writer)
            pumps = [
                asyncio.create_task(_Pump(forth, reader, target_writer).run()),
                asyncio.create_task(_Pump(back, target_reader, writer).run()),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # The target is down: the source sees its connection end.
        finally:
            for each in writers:
                each.transport.abort()

    async def _reset(self, one: int, other: int) -> None:
        for pair in ((one, other), (other, one)):
            if pair in self._listeners:
                for connection in self._listeners[pair].connections:
                    connection.cancel()

    async def _close(self) -> None:
        for listener in self._listeners.values():
            listener.server.close()
            for connection in listener.connections:
                connection.cancel()
        running = [each for listener in self._listeners.values() for each in listener.connections]
        await asyncio.gather(*running, return_exceptions=True)


class _Pump:
    """Copies one direction of one connection."""

    def __init__(self, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._way = way
        self._reader = reader
        self._writer = writer
        self._held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_HELD_CHUNKS)

    async def run(self) -> None:
        """Until either end closes."""
        delivery = asyncio.create_task(self._deliver())
        try:
            while chunk := await self._reader.read(_CHUNK_BYTES):
                await self._held.put((time.monotonic() + self._way.delay_s, chunk))
            await self._held.join()
        except ConnectionError:
            return  # As good as closed.
        finally:
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)

    async def _deliver(self) -> None:
        while True:
            due, chunk = await self._held.get()
            await self._way.passes.wait()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._writer.write(chunk)
            await self._writer.drain()
            self._held.task_done()
