"""Requests per second of the JSON-RPC face, beside anvil's: the same bodies from the same process, in the same run.

anvil runs twice: as it starts by itself, mining each transaction when it comes, and with a block per second, which is
nearer to what a node here does while it takes transactions.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from genesis.processes import free_ports
from tests.benchmarks.measuring import Table, milliseconds, percentile
from tests.benchmarks.rpc_load import Plan
from tests.processes.cluster import Cluster
from tests.processes.payer import Payer

CONNECTIONS: Final = 8
BATCH: Final = 100
_ACCOUNTS_EACH: Final = 10
_FINAL_S: Final = 60.0
_ANVIL: Final = Path(__file__).parent.parent / "contracts" / "node_modules" / ".bin" / "anvil"
_HOST: Final = "127.0.0.1"
_PAYER_ATOMS: Final = 10**18

Work = dict[str, list[list[bytes]]]
"""Name of a row → per connection, the bodies to post."""


def json_rpc(folder: Path, *, requests: int) -> Table:
    """Single calls and batches, per second and p99. Needs anvil: `make test-tools`."""
    if not _ANVIL.exists() or shutil.which("node") is None:
        raise SystemExit("anvil is not installed, which this is measured beside: make test-tools")
    rng = random.Random(20261122)
    with Cluster.make(
        folder / "node",
        validators=1,
        followers=0,
        block_interval_ms=500,
        network_delay_ms=1_000,
        heartbeat_ms=60_000,
    ) as cluster:
        cluster.start()
        payers = [Payer(cluster, rng) for _ in range(CONNECTIONS * _ACCOUNTS_EACH)]
        _fund(cluster, payers)
        work = _work(payers, requests)
        port = cluster.validators[0].port
        figures = {"node": _measure_all(work, port, folder, path="/rpc")}
    for name, options in (("anvil", ()), ("anvil, 1 s blocks", ("--block-time", "1"))):
        with _anvil(cluster.network.chain_id, payers, options) as port:
            figures[name] = _measure_all(work, port, folder, path="/")
    rows = []
    for row in work:
        per_call = BATCH if row.startswith("batch") else 1
        rates = {name: per_call * len(each[row][1]) / each[row][0] for name, each in figures.items()}
        latencies = {name: milliseconds(percentile(each[row][1], 0.99)) for name, each in figures.items()}
        fastest = max(rate for name, rate in rates.items() if name != "node")
        cells = [cell for name in figures for cell in (f"{rates[name]:,.0f}", latencies[name])]
        aim = "above 1" if row == f"batch of {BATCH} eth_sendRawTransaction" else "0.5" if per_call == 1 else ""
        rows.append((row, *cells, f"{rates['node'] / fastest:.2f}", aim))
    columns = ("calls", *(cell for name in figures for cell in (f"{name}, per second", "p99")))
    return Table(
        f"JSON-RPC over {CONNECTIONS} connections, server and client on one machine",
        (*columns, "node to the faster anvil", "aim"),
        tuple(rows),
    )


def _fund(cluster: Cluster, payers: Sequence[Payer]) -> None:
    client = cluster.validators[0].client
    mints = [payer.mint() for payer in payers]
    sent = client.send_transactions([mint.raw for mint in mints])
    assert all(entry.status == "pending" for entry in sent.results)
    for mint in mints:
        client.wait_for_transaction(mint.hash, timeout_s=_FINAL_S)


def _work(payers: Sequence[Payer], requests: int) -> Work:
    """Each account belongs to one connection, which sends its transactions in the order of their nonces."""
    work: Work = {
        "eth_getBalance": [],
        "eth_sendRawTransaction": [],
        f"batch of {BATCH} eth_getBalance": [],
        f"batch of {BATCH} eth_sendRawTransaction": [],
    }
    each = requests // CONNECTIONS
    for connection in range(CONNECTIONS):
        own = payers[connection::CONNECTIONS]
        asked = [_call("eth_getBalance", [to_checksum_address(payer.key.address), "latest"], 1) for payer in own]
        sent = [_call("eth_sendRawTransaction", [to_hex(own[n % len(own)].transfer().raw)], n) for n in range(each)]
        batches = [
            _batch("eth_sendRawTransaction", [[to_hex(payer.transfer().raw)] for _ in range(BATCH)])
            for payer in own
            for _ in range(2)
        ]
        balances = [[to_checksum_address(own[n % len(own)].key.address), "latest"] for n in range(BATCH)]
        of_connection = (
            [asked[n % len(asked)] for n in range(2 * each)],
            sent,
            [_batch("eth_getBalance", balances)] * len(batches),
            batches,
        )
        for row, bodies in zip(work.values(), of_connection, strict=True):
            row.append(bodies)
    return work


def _call(method: str, parameters: list[Any], number: int) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters})


def _batch(method: str, parameters: list[list[Any]]) -> bytes:
    return b"[" + b",".join(_call(method, each, number) for number, each in enumerate(parameters)) + b"]"


def _measure_all(work: Work, port: int, folder: Path, *, path: str) -> dict[str, tuple[float, list[float]]]:
    """Of each row: seconds in all, and of each request."""
    return {row: measure_load(Plan(_HOST, port, path, connections), folder) for row, connections in work.items()}


def measure_load(plan: Plan, folder: Path) -> tuple[float, list[float]]:
    """Seconds in all, and of each request, as the process that asks has seen them."""
    file = folder / "plan"
    file.write_bytes(msgspec.msgpack.encode(plan))
    command = [sys.executable, "-m", "tests.benchmarks.rpc_load", str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
        assert load.stdin is not None
        assert load.stdout is not None
        assert load.stdout.readline() == b"ready\n"
        load.stdin.write(b"go\n")
        load.stdin.flush()
        measured = json.loads(load.stdout.readline())
    return measured["seconds"], measured["each"]


@contextmanager
def _anvil(chain_id: int, payers: Sequence[Payer], options: Sequence[str]) -> Iterator[int]:
    """An EVM node that takes the same transactions: same chain id, no fee, the payers funded and at the same nonce."""
    (port,) = free_ports(1)
    command = [str(_ANVIL), "--silent", "--port", str(port), "--chain-id", str(chain_id), "--base-fee", "0"]
    with subprocess.Popen([*command, "--gas-price", "0", *options], process_group=0) as anvil:
        try:
            headers = {"Content-Type": "application/json"}
            with httpx.Client(base_url=f"http://{_HOST}:{port}", headers=headers, trust_env=False) as client:
                _wait_until_it_answers(client)
                for payer in payers:
                    address = to_checksum_address(payer.key.address)
                    for method, value in (("anvil_setBalance", _PAYER_ATOMS), ("anvil_setNonce", 1)):
                        answer = client.post("/", content=_call(method, [address, hex(value)], 1)).json()
                        assert "error" not in answer, answer
            yield port
        finally:
            os.killpg(anvil.pid, 15)  # Node's launcher, and anvil itself.


def _wait_until_it_answers(client: httpx.Client) -> None:
    deadline = time.monotonic() + _FINAL_S
    while True:
        try:
            client.post("/", content=_call("eth_chainId", [], 1)).raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
