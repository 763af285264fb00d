"""Leaps through the keys of an index."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from chain.primitives.types import Hash32
from chain.storage.errors import StorageError
from chain.storage.keys import Table
from chain.storage.store import CommittedBlock, Head, Store

NextBlock = Callable[[Head | None, Hash32], CommittedBlock]


@pytest.fixture
def store(tmp_path: Path, genesis_hash: Hash32, next_block: NextBlock) -> Store:
    """One block with these entries: "aa" before 1, 5 and 9, "ab" before 3, and a neighbouring table's."""
    store = Store.open(tmp_path, genesis_hash=genesis_hash, create=True)
    entries = [(Table.EVENT_BLOCK, key) for key in (b"aa1", b"aa5", b"aa9", b"ab3")]
    entries += [(Table.PROVIDER_MINT, b"\0"), (Table.EPOCH, b"\xff")]
    pending = store.prepare({}, on=store.view())
    block = next_block(None, pending.state_root)
    with_entries = CommittedBlock(
        block.header,
        block.block,
        block.transaction_hashes,
        block.results,
        block.certificate,
        index_puts=[(table, key, b"value") for table, key in entries],
    )
    store.commit(with_entries, pending)
    return store


def test_leaps_stay_within_the_prefix(store: Store) -> None:
    with store.view().index_cursor(Table.EVENT_BLOCK, b"aa") as cursor:
        assert [cursor.seek(rest) for rest in (b"", b"1", b"2", b"5", b"6", b"91", b"")] == [
            *(b"1", b"1", b"5", b"5", b"9"),
            None,
            b"1",
        ]
    with store.view().index_cursor(Table.EVENT_BLOCK, b"ab") as cursor:
        assert [cursor.seek(b""), cursor.seek(b"4"), cursor.seek(b"\xff" * 40)] == [b"3", None, None]
    with store.view().index_cursor(Table.EVENT_BLOCK, b"ac") as cursor:
        assert cursor.seek(b"") is None
    store.close()


def test_a_view_does_not_see_what_comes_later(
    store: Store, commit_changes: Callable[[Store, Mapping[bytes, bytes | None]], Head], next_block: NextBlock
) -> None:
    before = store.view()
    pending = store.prepare({}, on=before)
    block = next_block(store.head, pending.state_root)
    puts = [(Table.EVENT_BLOCK, b"aa2", b"")]
    store.commit(
        CommittedBlock(block.header, block.block, block.transaction_hashes, block.results, None, index_puts=puts),
        pending,
    )
    with (
        before.index_cursor(Table.EVENT_BLOCK, b"aa") as old,
        store.view().index_cursor(Table.EVENT_BLOCK, b"aa") as new,
    ):
        assert (old.seek(b"2"), new.seek(b"2")) == (b"5", b"2")
    store.close()


def test_a_closed_store_says_so(store: Store) -> None:
    view = store.view()
    store.close()
    with pytest.raises(StorageError, match="shutting down"):
        view.index_cursor(Table.EVENT_BLOCK, b"aa")
