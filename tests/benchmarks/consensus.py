"""Real processes: how long a transfer takes to be final, and how many become final per second at what cost."""

import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from chain.client import NodeClient
from tests.benchmarks.measuring import Reference, Table, milliseconds, percentile
from tests.processes.cluster import Cluster, NodeProcess
from tests.processes.payer import Payer

_DEFAULT_INTERVAL_MS: Final = 500
_POLL_S: Final = 0.002
_FINAL_S: Final = 60.0
_DRAIN_S: Final = 600.0
_ECHO_ROUNDS: Final = 2_000
_ECHO_BYTES: Final = 200
"""About what a vote takes."""
_ACCOUNTS: Final = 40
_ECHO_PROGRAM: Final = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while received := connection.recv(4096):
        connection.sendall(received)
"""


def hop_seconds() -> float:
    """Median of half a round trip between two processes over loopback, with nothing but sockets around it."""
    with subprocess.Popen([sys.executable, "-c", _ECHO_PROGRAM], stdout=subprocess.PIPE) as echo:
        assert echo.stdout is not None
        with socket.create_connection(("127.0.0.1", int(echo.stdout.readline()))) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            rounds = []
            for _ in range(_ECHO_ROUNDS):
                started = time.perf_counter()
                connection.sendall(bytes(_ECHO_BYTES))
                left = _ECHO_BYTES
                while left:
                    left -= len(connection.recv(left))
                rounds.append(time.perf_counter() - started)
        echo.wait()
    return percentile(rounds, 0.5) / 2


def latency(folder: Path, samples: int) -> Table:
    """Four validators, nothing else going on: one transfer, handed to one of them, until that one says it is final."""
    rng = random.Random(20261122)
    hop_s = hop_seconds()
    rows = []
    for interval_ms in (0, _DEFAULT_INTERVAL_MS):
        with Cluster.make(
            folder / f"latency-{interval_ms}",
            followers=0,
            block_interval_ms=interval_ms,
            network_delay_ms=1_000,
            heartbeat_ms=60_000,
        ) as cluster:
            cluster.start()
            seconds = _latencies(cluster, samples, pause_s=interval_ms / 1000 + 0.2, rng=rng)
        rows.append(
            (
                f"{interval_ms} ms",
                milliseconds(percentile(seconds, 0.5)),
                milliseconds(percentile(seconds, 0.99)),
                milliseconds(max(seconds)),
                milliseconds(hop_s),
                milliseconds(0.04 + 3 * hop_s) if interval_ms == 0 else "",
            )
        )
    return Table(
        f"Submit to final, four validators on one machine, idle chain, {samples} transfers one at a time",
        ("block interval", "p50", "p99", "longest", "one loopback hop", "aim for p50: 40 ms + 3 hops"),
        tuple(rows),
    )


def _latencies(cluster: Cluster, samples: int, *, pause_s: float, rng: random.Random) -> list[float]:
    payer = Payer(cluster, rng)
    clients = [NodeClient(node.url) for node in cluster.validators]
    mint = payer.mint()
    clients[0].send_transaction(mint.raw)
    for client in clients:  # It must be known everywhere before a transfer is welcome.
        client.wait_for_transaction(mint.hash, timeout_s=_FINAL_S)
    seconds = []
    for index in range(samples):
        time.sleep(pause_s * rng.uniform(1.0, 1.5))
        client, transfer = clients[index % len(clients)], payer.transfer()
        started = time.perf_counter()
        client.send_transaction(transfer.raw)
        client.wait_for_transaction(transfer.hash, timeout_s=_FINAL_S, poll_interval_s=_POLL_S)
        seconds.append(time.perf_counter() - started)
        for other in clients:  # The next one goes to another node, which must not be a block behind.
            other.wait_for_transaction(transfer.hash, timeout_s=_FINAL_S, poll_interval_s=_POLL_S)
    for client in clients:
        client.close()
    return seconds


def throughput(folder: Path, *, transactions: int) -> Table:
    """As many transfers as the nodes take, from a process of its own, on four validators and on one."""
    rng = random.Random(20261122)
    reference = Reference(rng)
    rows = []
    for validators, goal in ((4, "1,500"), (1, "5,000")):
        with Cluster.make(
            folder / f"throughput-{validators}",
            validators=validators,
            followers=0,
            block_interval_ms=_DEFAULT_INTERVAL_MS,
            network_delay_ms=1_000,
            heartbeat_ms=60_000,
        ) as cluster:
            cluster.start()
            recovery = reference.seconds_per_recovery()
            seconds, cpu_seconds = _sustain(cluster, transactions, folder, rng)
            recovery = (recovery + reference.seconds_per_recovery()) / 2
        cost = cpu_seconds / transactions / validators
        rows.append(
            (
                str(validators),
                f"{transactions / seconds:,.0f}",
                goal,
                f"{cost * 1e6:.0f} µs",
                f"{cost / recovery:.1f}",
                "2.5",
            )
        )
    return Table(
        f"{transactions:,} transfers over HTTP in batches, all nodes and their sender on one machine",
        ("validators", "final per second", "aim", "CPU per transaction and node", "in recoveries", "aim, at most"),
        tuple(rows),
    )


def _sustain(cluster: Cluster, transactions: int, folder: Path, rng: random.Random) -> tuple[float, float]:
    """Seconds from the first request until all is final on every node, and CPU seconds of all nodes meanwhile."""
    payers = [Payer(cluster, rng) for _ in range(_ACCOUNTS)]
    mints = [payer.mint() for payer in payers]
    nodes = cluster.validators
    sent = nodes[0].client.send_transactions([mint.raw for mint in mints])
    assert all(entry.status == "pending" for entry in sent.results)
    for node in nodes:
        for mint in mints:
            node.client.wait_for_transaction(mint.hash, timeout_s=_FINAL_S)
    each = transactions // _ACCOUNTS
    plan = [
        (node.url, [[payer.transfer().raw for _ in range(each)] for payer in payers[index :: len(nodes)]])
        for index, node in enumerate(nodes)
    ]
    path = folder / f"plan-{len(nodes)}"
    path.write_bytes(msgspec.msgpack.encode(plan))
    command = [sys.executable, "-m", "tests.benchmarks.sender", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sender:
        assert sender.stdin is not None
        assert sender.stdout is not None
        assert sender.stdout.readline() == b"ready\n"
        cpu_seconds, started = _cpu_seconds(nodes), time.monotonic()
        sender.stdin.write(b"go\n")
        sender.stdin.flush()
        _wait(lambda: all(_is_paid(node, payers, each) for node in nodes), "transfers to be final")
        seconds = time.monotonic() - started
        cpu_seconds = _cpu_seconds(nodes) - cpu_seconds
        assert json.loads(sender.stdout.readline())["seconds"] <= seconds
    path.unlink()
    return seconds, cpu_seconds


def _cpu_seconds(nodes: Sequence[NodeProcess]) -> float:
    return sum(node.cpu_seconds() for node in nodes)


def _is_paid(node: NodeProcess, payers: Sequence[Payer], each: int) -> bool:
    return all(node.client.account(payer.key.address).nonce == each + 1 for payer in reversed(payers))


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _DRAIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {_DRAIN_S:.0f} s")
        time.sleep(0.1)
