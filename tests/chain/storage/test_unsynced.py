"""Blocks that are written without a sync while the node catches up: what a kill, a cut and damage leave of them."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import plyvel
import pytest

from chain.primitives.types import Hash32
from chain.storage.errors import FolderCorrupted, StorageError
from chain.storage.keys import Table, height_key
from chain.storage.opening import MAX_UNSYNCED_BLOCKS
from chain.storage.store import CommittedBlock, Head, Store

SCRIPT = Path(__file__).parent / "commit_forever.py"
SYNC_EVERY = 10
KILLS = 12

NextBlock = Callable[[Head | None, Hash32], CommittedBlock]
CommitChanges = Callable[[Store, Mapping[bytes, bytes | None]], Head]


@pytest.fixture
def store(folder: Path, genesis_hash: Hash32) -> Iterator[Store]:
    """A new store."""
    with Store.open(folder, genesis_hash=genesis_hash, create=True) as opened:
        yield opened


def commit_unsynced(store: Store, next_block: NextBlock, changes: Mapping[bytes, bytes | None]) -> Head:
    """Commits the next block without a sync."""
    pending = store.prepare(changes, on=store.view())
    return store.commit(next_block(store.head, pending.state_root), pending, sync=False)


def logs_size(folder: Path) -> int:
    """Bytes in LevelDB's logs."""
    return sum(log.stat().st_size for log in folder.glob("*.log"))


def test_a_kill_takes_nothing_back(folder: Path, genesis_hash: Hash32, next_block: NextBlock) -> None:
    """Every tenth block is synced; reported is each after its commit, and none of them is lost."""
    draw = random.Random()
    reached = -1
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), genesis_hash.hex(), "0", str(SYNC_EVERY)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        reported = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.communicate()
        with Store.open(folder, genesis_hash=genesis_hash, history_blocks=4) as store:
            assert store.head is not None
            assert store.head.height >= max([reached, *reported])
            reached = store.head.height
            for height in range(reached + 1):
                block = store.block_at(height)
                assert block is not None
    assert reached > KILLS


def test_a_cut_log_leaves_whole_blocks_in_order(
    folder: Path, genesis_hash: Hash32, next_block: NextBlock, commit_changes: CommitChanges, tmp_path: Path
) -> None:
    """What a power cut leaves of blocks that were not synced: the log up to some byte."""
    with Store.open(folder, genesis_hash=genesis_hash, create=True) as store:
        commit_changes(store, {b"\x01key": b"0"})
        sizes = [logs_size(folder)]
        for height in range(1, 12):
            commit_unsynced(store, next_block, {b"\x01key": b"%d" % height})
            sizes.append(logs_size(folder))
    log = next(log for log in folder.glob("*.log") if log.stat().st_size)
    content = log.read_bytes()
    draw = random.Random(5)
    for cut in [*sizes, *(draw.randrange(sizes[0], sizes[-1]) for _ in range(25))]:
        log.write_bytes(content[:cut])
        copy = tmp_path / f"copy{cut}"
        copy.mkdir(exist_ok=True)
        for file in folder.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        with Store.open(copy, genesis_hash=genesis_hash) as store:
            height = sum(size <= cut for size in sizes) - 1
            assert store.head is not None
            assert store.head.height == height
            assert store.get(b"\x01key") == b"%d" % height


def test_a_missing_block_among_the_newest_is_noticed(folder: Path, genesis_hash: Hash32, next_block: NextBlock) -> None:
    with Store.open(folder, genesis_hash=genesis_hash, create=True) as store:
        for _ in range(6):
            commit_unsynced(store, next_block, {})
    database = plyvel.DB(str(folder))
    database.delete(height_key(Table.BLOCK, 3))
    database.close()
    with pytest.raises(FolderCorrupted, match="block 3 is missing"):
        Store.open(folder, genesis_hash=genesis_hash)


def test_blocks_are_synced_now_and_then_all_the_same(store: Store, next_block: NextBlock) -> None:
    for _ in range(2 * MAX_UNSYNCED_BLOCKS + 3):
        commit_unsynced(store, next_block, {})
        assert store._writer._unsynced_blocks < MAX_UNSYNCED_BLOCKS
    assert store._writer._unsynced_blocks == 3


def test_logs_that_cannot_be_synced_stop_the_store(store: Store, folder: Path, next_block: NextBlock) -> None:
    """A pipe under a log's name: it opens, and the system refuses to sync it."""
    commit_unsynced(store, next_block, {})
    os.mkfifo(folder / "000000.log")
    keeper = os.open(folder / "000000.log", os.O_RDWR)
    pending = store.prepare({}, on=store.view())
    for _ in range(2):
        with pytest.raises(StorageError, match=r"Block 1 could not be written.*make room"):
            store.commit(next_block(store.head, pending.state_root), pending)
    os.close(keeper)
    (folder / "000000.log").unlink()


def test_damage_found_while_the_tree_deepens_is_a_clear_error(
    folder: Path, genesis_hash: Hash32, next_block: NextBlock, commit_changes: CommitChanges
) -> None:
    """Leaves are read again when there are as many as pages, after the block is written: see StateTree.adapt_depth."""
    keys = [b"\x01%d" % number for number in range(1_000)]
    low = [key for key in keys if sha256(key).digest()[0] < 0x40][:200]
    high = [key for key in keys if sha256(key).digest()[0] >= 0xC0][:100]
    with Store.open(folder, genesis_hash=genesis_hash, create=True) as store:
        commit_changes(store, dict.fromkeys(low, b"L" * 500))
    Store.open(folder, genesis_hash=genesis_hash).close()  # Moves the log into a table.
    store = Store.open(folder, genesis_hash=genesis_hash)
    table = max(folder.glob("*.ldb"), key=lambda file: file.stat().st_size)
    content = bytearray(table.read_bytes())
    for position in range(20_000, 60_000, 500):  # The first leaves; the new ones are far behind them.
        content[position] ^= 0xFF
    with table.open("r+b") as file:
        file.write(content)
    pending = store.prepare(dict.fromkeys(high, b"new"), on=store.view())
    block = next_block(store.head, pending.state_root)
    with pytest.raises(FolderCorrupted, match="are damaged") as caught:
        store.commit(block, pending)
    assert "_adapt_tree" in [entry.name for entry in caught.traceback]
    for use in (
        lambda: store.prepare({}, on=store.view()),
        lambda: store.prove(low[0]),
        lambda: store.prove_at(0, low[0]),
    ):
        with pytest.raises(FolderCorrupted, match="are damaged"):
            use()
    store.close()
