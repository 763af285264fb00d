"""What happens to one validator's disk, journal, clock or folder, while the others go on."""

import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chain.node.folder import NodeFolder
from tests.processes.cluster import Cluster, NodeProcess
from tests.processes.payer import Payer

pytestmark = pytest.mark.timeout(300)

VICTIM = 3
HOUR_MS = 3_600_000
DRIFT_MS = 5_000


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that moves the victim's clock."""
    path = tmp_path_factory.mktemp("clock") / "offset-ms"
    path.write_text("0")
    return path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, clock: Path) -> Iterator[Cluster]:
    """Four validators; each test leaves them all running."""
    command = (sys.executable, "-m", "tests.processes.skewed_clock", str(clock))
    with Cluster.make(tmp_path_factory.mktemp("nodes"), followers=0, commands={VICTIM: command}) as running:
        running.start()
        yield running


@pytest.fixture
def payer(cluster: Cluster) -> Payer:
    """Somebody who keeps the chain busy."""
    return Payer(cluster)


@pytest.fixture
def victim(cluster: Cluster) -> NodeProcess:
    """The one that things happen to."""
    return cluster.validators[VICTIM]


def journal_of(node: NodeProcess) -> Path:
    return NodeFolder(node.folder).journal


def move_clock(clock: Path, offset_ms: int) -> None:
    fresh = clock.with_suffix(".new")
    fresh.write_text(str(offset_ms))
    fresh.replace(clock)  # The victim may be looking at this moment.


def require_vote_of(cluster: Cluster, node: NodeProcess, payer: Payer) -> None:
    """With another one away, three of four are needed, so this one must vote."""
    away, witness = cluster.validators[0], cluster.validators[1]
    cluster.wait_height(witness.height, [node])
    away.kill()
    try:
        payer.settle_mint(witness.client)
    finally:
        cluster.start(away)


def start_with_lost_votes(cluster: Cluster, node: NodeProcess, payer: Payer) -> None:
    """It votes again two views after a block that was surely made after its start, whatever the others' clocks say."""
    node.start("--accept-lost-votes")
    node.wait_ready()
    fresh_at = time.monotonic() + DRIFT_MS / 1000
    for _ in range(3):
        cluster.wait_until(lambda: time.monotonic() > fresh_at, "fresh block")
        payer.settle_mint(cluster.validators[0].client)
    require_vote_of(cluster, node, payer)


def output_of_failed_start(node: NodeProcess, *options: str) -> str:
    """Starts it, and requires that it ends by itself with code 1; what it wrote."""
    before = node.log_file.stat().st_size
    node.start(*options)
    assert node.wait_ended() == 1, node.log_tail()
    return node.log_file.read_bytes()[before:].decode()


def test_a_full_disk_stops_a_node_with_a_message_and_it_goes_on_later(
    cluster: Cluster, victim: NodeProcess, payer: Payer
) -> None:
    victim.kill()
    reading, writing = os.pipe()
    victim.start(stderr=writing)
    os.close(writing)
    written: list[bytes] = []

    def read_all() -> None:
        with os.fdopen(reading, "rb") as pipe:
            written.extend(pipe)

    reader = threading.Thread(target=read_all)
    reader.start()
    victim.wait_ready()
    cluster.wait_height(cluster.validators[0].height, [victim])
    resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (1, 1))
    payer.settle_mint(cluster.validators[0].client)
    assert victim.wait_ended() == 1
    reader.join()
    message = written[-1].decode()
    assert message.startswith("aitbc node: stopped: ")
    assert "File too large" in message
    assert not any(b"Traceback" in line for line in written)
    cluster.start(victim)
    require_vote_of(cluster, victim, payer)


def test_a_full_disk_that_holds_the_log_too_ends_the_node_all_the_same(
    cluster: Cluster, victim: NodeProcess, payer: Payer
) -> None:
    resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (1, 1))
    payer.settle_mint(cluster.validators[0].client)
    assert victim.wait_ended() == 1
    cluster.start(victim)
    require_vote_of(cluster, victim, payer)


@pytest.mark.parametrize("tail", [b"\x00" * 4_096, b"\x00\x00\x01\x00half a record"])
def test_a_torn_tail_of_the_journal_is_cut_off(
    cluster: Cluster, victim: NodeProcess, payer: Payer, tail: bytes
) -> None:
    payer.settle_mint(cluster.validators[0].client)
    victim.kill()
    with journal_of(victim).open("ab") as journal:
        journal.write(tail)
    cluster.start(victim)
    require_vote_of(cluster, victim, payer)


def test_a_damaged_journal_refuses_to_start(cluster: Cluster, victim: NodeProcess, payer: Payer) -> None:
    victim.kill()
    whole = journal_of(victim).read_bytes()
    journal_of(victim).write_bytes(bytes((whole[0] ^ 1,)) + whole[1:])
    assert str(journal_of(victim)) in output_of_failed_start(victim)
    journal_of(victim).write_bytes(whole)
    cluster.start(victim)
    require_vote_of(cluster, victim, payer)


def test_a_missing_journal_refuses_until_the_operator_vouches_for_it(
    cluster: Cluster, victim: NodeProcess, payer: Payer
) -> None:
    payer.settle_mint(cluster.validators[0].client)
    victim.kill()
    journal_of(victim).unlink()
    refusal = output_of_failed_start(victim)
    assert "--accept-lost-votes" in refusal
    assert "Traceback" not in refusal
    assert not journal_of(victim).exists()
    start_with_lost_votes(cluster, victim, payer)
    victim.kill()
    cluster.start(victim)  # The flag was for once.
    require_vote_of(cluster, victim, payer)


def test_an_old_copy_of_the_folder_harms_nobody(
    cluster: Cluster, victim: NodeProcess, payer: Payer, tmp_path: Path
) -> None:
    """Its journal has forgotten votes, which it cannot know; where the node hears of one it stops. The others go on."""
    victim.kill()
    shutil.copytree(victim.folder, tmp_path / "copy")
    cluster.start(victim)
    for _ in range(3):
        payer.settle_mint(cluster.validators[0].client)
    victim.kill()
    shutil.rmtree(victim.folder)
    shutil.copytree(tmp_path / "copy", victim.folder)
    victim.start()
    for _ in range(3):
        payer.settle_mint(cluster.validators[0].client)
    if victim.is_running:
        victim.kill()
    else:
        assert victim.exit_code == 1
        assert "which this node has not cast" in victim.log_tail()
    journal_of(victim).unlink()
    start_with_lost_votes(cluster, victim, payer)


def test_a_second_process_on_the_same_folder_refuses(cluster: Cluster, victim: NodeProcess, payer: Payer) -> None:
    command = [sys.executable, "-m", "genesis.cli", "node", "run", "--data-dir", str(victim.folder), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Another process uses" in done.stderr
    assert done.stderr.count("\n") == 1
    payer.settle_mint(victim.client)


@pytest.mark.parametrize("offset_ms", [HOUR_MS, -HOUR_MS, DRIFT_MS // 2], ids=["ahead", "behind", "a little ahead"])
def test_a_clock_that_jumps_slows_nobody_for_long(
    cluster: Cluster, victim: NodeProcess, payer: Payer, clock: Path, offset_ms: int
) -> None:
    witness = cluster.validators[0]
    first = witness.height + 1
    move_clock(clock, offset_ms)
    try:
        for _ in range(2 * len(cluster.validators)):  # So that everybody leads more than once.
            payer.settle_mint(witness.client)
        cluster.wait_height(witness.height, [victim])
    finally:
        move_clock(clock, 0)
    now_ms = time.time_ns() // 1_000_000
    times = [witness.client.block(height).time_ms for height in range(first, witness.height + 1)]
    assert times == sorted(set(times))
    assert max(times) <= now_ms + DRIFT_MS
    require_vote_of(cluster, victim, payer)
