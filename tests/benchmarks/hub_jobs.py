"""What a hub adds to a job, over HTTP, with providers that answer at once: a job alone, and as many as it takes.

The hub is the process that operators run, with its database, its chain node and its attester's log. Clients and
providers are this process, which needs processor time as well: of two cores the hub has little more than one. A job is
one small picture: sent, assigned over a WebSocket, made (it was drawn beforehand), delivered, decoded and compared with
earlier ones, kept, its receipt attested, and answered; the answer comes when the job is done. No result is
sampled for a second look; joining benchmarks, canaries and checks of what looks suspicious run along.
"""

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chain.primitives.hub_messages import Assignment
from chain.primitives.keys import PrivateKey
from tests.benchmarks.hub_store import seconds_per_sync
from tests.benchmarks.measuring import Table, milliseconds, percentile
from tests.hub.dialled import DialledProvider, draw
from tests.hub.postgresql import running_server, server_folder
from tests.hub.running import CLIENT_KEYS, Chain, HubProcess, wait_until

AT_ONCE: Final = 64
PROVIDERS: Final = 4
SIZE: Final = 256
_SELDOM: Final = 1e-9
"""The share of results that is checked again: this is about the hub, not about what checks cost providers."""
_WAIT_S: Final = 60


@dataclass
class ReadyProvider(DialledProvider):
    """Has its pictures before they are asked for, each of them once."""

    drawn: Iterator[bytes] = field(default_factory=lambda: iter(()))
    handling_s: list[float] = field(default_factory=list)

    def pictures(self, assignment: Assignment) -> list[bytes]:
        """The next ones."""
        return [next(self.drawn) for _ in range(assignment.run.count)]


async def serve(provider: DialledProvider, assignment: Assignment) -> None:
    """At once; how long that took is not the hub's."""
    assert isinstance(provider, ReadyProvider)
    started = time.perf_counter()
    await provider.deliver(assignment, provider.pictures(assignment))
    provider.handling_s.append(time.perf_counter() - started)


@dataclass(frozen=True)
class Figures:
    """Of one database."""

    alone_s: list[float]
    """Of jobs one after the other, without what the provider took."""
    together_s: list[float]
    jobs_per_s: float
    hub_cpu_s: float
    """Per job, of the hub's process."""
    own_cpu_s: float
    """Per job, of clients and providers."""


class Connection:
    """A client's connection that stays open: as little work as a client can be."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._head = (
            f"POST /v1/jobs HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        )

    async def job(self, prompt: str) -> float:
        """Sends a job and returns when it is done; the seconds that it took."""
        if not hasattr(self, "_reader"):
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        body = json.dumps({"prompt": prompt, "width": SIZE, "height": SIZE, "steps": 5, "wait_s": _WAIT_S})
        started = time.perf_counter()
        self._writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        answer = await self._reader.readexactly(length)
        took = time.perf_counter() - started
        assert b" 200 " in head[:16] and b'"status":"done"' in answer, answer[:500]
        return took

    def close(self) -> None:
        """Hangs up."""
        if hasattr(self, "_writer"):
            self._writer.close()
            del self._reader, self._writer


def hub_jobs(folder: Path, jobs_in_all: int) -> Table:
    """Added latency and jobs per second, on SQLite and on a real PostgreSQL server."""
    sync_s = seconds_per_sync(folder)
    pictures = [draw(f"picture {number}", number, SIZE, SIZE) for number in range(2 * jobs_in_all + 200)]
    with ExitStack() as stack:
        (folder / "chain").mkdir()
        chain = Chain(folder / "chain")
        stack.callback(chain.close)
        keys = [PrivateKey(bytes([0x71 + number]) * 32) for number in range(PROVIDERS)]
        for key in keys:
            chain.register(key)
        rows = [("SQLite", _measure(folder / "sqlite", chain, keys, iter(pictures), jobs_in_all))]
        if server_folder() is not None:
            server = stack.enter_context(running_server(is_durable=True))
            flags = {
                "database_url": server.url(),
                "artifacts": folder / "pictures",
                "secrets_file": folder / "secrets.json",
            }
            rows.append(("PostgreSQL", _measure(folder / "pg", chain, keys, iter(pictures), jobs_in_all, **flags)))
    kilobytes = sum(map(len, pictures)) / len(pictures) / 1_000
    title = (
        f"A hub's overhead over HTTP ({jobs_in_all} jobs of one picture of {kilobytes:.0f} kB, {AT_ONCE} at once; "
        f"a sync takes {milliseconds(sync_s)})"
    )
    columns = (
        "database",
        "added to one job alone: p50, p99",
        "jobs per s",
        f"p50, p99 of {AT_ONCE} at once",
        "CPU per job: hub",
        "clients and providers",
    )
    return Table(title, columns, tuple((name, *_row(figures)) for name, figures in rows))


def _row(figures: Figures) -> tuple[str, ...]:
    def both(seconds: list[float]) -> str:
        return f"{milliseconds(percentile(seconds, 0.5))}, {milliseconds(percentile(seconds, 0.99))}"

    return (
        both(figures.alone_s),
        f"{figures.jobs_per_s:.0f}",
        both(figures.together_s),
        milliseconds(figures.hub_cpu_s),
        milliseconds(figures.own_cpu_s),
    )


@contextmanager
def _running(
    folder: Path, chain: Chain, keys: list[PrivateKey], drawn: Iterator[bytes], **flags: object
) -> Iterator[tuple[HubProcess, list[ReadyProvider]]]:
    seldom = {f"AITBC_HUB_CHECK_{standing}": _SELDOM for standing in ("NEW", "NORMAL", "PROVEN")}
    hub = HubProcess(folder, chain, **seldom, **flags).start()
    lock = threading.Lock()

    def one_after_the_other() -> Iterator[bytes]:
        while True:
            with lock:
                picture = next(drawn)
            yield picture

    providers = [
        ReadyProvider(key, chain, slots=16, behaviour=serve, mints=False, drawn=one_after_the_other()) for key in keys
    ]
    for provider in providers:
        provider.dial(hub.workers_url)
    try:
        yield hub, providers
    finally:
        for provider in providers:
            provider.hang_up()
        hub.stop()


def _measure(
    folder: Path, chain: Chain, keys: list[PrivateKey], drawn: Iterator[bytes], count: int, **flags: object
) -> Figures:
    with _running(folder, chain, keys, drawn, **flags) as (hub, providers):
        wait_until(lambda: hub.request("GET", "/v1/hub").json()["providers"] == PROVIDERS)
        return asyncio.run(_figures(hub, providers, count))


async def _figures(hub: HubProcess, providers: list[ReadyProvider], count: int) -> Figures:
    assert hub.process is not None
    port = int(hub.url.rpartition(":")[2])
    connections = [Connection(port, CLIENT_KEYS["alice"]) for _ in range(AT_ONCE)]
    try:
        await asyncio.gather(*(each.job(f"first {number}") for number, each in enumerate(connections)))
        for provider in providers:
            provider.handling_s.clear()
        took = [await connections[0].job(f"alone {number}") for number in range(max(50, count // 10))]
        handling = [seconds for provider in providers for seconds in provider.handling_s]
        own_s = percentile(handling, 0.5)
        alone = [seconds - own_s for seconds in took]
        for connection in connections:
            connection.close()  # Some have waited for as long as a hub lets them.
        left = iter(range(count))
        together: list[float] = []

        async def client(connection: Connection) -> None:
            together.extend([await connection.job(f"together {number}") for number in left])

        hub_cpu, own_cpu, started = cpu_seconds(hub.process.pid), time.process_time(), time.perf_counter()
        await asyncio.gather(*(client(each) for each in connections))
        elapsed = time.perf_counter() - started
        return Figures(
            alone_s=alone,
            together_s=together,
            jobs_per_s=count / elapsed,
            hub_cpu_s=(cpu_seconds(hub.process.pid) - hub_cpu) / count,
            own_cpu_s=(time.process_time() - own_cpu) / count,
        )
    finally:
        for connection in connections:
            connection.close()


def cpu_seconds(process_id: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
