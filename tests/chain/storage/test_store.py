"""A store on a real LevelDB: committing, reading, stacking, the past, proofs, threads."""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import plyvel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.state_proof import verify_state_proof
from chain.primitives.types import Hash32
from chain.storage import past
from chain.storage.errors import (
    BadCommit,
    FolderCorrupted,
    FolderMissing,
    FolderUnusable,
    HistoryPruned,
    StalePending,
    StorageError,
    UnknownFormat,
    WrongNetwork,
)
from chain.storage.keys import (
    FORMAT_VERSION_KEY,
    Table,
    account_transaction_key,
    height_key,
    provider_mint_key,
    receipt_order_key,
)
from chain.storage.store import CommittedBlock, Head, Store

Changes = Mapping[bytes, bytes | None]
NextBlock = Callable[[Head | None, Hash32], CommittedBlock]
CommitChanges = Callable[[Store, Changes], Head]


@pytest.fixture
def store(folder: Path, genesis_hash: Hash32) -> Iterator[Store]:
    """A new store."""
    with Store.open(folder, genesis_hash=genesis_hash, create=True) as opened:
        yield opened


# --- Opening


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.head is None
    assert store.get(b"\x01key") is None
    assert store.block_at(0) is None
    assert store.certificate_covering(0) is None
    head, value, proof = store.prove(b"\x01key")
    assert (head, value, proof.siblings, proof.other_leaf) == (None, None, (), None)


def test_what_was_committed_is_there_after_opening_again(
    folder: Path, genesis_hash: Hash32, commit_changes: CommitChanges
) -> None:
    with Store.open(folder, genesis_hash=genesis_hash, create=True) as store:
        commit_changes(store, {b"\x01a": b"1", b"\x01b": b"2", b"\x01empty": b""})
        head = commit_changes(store, {b"\x01a": None, b"\x01c": b"3", b"\x01never": None})
    with Store.open(folder, genesis_hash=genesis_hash) as store:
        assert store.head == head
        assert [store.get(b"\x01" + key) for key in (b"a", b"b", b"c", b"empty", b"never")] == [
            None,
            b"2",
            b"3",
            b"",
            None,
        ]
        assert store.statistics().leaf_count == 3


def test_no_folder_and_an_empty_folder_without_create(folder: Path, genesis_hash: Hash32) -> None:
    with pytest.raises(FolderMissing, match="initialise the node first"):
        Store.open(folder, genesis_hash=genesis_hash)
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(FolderMissing, match="initialise the node first"):
        Store.open(folder, genesis_hash=genesis_hash)


def test_a_file_in_the_place_of_the_folder(folder: Path, genesis_hash: Hash32) -> None:
    folder.write_text("not a folder")
    with pytest.raises(FolderUnusable, match="Choose another one"):
        Store.open(folder, genesis_hash=genesis_hash, create=True)


def test_another_network(folder: Path, genesis_hash: Hash32) -> None:
    Store.open(folder, genesis_hash=genesis_hash, create=True).close()
    with pytest.raises(WrongNetwork, match=r"0x0707.*0x0808") as caught:
        Store.open(folder, genesis_hash=b"\x08" * 32, create=True)
    assert "another folder" in str(caught.value)


def edit(folder: Path, key: bytes, value: bytes | None) -> None:
    """Changes one entry behind the store's back."""
    database = plyvel.DB(str(folder))
    if value is None:
        database.delete(key)
    else:
        database.put(key, value)
    database.close()


def test_another_format(folder: Path, genesis_hash: Hash32) -> None:
    Store.open(folder, genesis_hash=genesis_hash, create=True).close()
    edit(folder, FORMAT_VERSION_KEY, b"99")
    with pytest.raises(UnknownFormat, match="format 99"):
        Store.open(folder, genesis_hash=genesis_hash)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (Table.STATE.prefix + b"\x55" * 32, b"a leaf too many", "the stored state"),
        (height_key(Table.BLOCK, 1), None, "block 1 is missing"),
        (b"mhead", b"\x92\x00\x00", "record of the newest block"),
        (b"mhead", None, "the stored state"),
        (b"mgenesis", None, "genesis hash"),
        (FORMAT_VERSION_KEY, None, "record of the storage format"),
    ],
)
def test_contradicting_records(
    folder: Path, genesis_hash: Hash32, commit_changes: CommitChanges, key: bytes, value: bytes | None, words: str
) -> None:
    with Store.open(folder, genesis_hash=genesis_hash, create=True) as store:
        commit_changes(store, {b"\x01a": b"1"})
        commit_changes(store, {b"\x01a": b"2"})
    edit(folder, key, value)
    with pytest.raises(FolderCorrupted, match=words):
        Store.open(folder, genesis_hash=genesis_hash, create=True)


# --- Preparing and committing


def test_preparing_changes_nothing(store: Store, commit_changes: CommitChanges) -> None:
    commit_changes(store, {b"\x01a": b"1"})
    root = store.prove(b"\x01a")[0]
    pending = store.prepare({b"\x01a": None, b"\x01b": b"2"}, on=store.view())
    assert (pending.get(b"\x01a"), pending.get(b"\x01b")) == (None, b"2")
    assert (store.get(b"\x01a"), store.get(b"\x01b")) == (b"1", None)
    assert store.prove(b"\x01a")[0] == root
    again = store.prepare({b"\x01b": b"2", b"\x01a": None}, on=store.view())
    assert again.state_root == pending.state_root


def test_changes_that_change_nothing_keep_the_root(store: Store, commit_changes: CommitChanges) -> None:
    head = commit_changes(store, {b"\x01a": b"1"})
    assert store.prepare({b"\x01a": b"1", b"\x01b": None}, on=store.view()).state_root == head.state_root
    assert store.prepare({}, on=store.view()).state_root == head.state_root


def test_pending_states_stack_and_are_committed_in_order(store: Store, next_block: NextBlock) -> None:
    genesis = store.prepare({b"\x01a": b"1", b"\x01b": b"1"}, on=store.view())
    first = store.prepare({b"\x01a": None, b"\x01c": b"2"}, on=genesis)
    second = store.prepare({b"\x01a": b"3", b"\x01c": None}, on=first)
    rival = store.prepare({b"\x01a": b"rival"}, on=genesis)
    assert [state.get(b"\x01a") for state in (genesis, first, second)] == [b"1", None, b"3"]
    assert second.get(b"\x01b") == b"1"

    with pytest.raises(StalePending):
        store.commit(next_block(None, first.state_root), first)
    head = store.commit(next_block(None, genesis.state_root), genesis)
    head = store.commit(next_block(head, first.state_root), first)
    third = store.prepare({b"\x01d": b"4"}, on=second)
    with pytest.raises(StalePending):
        store.commit(next_block(head, rival.state_root), rival)
    with pytest.raises(StalePending):
        store.prepare({}, on=rival)
    head = store.commit(next_block(head, second.state_root), second)
    head = store.commit(next_block(head, third.state_root), third)
    assert head.height == 3
    assert [store.get(b"\x01" + key) for key in (b"a", b"b", b"c", b"d")] == [b"3", b"1", None, b"4"]
    assert store.state_at(1).get(b"\x01c") == b"2"


def test_a_view_of_an_older_head_is_no_base(store: Store, commit_changes: CommitChanges) -> None:
    old = store.view()
    commit_changes(store, {b"\x01a": b"1"})
    with pytest.raises(StalePending):
        store.prepare({b"\x01a": b"2"}, on=old)


def test_the_same_pending_state_cannot_be_committed_twice(store: Store, next_block: NextBlock) -> None:
    pending = store.prepare({}, on=store.view())
    head = store.commit(next_block(None, pending.state_root), pending)
    with pytest.raises(StalePending):
        store.commit(next_block(head, pending.state_root), pending)


def test_a_block_that_does_not_follow_changes_nothing(
    store: Store, commit_changes: CommitChanges, next_block: NextBlock
) -> None:
    head = commit_changes(store, {b"\x01a": b"1"})
    pending = store.prepare({b"\x01a": b"2"}, on=store.view())
    good = next_block(head, pending.state_root)
    for header, words in (
        (msgspec.structs.replace(good.header, height=3), "does not follow"),
        (msgspec.structs.replace(good.header, parent_hash=Hash32(b"\x01" * 32)), "another parent"),
        (msgspec.structs.replace(good.header, state_root=head.state_root), "another state root"),
    ):
        with pytest.raises(BadCommit, match=words):
            store.commit(replace(good, header=header), pending)
    assert store.head == head
    assert store.commit(good, pending).height == 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_stacking_leads_to_the_state_of_the_same_changes_in_turn(
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
    genesis_hash: Hash32,
    commit_changes: CommitChanges,
    next_block: NextBlock,
) -> None:
    changes = st.dictionaries(st.sampled_from([b"\x01%d" % n for n in range(12)]), st.none() | st.binary(max_size=2))
    blocks = data.draw(st.lists(changes, min_size=1, max_size=8))
    folders = tmp_path_factory.mktemp("stacking")
    with (
        Store.open(folders / "one", genesis_hash=genesis_hash, create=True) as plain,
        Store.open(folders / "two", genesis_hash=genesis_hash, create=True) as stacking,
    ):
        waiting = [stacking.prepare(blocks[0], on=stacking.view())]
        for following in [*blocks[1:], None]:
            if following is not None:
                waiting.append(stacking.prepare(following, on=waiting[-1]))
            while waiting and (following is None or data.draw(st.booleans(), label="commit one")):
                if len(waiting) == 1 and following is not None:
                    break
                pending = waiting.pop(0)
                stacking.commit(next_block(stacking.head, pending.state_root), pending)
        for block in blocks:
            commit_changes(plain, block)
        assert stacking.head == plain.head
        for n in range(12):
            assert stacking.prove(b"\x01%d" % n) == plain.prove(b"\x01%d" % n)


# --- Reading


def test_every_record_of_a_block_is_found(store: Store, next_block: NextBlock) -> None:
    pending = store.prepare({}, on=store.view())
    genesis = next_block(None, pending.state_root)
    head = store.commit(replace(genesis, certificate=None, floor=b"floor 0"), pending)
    pending = store.prepare({}, on=store.view())
    block = replace(next_block(head, pending.state_root), transaction_hashes=(b"x" * 32, b"y" * 32))
    head = store.commit(block, pending)

    view = store.view()
    for reader in (store, view):
        assert reader.block_at(1) == reader.block_by_hash(head.block_hash) == block.block
        assert reader.height_of(head.block_hash) == 1
        assert reader.results_at(1) == b"results 1"
        assert reader.transaction_location(b"y" * 32) == (1, 1)
        assert reader.certificate_at(0) is None
        assert reader.certificate_covering(0) == (1, b"certificate 1")
        assert reader.certificate_covering(2) is None
        assert reader.floor() == b"floor 0"
        assert reader.block_at(-1) is None
        assert reader.block_by_hash(b"z" * 32) is None
        assert reader.transaction_location(b"z" * 32) is None


def test_an_older_view_does_not_see_later_blocks(store: Store, commit_changes: CommitChanges) -> None:
    commit_changes(store, {b"\x01a": b"1"})
    old = store.view()
    commit_changes(store, {b"\x01a": b"2", b"\x01b": b"2"})
    assert (old.get(b"\x01a"), old.get(b"\x01b"), old.block_at(1)) == (b"1", None, None)
    assert (store.get(b"\x01a"), store.get(b"\x01b")) == (b"2", b"2")
    assert old.head is not None
    assert old.head.height == 0


def test_index_pages_in_both_directions(store: Store, next_block: NextBlock) -> None:
    alice, bob = b"\xaa" * 20, b"\xff" * 20
    head: Head | None = None
    for height in range(3):
        pending = store.prepare({}, on=store.view())
        puts = [
            (Table.ACCOUNT_TRANSACTION, account_transaction_key(address, height, index), b"%d.%d" % (height, index))
            for address in (alice, bob)
            for index in range(2)
        ]
        head = store.commit(replace(next_block(head, pending.state_root), index_puts=puts), pending)

    for address in (alice, bob):
        seen, cursor = [], None
        while True:
            page = store.index_page(Table.ACCOUNT_TRANSACTION, address, cursor=cursor, limit=4)
            seen += [value for _, value in page.items]
            assert all(key.startswith(address) for key, _ in page.items)
            if (cursor := page.next_cursor) is None:
                break
        assert seen == [b"2.1", b"2.0", b"1.1", b"1.0", b"0.1", b"0.0"]

    first = store.index_page(Table.ACCOUNT_TRANSACTION, alice, limit=5, newest_first=False)
    rest = store.index_page(Table.ACCOUNT_TRANSACTION, alice, cursor=first.next_cursor, limit=5, newest_first=False)
    assert [value for _, value in first.items + rest.items] == [b"0.0", b"0.1", b"1.0", b"1.1", b"2.0", b"2.1"]
    assert rest.next_cursor is None
    assert len(store.index_page(Table.ACCOUNT_TRANSACTION, limit=100).items) == 12
    assert store.index_page(Table.RECEIPT, limit=1).items == ()
    with pytest.raises(Rejected) as caught:
        store.index_page(Table.ACCOUNT_TRANSACTION, alice, cursor=bob + bytes(12), limit=5)
    assert caught.value.reason is RejectionReason.MALFORMED


def test_index_entries_can_be_replaced_and_deleted(store: Store, next_block: NextBlock) -> None:
    puts = [
        (Table.PROVIDER, b"p" * 20, b"endpoint 1"),
        (Table.RECEIPT_ORDER, receipt_order_key(0, 0), b"r" * 32),
        (Table.PROVIDER_MINT, provider_mint_key(b"p" * 20, 0, 0), b"mint"),
    ]
    pending = store.prepare({}, on=store.view())
    head = store.commit(replace(next_block(None, pending.state_root), index_puts=puts), pending)
    assert store.index_get(Table.PROVIDER, b"p" * 20) == b"endpoint 1"
    pending = store.prepare({}, on=store.view())
    block = next_block(head, pending.state_root)
    store.commit(replace(block, index_deletes=[(Table.PROVIDER, b"p" * 20)]), pending)
    assert store.index_get(Table.PROVIDER, b"p" * 20) is None
    assert store.index_get(Table.PROVIDER_MINT, provider_mint_key(b"p" * 20, 0, 0)) == b"mint"


def test_only_indexes_can_be_written_as_indexes(store: Store, next_block: NextBlock) -> None:
    pending = store.prepare({}, on=store.view())
    block = next_block(None, pending.state_root)
    for forbidden in (table for table in Table if not table.is_index):
        with pytest.raises(BadCommit, match="no index"):
            store.commit(replace(block, index_puts=[(forbidden, b"k", b"v")]), pending)
        with pytest.raises(BadCommit, match="no index"):
            store.commit(replace(block, index_deletes=[(forbidden, b"k")]), pending)
    assert store.head is None


def test_prefixes_are_one_byte_each_and_distinct() -> None:
    prefixes = [table.prefix for table in Table]
    assert len(set(prefixes)) == len(prefixes)
    assert all(len(prefix) == 1 and prefix[0] < 0xFF for prefix in prefixes)


# --- The past, and proofs


def test_the_past_and_its_proofs(folder: Path, genesis_hash: Hash32, commit_changes: CommitChanges) -> None:
    draw = random.Random(9)
    keys = [b"\x01%d" % n for n in range(60)]
    states: list[dict[bytes, bytes]] = []
    roots: list[Hash32] = []
    values: dict[bytes, bytes] = {}
    with Store.open(folder, genesis_hash=genesis_hash, create=True, history_blocks=6) as store:
        for _ in range(12):
            changes = {key: draw.choice([None, draw.randbytes(3)]) for key in draw.sample(keys, 15)}
            roots.append(commit_changes(store, changes).state_root)
            values = {key: value for key, value in {**values, **changes}.items() if value is not None}
            states.append(values)
        for height in range(5, 12):
            then = store.state_at(height)
            assert then.state_root == roots[height]
            for key in keys[:25]:
                assert then.get(key) == states[height].get(key)
                value, proof = then.prove(key)
                assert value == states[height].get(key)
                assert verify_state_proof(roots[height], key, value, proof)
                assert not verify_state_proof(roots[height], key, b"another", proof)
        held = store.state_at(11)
        commit_changes(store, dict.fromkeys(keys))
        assert store.statistics().leaf_count == 0
        assert held.get(keys[0]) == states[11].get(keys[0]), "a past state stays what it was"
        value, proof = held.prove(keys[0])
        assert verify_state_proof(roots[11], keys[0], value, proof)
        for height in (-1, 4, 5, 13):
            with pytest.raises(HistoryPruned, match=r"height -?\d+"):
                store.state_at(height)
    with Store.open(folder, genesis_hash=genesis_hash, history_blocks=2) as store:
        assert store.state_at(10).get(keys[1]) == states[10].get(keys[1])
        with pytest.raises(HistoryPruned):
            store.state_at(9)


def test_too_much_has_changed_since(store: Store, commit_changes: CommitChanges) -> None:
    commit_changes(store, {})
    many = past.MAX_PAST_CHANGES + 1
    commit_changes(store, {b"\x01%d" % n: b"v" for n in range(many)})
    with pytest.raises(HistoryPruned, match="ask for 1 or later"):
        store.state_at(0)
    assert store.state_at(1).get(b"\x010") == b"v"


def test_proofs_at_the_head(store: Store, commit_changes: CommitChanges) -> None:
    head = commit_changes(store, {b"\x01%d" % n: b"value %d" % n for n in range(500)})
    for n in range(0, 1000, 7):
        key = b"\x01%d" % n
        proven, value, proof = store.prove(key)
        assert proven == head
        assert value == (b"value %d" % n if n < 500 else None)
        assert verify_state_proof(head.state_root, key, value, proof)
        assert not verify_state_proof(head.state_root, key, b"another", proof)


# --- Threads, and the end


def test_readers_see_whole_blocks_while_others_are_committed(store: Store, commit_changes: CommitChanges) -> None:
    """Every block writes its height under all keys: whoever sees two heights at once has seen half a block."""
    keys = [b"\x01%d" % n for n in range(40)]
    commit_changes(store, dict.fromkeys(keys, b"0"))
    failures: list[str] = []
    done = threading.Event()
    rounds = [0, 0, 0]

    def read(number: int) -> None:
        draw = random.Random(number)
        while not done.is_set():
            view = store.view()
            assert view.head is not None
            expected = b"%d" % view.head.height
            if {view.get(key) for key in keys} != {expected}:
                failures.append(f"a view of block {expected!r} saw another one")
            head, value, _ = store.prove(draw.choice(keys))
            assert head is not None
            if value != b"%d" % head.height:
                failures.append(f"the proof at {head.height} is of {value!r}")
            rounds[number] += 1

    readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for reader in readers:
        reader.start()
    for height in range(1, 120):
        commit_changes(store, dict.fromkeys(keys, b"%d" % height))
    done.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert min(rounds) > 3


def test_after_closing_everything_is_refused_clearly(store: Store, commit_changes: CommitChanges) -> None:
    commit_changes(store, {b"\x01a": b"1"})
    view = store.view()
    store.close()
    store.close()
    for use in (
        lambda: view.get(b"\x01other"),
        lambda: view.block_at(0),
        lambda: store.index_page(Table.RECEIPT, limit=1),
        lambda: store.prove(b"\x01a"),
        lambda: store.prepare({}, on=view),
    ):
        with pytest.raises(StorageError, match="shutting down"):
            use()
