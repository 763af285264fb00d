"""A store that was cut off, damaged, locked or out of space: the last whole block, or an error that says what to do."""

import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chain.primitives.types import Hash32
from chain.storage.errors import FolderCorrupted, FolderInUse, StorageError
from chain.storage.store import Store

SCRIPT = Path(__file__).parent / "commit_forever.py"
CHANGES_AT: Callable[[int], dict[bytes, bytes | None]] = runpy.run_path(str(SCRIPT))["changes_at"]

KILLS = 24


def committing_process(folder: Path, genesis_hash: Hash32, *more: str) -> "subprocess.Popen[str]":
    """Starts the process that commits blocks and prints their heights."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), genesis_hash.hex(), *more], stdout=subprocess.PIPE, text=True
    )


def values_after(height: int) -> dict[bytes, bytes]:
    """The whole state after a block of the committing process; -1 is before genesis."""
    values: dict[bytes, bytes] = {}
    for earlier in range(height + 1):
        for key, value in CHANGES_AT(earlier).items():
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
    return values


def check_whole(store: Store) -> int:
    """Everything of the head block is there, and its state is the right one. Returns the head's height, or -1."""
    head = store.head
    height = head.height if head else -1
    expected = values_after(height)
    touched = {key for earlier in range(height + 3) for key in CHANGES_AT(earlier)}
    assert {key: value for key in touched if (value := store.get(key)) is not None} == expected
    assert store.statistics().leaf_count == len(expected)
    if head:
        assert store.height_of(head.block_hash) == height
        assert store.results_at(height) == b"results %d" % height
        assert store.certificate_at(height) == b"certificate %d" % height
        assert store.transaction_location(b"%032d" % height) == (height, 0)
    assert store.block_at(height + 1) is None
    assert all(store.block_at(earlier) for earlier in range(height + 1))
    return height


def test_killed_at_any_moment_it_opens_at_the_last_whole_block(folder: Path, genesis_hash: Hash32) -> None:
    draw = random.Random()
    reached = -1
    for kill in range(KILLS):
        process = committing_process(folder, genesis_hash)
        assert process.stdout is not None
        if kill % 6:  # Otherwise it may die while it starts, or while it makes the folder.
            process.stdout.readline()
        time.sleep(draw.uniform(0, 0.3 if kill % 6 == 0 else 0.06))
        process.send_signal(signal.SIGKILL)
        reported = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.wait()
        with Store.open(folder, genesis_hash=genesis_hash, create=True, history_blocks=4) as store:
            height = check_whole(store)
        assert height >= max([reached, *reported])
        reached = height
    assert reached > KILLS


@pytest.fixture(scope="module")
def closed_folder(tmp_path_factory: pytest.TempPathFactory, genesis_hash: Hash32) -> Path:
    """A folder with some blocks, all of them still in the log: no table file has been written."""
    folder = tmp_path_factory.mktemp("closed") / "chain"
    process = committing_process(folder, genesis_hash)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "14":
        pass
    process.kill()
    process.communicate()
    return folder


@pytest.fixture(scope="module")
def tables_folder(tmp_path_factory: pytest.TempPathFactory, closed_folder: Path, genesis_hash: Hash32) -> Path:
    """A folder whose blocks are in a table file: LevelDB moves the log there when it opens."""
    folder = tmp_path_factory.mktemp("tables") / "chain"
    shutil.copytree(closed_folder, folder)
    Store.open(folder, genesis_hash=genesis_hash).close()
    assert list(folder.glob("*.ldb"))
    return folder


@pytest.fixture
def copies(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a folder; every copy is new."""
    count = 0

    def copy(folder: Path) -> Path:
        nonlocal count
        count += 1
        return Path(shutil.copytree(folder, tmp_path / f"copy{count}"))

    return copy


def only(folder: Path, pattern: str) -> Path:
    """The largest file of this kind."""
    return max(folder.glob(pattern), key=lambda path: path.stat().st_size)


def test_a_log_cut_at_any_point_gives_whole_blocks(
    closed_folder: Path, copies: Callable[[Path], Path], genesis_hash: Hash32
) -> None:
    size = only(closed_folder, "*.log").stat().st_size
    draw = random.Random(11)
    heights = set()
    for cut in [0, 1, 7, size - 1, *(draw.randrange(size) for _ in range(50))]:
        folder = copies(closed_folder)
        os.truncate(only(folder, "*.log"), cut)
        with Store.open(folder, genesis_hash=genesis_hash, create=True, history_blocks=4) as store:
            heights.add(check_whole(store))
        shutil.rmtree(folder)
    assert -1 in heights
    assert len(heights) > 8


def test_a_log_with_a_flipped_bit_gives_whole_blocks_or_a_clear_error(
    closed_folder: Path, copies: Callable[[Path], Path], genesis_hash: Hash32
) -> None:
    size = only(closed_folder, "*.log").stat().st_size
    draw = random.Random(12)
    errors = 0
    for _ in range(40):
        folder = copies(closed_folder)
        flip(only(folder, "*.log"), draw.randrange(size))
        try:
            with Store.open(folder, genesis_hash=genesis_hash, history_blocks=4) as store:
                check_whole(store)
        except FolderCorrupted as error:
            errors += 1
            assert_helpful(error, folder)
        shutil.rmtree(folder)
    assert errors > 30


def flip(file: Path, position: int) -> None:
    """Changes one bit."""
    content = bytearray(file.read_bytes())
    content[position] ^= 0x10
    file.write_bytes(content)


def assert_helpful(error: StorageError, folder: Path) -> None:
    """The message names the folder and a way out, and no library's words alone."""
    assert str(folder) in str(error)
    assert "backup" in str(error)
    assert "delete it" in str(error)
    assert error.__suppress_context__ or error.__context__ is None, "no traceback of LevelDB's"


DAMAGES: dict[str, Callable[[Path], None]] = {
    "CURRENT is missing": lambda folder: (folder / "CURRENT").unlink(),
    "CURRENT is empty": lambda folder: os.truncate(folder / "CURRENT", 0),
    "CURRENT is garbled": lambda folder: flip(folder / "CURRENT", 3),
    "CURRENT has no end": lambda folder: os.truncate(folder / "CURRENT", 15),
    "MANIFEST is missing": lambda folder: only(folder, "MANIFEST-*").unlink(),
    "MANIFEST is empty": lambda folder: os.truncate(only(folder, "MANIFEST-*"), 0),
    "MANIFEST is garbled": lambda folder: flip(only(folder, "MANIFEST-*"), 20),
    "MANIFEST is cut": lambda folder: os.truncate(only(folder, "MANIFEST-*"), 40),
    "a table is missing": lambda folder: only(folder, "*.ldb").unlink(),
    "a table is empty": lambda folder: os.truncate(only(folder, "*.ldb"), 0),
    "a table is cut": lambda folder: os.truncate(only(folder, "*.ldb"), 5_000),
    "a table's end is garbled": lambda folder: flip(only(folder, "*.ldb"), only(folder, "*.ldb").stat().st_size - 3),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_a_clear_error(
    damage: Callable[[Path], None], tables_folder: Path, copies: Callable[[Path], Path], genesis_hash: Hash32
) -> None:
    folder = copies(tables_folder)
    damage(folder)
    for create in (False, True):  # Asked to create, it must not take the damaged folder for an empty one.
        with pytest.raises(FolderCorrupted) as caught:
            Store.open(folder, genesis_hash=genesis_hash, create=create)
        assert_helpful(caught.value, folder)


def test_a_table_with_a_flipped_bit_is_never_read_wrongly(
    tables_folder: Path, copies: Callable[[Path], Path], genesis_hash: Hash32
) -> None:
    size = only(tables_folder, "*.ldb").stat().st_size
    draw = random.Random(13)
    errors = 0
    for _ in range(40):
        folder = copies(tables_folder)
        flip(only(folder, "*.ldb"), draw.randrange(size))
        try:
            with Store.open(folder, genesis_hash=genesis_hash, history_blocks=4) as store:
                check_whole(store)
        except FolderCorrupted as error:
            errors += 1
            assert_helpful(error, folder)
        shutil.rmtree(folder)
    assert errors > 20


def test_two_processes_cannot_use_one_folder(folder: Path, genesis_hash: Hash32) -> None:
    with Store.open(folder, genesis_hash=genesis_hash, create=True):
        with pytest.raises(FolderInUse, match="Another process uses"):
            Store.open(folder, genesis_hash=genesis_hash)
        process = committing_process(folder, genesis_hash)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 1
        assert output.startswith("FolderInUse: Another process uses")


def test_a_full_disk_stops_the_store_and_loses_nothing(folder: Path, genesis_hash: Hash32) -> None:
    """A limit on the size of files stands for the full disk."""
    process = committing_process(folder, genesis_hash, "700000")
    output, _ = process.communicate(timeout=60)
    *heights, failure = output.split("\n")[:-1]
    assert failure.startswith("WriteFailed: Block ")
    assert "make room" in failure
    with Store.open(folder, genesis_hash=genesis_hash, history_blocks=4) as store:
        assert check_whole(store) >= int(heights[-1]) > 3
