"""Reading a stopped node's chain without touching its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chain.primitives.block import decode_block
from chain.storage.errors import FolderInUse, FolderMissing, FolderUnusable, WrongNetwork
from chain.storage.folder_copy import open_copy
from chain.storage.folder_lock import FolderLock
from chain.storage.keys import Table
from chain.storage.records import decode_head

if TYPE_CHECKING:
    from tests.chain.conftest import Chain


@pytest.fixture
def stopped(tmp_path: Path, chain_in: Callable[[Path], Chain]) -> Chain:
    """A closed chain of three blocks, opened once more since, so that some of it is in table files."""
    chain = chain_in(tmp_path / "chain")
    chain.fund("ann")
    chain.reopen()
    chain.add_block()
    chain.ledger.close()
    return chain


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def test_copy_holds_what_the_folder_does_and_leaves_it_alone(stopped: Chain, tmp_path: Path) -> None:
    before = contents(stopped.path)
    assert any(name.endswith(".ldb") for name in before)
    with open_copy(stopped.path, tmp_path / "copy", genesis_hash=stopped.people.network.genesis_hash) as copy:
        record = copy.head_record()
        assert record is not None
        assert decode_head(record).header.height == 2
        heights = [decode_block(value).header.height for _, value in copy.rows(Table.BLOCK)]
        assert heights == [0, 1, 2]
        assert [key for key, _ in copy.rows(Table.BLOCK, from_key=bytes(7) + b"\x02")] == [bytes(7) + b"\x02"]
        # A node may go on while the copy is read.
        FolderLock(stopped.path).release()
    assert contents(stopped.path) == before


def test_folder_at_work_is_refused(stopped: Chain, tmp_path: Path) -> None:
    lock = FolderLock(stopped.path)
    genesis_hash = stopped.people.network.genesis_hash
    with pytest.raises(FolderInUse), open_copy(stopped.path, tmp_path / "copy", genesis_hash=genesis_hash):
        pass
    lock.release()
    with open_copy(stopped.path, tmp_path / "copy", genesis_hash=genesis_hash):
        pass


def test_folder_without_a_lock_file_gets_none(stopped: Chain, tmp_path: Path) -> None:
    """A backup, perhaps on a disk that cannot be written to."""
    (stopped.path / "store.lock").unlink()
    with open_copy(stopped.path, tmp_path / "copy", genesis_hash=stopped.people.network.genesis_hash):
        pass
    assert not (stopped.path / "store.lock").exists()


def test_what_is_wrong_is_said_of_the_folder_not_of_the_copy(stopped: Chain, tmp_path: Path) -> None:
    genesis_hash = stopped.people.network.genesis_hash
    for path, copy, its_hash, expected in (
        (tmp_path / "none", tmp_path / "copy-1", genesis_hash, FolderMissing),
        (stopped.path, tmp_path / "copy-2", bytes(32), WrongNetwork),
        (stopped.path, tmp_path / "no" / "such" / "folder", genesis_hash, FolderUnusable),
    ):
        with pytest.raises(expected, match=str(path)), open_copy(path, copy, genesis_hash=its_hash):
            pass
