"""A fresh follower fetches a whole chain from one peer: decoded, certificates checked, executed, committed."""

import random
import time
from pathlib import Path
from typing import Final

from chain.node.folder import NodeFolder
from chain.node.ledger import Ledger
from chain.primitives.network import network_to_toml
from genesis.processes import free_ports
from tests.benchmarks.chains import MadeChain
from tests.benchmarks.measuring import Reference, Table
from tests.processes.cluster import NodeProcess

_PAYERS: Final = 200
_TRANSFERS_PER_BLOCK: Final = 500
_LONGEST_S: Final = 3_600.0
_POLL_S: Final = 0.05


def catch_up_speed(folder: Path, *, full_blocks: int, empty_blocks: int) -> Table:
    """Blocks and transactions per second, beside the rate at which one core recovers signatures."""
    rng = random.Random(20261122)
    reference = Reference(rng)
    rows = []
    for name, full, empty in (
        (f"{full_blocks:,} blocks of {_TRANSFERS_PER_BLOCK} transfers", full_blocks, 0),
        (f"{empty_blocks:,} empty blocks", 0, empty_blocks),
    ):
        recovery = reference.seconds_per_recovery()
        blocks, transactions, seconds, _ = fetch_chain(folder / f"catch-up-{full}-{empty}", full, empty, rng)
        recovery = (recovery + reference.seconds_per_recovery()) / 2
        ratio = f"{transactions * recovery / seconds:.2f}" if full else "–"
        rows.append((name, f"{blocks / seconds:,.0f}", f"{transactions / seconds:,.0f}" if full else "–", ratio))
    return Table(
        "Catching up from one peer on the same machine, four validators' certificates",
        ("chain", "blocks/s", "transactions/s", "of the recovery rate (aim 0.5)"),
        tuple(rows),
    )


def memory_after(folder: Path, blocks: int) -> Table:
    """Of a node that has fetched so many blocks since it was started, and of one that was started on them."""
    fresh_rss = _rss_of_fresh_node(folder / "small")
    height, _, seconds, rss = fetch_chain(folder / "memory", 0, blocks, random.Random(20261122))
    rows = [
        ("just started, 10 blocks", f"{fresh_rss[0] >> 20} MiB"),
        (f"has fetched {height:,} blocks in {seconds:.0f} s", f"{rss[1] >> 20} MiB"),
        (f"has served them, and was started on {height:,} blocks", f"{rss[0] >> 20} MiB"),
    ]
    return Table("Memory of a node (resident)", ("node", "memory"), tuple(rows))


def _rss_of_fresh_node(folder: Path) -> tuple[int, int]:
    return fetch_chain(folder, 0, 10, random.Random(1))[3]


def fetch_chain(
    folder: Path, full_blocks: int, empty_blocks: int, rng: random.Random
) -> tuple[int, int, float, tuple[int, int]]:
    """Blocks, transactions, seconds from the first fetched block on, and memory of the old and the fresh node."""
    made = MadeChain(folder / "old", validators=4, rng=rng)
    transactions = 0
    if full_blocks:
        made.add_payers(_PAYERS)
        transactions = _PAYERS + full_blocks * _TRANSFERS_PER_BLOCK
    for _ in range(full_blocks):
        made.add_transfers(_TRANSFERS_PER_BLOCK)
    made.add_empty_blocks(empty_blocks)
    height = made.ledger.head.height
    made.close()
    fresh_folder = NodeFolder.create(folder / "fresh", network_to_toml(made.network))
    Ledger.open(fresh_folder.chain, made.network, create=True).close()
    ports = free_ports(2)
    old = NodeProcess(0, "old", made.folder.path, ports[0])
    fresh = NodeProcess(1, "fresh", fresh_folder.path, ports[1])
    try:
        url = f"ws://127.0.0.1:{ports[0]}/p2p"
        old.start("--peer-url", url)
        old.wait_ready(_LONGEST_S)
        fresh.start("--peer", url)
        seconds = _seconds_to(fresh, height)
        return height, transactions, seconds, (old.rss_bytes(), fresh.rss_bytes())
    finally:
        old.close()
        fresh.close()


def _seconds_to(node: NodeProcess, height: int) -> float:
    """From the first block to the last: loading Python is no part of it."""
    deadline = time.monotonic() + _LONGEST_S
    started = time.monotonic()
    while time.monotonic() < deadline:
        status = node.status()
        reached = 0 if status is None else status.finalized.height
        if reached == 0:
            started = time.monotonic()
        if reached >= height:
            return time.monotonic() - started
        time.sleep(_POLL_S)
    raise TimeoutError(f"{node.name} did not fetch {height} blocks in {_LONGEST_S:.0f} s")
