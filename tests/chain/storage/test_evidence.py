"""Contradicting votes beside the chain: one pair per epoch and signer, written while blocks are committed."""

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from chain.primitives.types import Hash32
from chain.storage.errors import BadCommit, StorageError
from chain.storage.evidence import MAX_EVIDENCE_BYTES
from chain.storage.keys import Table, evidence_key
from chain.storage.store import CommittedBlock, Head, Store

CommitChanges = Callable[[Store, Mapping[bytes, bytes | None]], Head]


@pytest.fixture
def store(folder: Path, genesis_hash: Hash32) -> Iterator[Store]:
    """A new store."""
    with Store.open(folder, genesis_hash=genesis_hash, create=True) as opened:
        yield opened


def test_keys_are_in_the_order_of_epochs_and_signers() -> None:
    keys = [evidence_key(0, 0), evidence_key(0, 62), evidence_key(1, 3), evidence_key(256, 0)]
    assert keys == sorted(keys)
    assert evidence_key(1, 3) == b"\0\0\0\0\0\0\0\x01\x03"


def test_the_first_pair_of_an_epoch_and_signer_stays(
    store: Store, folder: Path, genesis_hash: Hash32, commit_changes: CommitChanges
) -> None:
    store.keep_evidence(evidence_key(0, 3), b"before genesis")
    commit_changes(store, {b"\x01a": b"1"})
    head = store.head
    store.keep_evidence(evidence_key(0, 3), b"another pair")
    store.keep_evidence(evidence_key(0, 2), b"pair")
    store.keep_evidence(evidence_key(2, 0), b"x" * MAX_EVIDENCE_BYTES)
    assert store.head is head
    expected = [
        (evidence_key(2, 0), b"x" * MAX_EVIDENCE_BYTES),
        (evidence_key(0, 3), b"before genesis"),
        (evidence_key(0, 2), b"pair"),
    ]
    assert store.evidence_page(limit=10).items == tuple(expected)
    store.close()
    with Store.open(folder, genesis_hash=genesis_hash) as again:
        assert again.evidence_page(limit=10, newest_first=False).items == tuple(reversed(expected))
        again.keep_evidence(evidence_key(0, 3), b"another pair")
        assert again.evidence_page(limit=10).items == tuple(expected)


def test_pages(store: Store) -> None:
    assert store.evidence_page(limit=1).items == ()
    keys = [evidence_key(epoch, signer) for epoch in (0, 7) for signer in (1, 62)]
    for key in keys:
        store.keep_evidence(key, b"pair")
    first = store.evidence_page(limit=3)
    rest = store.evidence_page(limit=3, cursor=first.next_cursor)
    assert [key for key, _ in first.items + rest.items] == keys[::-1]
    assert rest.next_cursor is None
    assert store.evidence_page(limit=1, newest_first=False).next_cursor == keys[0]


def test_evidence_is_not_an_index_of_blocks(
    store: Store, next_block: Callable[[Head | None, Hash32], CommittedBlock]
) -> None:
    pending = store.prepare({}, on=store.view())
    block = next_block(None, pending.state_root)
    forged = CommittedBlock(
        header=block.header,
        block=block.block,
        transaction_hashes=(),
        results=b"",
        certificate=None,
        index_puts=[(Table.EVIDENCE, evidence_key(0, 0), b"pair")],
    )
    with pytest.raises(BadCommit, match="EVIDENCE is no index"):
        store.commit(forged, pending)


def test_it_is_written_while_blocks_are_committed(store: Store, commit_changes: CommitChanges) -> None:
    def keep(signer: int) -> None:
        for epoch in range(40):
            store.keep_evidence(evidence_key(epoch, signer), b"pair")
            store.keep_evidence(evidence_key(epoch, 0), b"of %d" % signer)

    threads = [threading.Thread(target=keep, args=(signer,)) for signer in (1, 2)]
    for thread in threads:
        thread.start()
    for height in range(60):
        head = commit_changes(store, {b"\x01a": b"%d" % height})
        assert head.height == height
        store.evidence_page(limit=100)
    for thread in threads:
        thread.join()
    assert len(store.evidence_page(limit=1000).items) == 120


def test_after_closing_it_is_refused(store: Store) -> None:
    store.close()
    for use in (lambda: store.keep_evidence(evidence_key(0, 0), b"pair"), lambda: store.evidence_page(limit=1)):
        with pytest.raises(StorageError, match="shutting down"):
            use()


def test_a_cursor_is_only_a_place_in_the_list(store: Store) -> None:
    """Whatever a reader sends as a cursor stays within the table."""
    store.keep_evidence(evidence_key(0, 1), b"pair")
    for cursor in (b"", b"\xff" * 40, b"\0"):
        for newest_first in (True, False):
            page = store.evidence_page(limit=5, cursor=cursor, newest_first=newest_first)
            assert set(page.items) <= {(evidence_key(0, 1), b"pair")}
