"""The vote journal in a real folder: what was synced is found again, and what is wrong is refused, never guessed."""

import os
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.storage.errors import FolderInUse, JournalDamaged, JournalError, JournalForeign, JournalMissing
from chain.storage.journal import REWRITE_BYTES, VoteJournal, read_journal
from chain.storage.journal_format import FRAME_EXTRA_BYTES, HEADER_BYTES, MAX_RECORD_BYTES, encode_frame

GENESIS = b"\x07" * 32
OWNER = b"\x0a" * 20


class Entry(NamedTuple):
    """A record as the engine makes them."""

    epoch: int
    view: int
    encoded: bytes
    is_vote: bool = True


Entries = Sequence[Entry]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal may be made."""
    return tmp_path / "votes.journal"


def create(path: Path, *, is_history_lost: bool = False, rewrite_bytes: int = REWRITE_BYTES) -> VoteJournal:
    """A new journal."""
    return VoteJournal.open(
        path,
        genesis_hash=GENESIS,
        journal_id=None,
        owner=OWNER,
        is_history_lost=is_history_lost,
        rewrite_bytes=rewrite_bytes,
    )


def reopen(path: Path, journal_id: bytes, *, rewrite_bytes: int = REWRITE_BYTES) -> VoteJournal:
    """The journal with this id."""
    return VoteJournal.open(path, genesis_hash=GENESIS, journal_id=journal_id, owner=OWNER, rewrite_bytes=rewrite_bytes)


def written(path: Path, entries: Entries) -> bytes:
    """Makes a journal of these entries, synced one by one, as a killed process leaves it; its id."""
    journal = create(path)
    for entry in entries:
        journal.append([entry], sync=True)
    journal.close()
    return journal.journal_id


def found(path: Path, journal_id: bytes) -> tuple[bytes, ...]:
    """What another start finds."""
    with reopen(path, journal_id) as journal:
        return journal.records


def open_descriptors() -> int:
    """How many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# --- Opening, appending, finding again


def test_what_was_appended_is_found_in_order(path: Path) -> None:
    with create(path) as journal:
        assert journal.records == ()
        assert len(journal.journal_id) == 16
        journal.append([Entry(0, 1, b"certificate", False), Entry(0, 2, b"vote")], sync=True)
        journal.append([Entry(0, 2, b"", False)], sync=False)
        journal.append([], sync=True)
        journal.append([Entry(0, 3, bytes(100_000))], sync=True)
    assert found(path, journal.journal_id) == (b"certificate", b"vote", b"", bytes(100_000))
    with reopen(path, journal.journal_id) as again:
        again.append([Entry(2**63 - 1, 2**63 - 1, b"last")], sync=True)
    assert found(path, journal.journal_id)[3:] == (bytes(100_000), b"last")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ids_differ_and_a_journal_is_never_overwritten(path: Path, tmp_path: Path) -> None:
    with create(path) as journal, create(tmp_path / "other") as other:
        assert journal.journal_id != other.journal_id
    content = path.read_bytes()
    with pytest.raises(JournalForeign, match="exists already"):
        create(path)
    assert path.read_bytes() == content


def test_a_missing_journal_is_refused_and_not_made(path: Path) -> None:
    with pytest.raises(JournalMissing, match=r"missing.*keys rotate.*--accept-lost-votes"):
        reopen(path, b"\x01" * 16)
    assert not path.exists()


def test_a_journal_of_another_network_key_or_folder_is_refused(path: Path, tmp_path: Path) -> None:
    journal_id = written(path, [Entry(0, 1, b"vote")])
    content = path.read_bytes()
    cases = [
        ("genesis hash 0x0707", b"\x08" * 32, journal_id, OWNER),
        (f"validator 0x{OWNER.hex()}", GENESIS, journal_id, b"\x0b" * 20),
        ("another one", GENESIS, b"\x01" * 16, OWNER),
    ]
    for words, genesis_hash, expected, owner in cases:
        with pytest.raises(JournalForeign, match=words) as caught:
            VoteJournal.open(path, genesis_hash=genesis_hash, journal_id=expected, owner=owner)
        assert "keys rotate" in str(caught.value)
        assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_two_cannot_use_one_journal(path: Path) -> None:
    before = open_descriptors()
    with create(path) as journal:
        journal.append([Entry(0, 1, b"vote")], sync=True)
        for _ in range(2):
            with pytest.raises(FolderInUse, match="Another process uses"):
                reopen(path, journal.journal_id)
            with pytest.raises(FolderInUse):
                create(path)
            journal.append([Entry(0, 2, b"vote")], sync=True)
            journal.prune(0, 1)
    assert found(path, journal.journal_id) == (b"vote", b"vote")
    assert open_descriptors() == before


def test_the_lock_moves_with_the_file_when_it_is_written_anew(path: Path) -> None:
    with create(path, rewrite_bytes=0) as journal:
        inode = path.stat().st_ino
        journal.append([Entry(0, 1, b"vote"), Entry(0, 2, b"short")], sync=True)
        journal.append([Entry(0, 1, bytes(1000))], sync=True)
        journal.prune(0, 1)
        assert path.stat().st_ino != inode
        with pytest.raises(FolderInUse):
            reopen(path, journal.journal_id)
        journal.append([Entry(0, 3, b"later")], sync=True)
    assert found(path, journal.journal_id) == (b"short", b"later")


def test_a_lock_on_a_file_that_was_replaced_meanwhile_is_none(path: Path) -> None:
    """Between opening and locking it, the holder writes the file anew and lets the old one go."""
    with create(path, rewrite_bytes=0) as journal:
        journal.append([Entry(0, 1, bytes(1000))], sync=True)
        calls: list[str] = []

        def interrupt(_frame: object, event: str, function: object) -> None:
            if event == "c_call" and getattr(function, "__name__", "") == "flock":
                sys.setprofile(None)
                calls.append("flock")
                journal.prune(0, 1)

        sys.setprofile(interrupt)
        try:
            with pytest.raises(FolderInUse):
                reopen(path, journal.journal_id)
        finally:
            sys.setprofile(None)
        assert calls == ["flock"]
        journal.append([Entry(0, 2, b"vote")], sync=True)
    assert found(path, journal.journal_id) == (b"vote",)


def test_a_link_stays_a_link_when_the_file_is_written_anew(path: Path, tmp_path: Path) -> None:
    journal_id = written(path, [Entry(0, 1, b"vote")])
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with reopen(path, journal_id, rewrite_bytes=0) as journal:
        journal.append([Entry(0, 2, bytes(10_000))], sync=True)
        journal.prune(0, 2)
    assert path.is_symlink()
    assert found(path, journal_id) == ()


def test_a_folder_or_nothing_in_its_place(path: Path, tmp_path: Path) -> None:
    before = open_descriptors()
    path.mkdir()
    uses: list[Callable[[], object]] = [
        lambda: create(path),
        lambda: reopen(path, b"\1" * 16),
        lambda: create(tmp_path / "none" / "journal"),
    ]
    for use in uses:
        with pytest.raises(JournalError, match="cannot be read or written"):
            use()
    assert open_descriptors() == before


def test_a_record_that_is_too_large_changes_nothing(path: Path) -> None:
    with create(path) as journal:
        with pytest.raises(JournalError, match="larger than any vote"):
            journal.append([Entry(0, 1, b"fine"), Entry(0, 1, bytes(MAX_RECORD_BYTES + 1))], sync=True)
        assert journal.is_new
        journal.append([Entry(0, 1, b"vote")], sync=True)
    assert found(path, journal.journal_id) == (b"vote",)


def test_after_closing_everything_is_refused(path: Path) -> None:
    journal = create(path)
    journal.close()
    journal.close()
    uses: list[Callable[[], None]] = [
        lambda: journal.append([Entry(0, 1, b"vote")], sync=True),
        lambda: journal.append([], sync=False),
        lambda: journal.prune(0, 0),
        journal.accept_lost_history,
    ]
    for use in uses:
        with pytest.raises(JournalError, match="shutting down"):
            use()


# --- Whether it has voted


def test_it_is_new_until_the_first_vote_and_never_again(path: Path) -> None:
    with create(path, rewrite_bytes=0) as journal:
        journal.append([Entry(0, 1, b"certificate", False)], sync=True)
        assert journal.is_new
    with reopen(path, journal.journal_id, rewrite_bytes=0) as journal:
        assert journal.is_new
        journal.append([Entry(0, 1, b"vote")], sync=True)
        assert not journal.is_new
        journal.prune(5, 0)
        assert not journal.is_new
        journal.prune(6, 0)
    with reopen(path, journal.journal_id, rewrite_bytes=0) as journal:
        assert (journal.records, journal.is_new) == ((), False)
        journal.append([Entry(7, 1, b"certificate", False)], sync=True)
        journal.prune(7, 1)
    with reopen(path, journal.journal_id) as journal:
        assert (journal.records, journal.is_new) == ((), False)


def test_a_lost_history_ends_when_a_prune_reaches_the_first_vote_since(path: Path) -> None:
    journal = create(path, is_history_lost=True)
    journal_id = journal.journal_id
    for step in range(3):  # However often it is opened again.
        assert journal.is_history_lost
        assert journal.is_new
        journal.append([Entry(0, step, b"certificate", False)], sync=True)
        journal.prune(0, step)
        journal.close()
        journal = reopen(path, journal_id)
    journal.append([Entry(3, 12, b"vote"), Entry(3, 10, b"vote")], sync=True)
    journal.prune(3, 9)
    journal.close()
    journal = reopen(path, journal_id)
    assert journal.is_history_lost, "a view between floor and vote may hold a vote that is not here"
    assert not journal.is_new
    journal.prune(3, 10)
    assert not journal.is_history_lost
    assert not path.with_name("votes.journal.new").exists()
    with pytest.raises(FolderInUse):
        reopen(path, journal_id)
    journal.close()
    with reopen(path, journal_id) as again:
        assert not again.is_history_lost
        assert again.records == (b"vote",)


def test_a_prune_to_the_next_epoch_ends_it_too(path: Path) -> None:
    with create(path, is_history_lost=True) as journal:
        journal.append([Entry(3, 10, b"vote")], sync=True)
        journal.prune(4, 0)
        assert not journal.is_history_lost


def test_a_journal_without_votes_can_be_declared_lost(path: Path) -> None:
    with create(path) as journal:
        journal.append([Entry(0, 1, b"certificate", False)], sync=True)
        journal.accept_lost_history()
        assert journal.is_history_lost
    with reopen(path, journal.journal_id) as journal:
        assert (journal.is_history_lost, journal.is_new, journal.records) == (True, True, (b"certificate",))


# --- Pruning


def test_pruning_drops_views_and_epochs_and_keeps_the_order(path: Path) -> None:
    entries = [Entry(1, 5, b"a"), Entry(0, 9, b"b"), Entry(1, 7, b"c"), Entry(1, 6, b"d"), Entry(2, 1, b"e")]
    with create(path) as journal:
        journal.append(entries, sync=True)
        journal.prune(1, 5)
    assert found(path, journal.journal_id) == (b"c", b"d", b"e")


def test_a_small_or_mostly_needed_file_is_not_written_anew(path: Path) -> None:
    with create(path, rewrite_bytes=10_000) as journal:
        inode = path.stat().st_ino
        journal.append([Entry(0, 1, bytes(9_000))], sync=True)
        journal.prune(0, 1)
        assert path.stat().st_ino == inode
        journal.append([Entry(0, 9, bytes(9_500))], sync=True)
        journal.append([Entry(0, 2, bytes(100))], sync=True)
        journal.prune(0, 2)
        assert path.stat().st_ino == inode
        journal.append([Entry(0, 3, bytes(1_000))], sync=True)
        journal.prune(0, 3)
        assert path.stat().st_ino != inode
        assert path.stat().st_size == HEADER_BYTES + 9_500 + FRAME_EXTRA_BYTES
    assert found(path, journal.journal_id) == (bytes(9_500),)


def test_the_file_stays_bounded_while_it_is_pruned(path: Path) -> None:
    with create(path, rewrite_bytes=20_000) as journal:
        for view in range(1, 600):
            journal.append([Entry(0, view, bytes(700))], sync=False)
            journal.prune(0, view - 3)
            assert path.stat().st_size < 25_000
        assert len(journal._frames) == 3
    assert len(found(path, journal.journal_id)) == 3


def test_what_a_crash_left_beside_the_file_means_nothing(path: Path) -> None:
    journal_id = written(path, [Entry(0, 1, b"vote")])
    beside = path.with_name("votes.journal.new")
    beside.write_bytes(b"half a file")
    assert found(path, journal_id) == (b"vote",)
    assert not beside.exists()


# --- After a crash


def test_a_file_cut_at_any_byte_gives_a_prefix(path: Path) -> None:
    entries = [Entry(0, view, bytes([view]) * (view * 7 % 40), view % 3 == 0) for view in range(1, 8)]
    journal_id = written(path, entries)
    content = path.read_bytes()
    records = [entry.encoded for entry in entries]
    ends = [HEADER_BYTES]
    for record in records:
        ends.append(ends[-1] + len(record) + FRAME_EXTRA_BYTES)
    assert ends[-1] == len(content)
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        if cut < HEADER_BYTES:
            with pytest.raises(JournalDamaged, match="cut off within its header"):
                reopen(path, journal_id)
            continue
        whole = sum(end <= cut for end in ends) - 1
        with reopen(path, journal_id) as journal:
            assert list(journal.records) == records[:whole]
            assert path.stat().st_size == ends[whole]
            journal.append([Entry(9, 9, b"next")], sync=True)
        assert found(path, journal_id) == (*records[:whole], b"next")


def test_any_changed_byte_is_refused(path: Path) -> None:
    """Not one of the changes may look as if the last record had never been written: it was synced, and sent."""
    journal_id = written(path, [Entry(0, 1, b"\0" * 30), Entry(0, 2, b"x" * 30, False), Entry(0, 3, b"\0" * 30)])
    content = path.read_bytes()
    for position in range(len(content)):
        for change in (0x01, 0x80, 0xFF, content[position] or 0x55):  # The last makes it zero.
            garbled = bytearray(content)
            garbled[position] ^= change
            path.write_bytes(garbled)
            with pytest.raises((JournalDamaged, JournalForeign), match=r"keys rotate.*--accept-lost-votes"):
                reopen(path, journal_id)
            assert path.read_bytes() == garbled, "nothing is repaired before somebody has looked at it"


def test_an_end_of_zeros_is_cut_off(path: Path) -> None:
    journal_id = written(path, [Entry(0, 1, b"vote"), Entry(0, 2, b"x" * 3_000)])
    content = path.read_bytes()
    start = HEADER_BYTES + 4 + FRAME_EXTRA_BYTES
    for zeros in (1, 30, 512, 5_000):  # Nothing of the record was written, and more had been asked for.
        path.write_bytes(content[:start] + bytes(zeros))
        assert found(path, journal_id) == (b"vote",)
        assert path.stat().st_size == start
    for sector in range(1, 6):  # Some sectors of it were.
        path.write_bytes(content[: 512 * sector] + bytes(len(content) - 512 * sector))
        assert found(path, journal_id) == (b"vote",)
        assert path.stat().st_size == start


def test_zeros_elsewhere_are_refused(path: Path) -> None:
    journal_id = written(path, [Entry(0, 1, b"v" * 600), Entry(0, 2, b"x" * 3_000), Entry(0, 3, b"short")])
    content = path.read_bytes()
    for start, stop in (
        (512, 1024),  # A sector in the middle,
        (1024, 2048),  # two in one record,
        (HEADER_BYTES, len(content) - 1),  # all but the last byte,
        (len(content) - 1, len(content)),  # or less than a sector at the end.
        (len(content) - 7, len(content)),
    ):
        path.write_bytes(content[:start] + bytes(stop - start) + content[stop:])
        with pytest.raises(JournalDamaged, match="garbled"):
            reopen(path, journal_id)


def test_what_follows_a_whole_journal_is_refused_unless_a_crash_explains_it(path: Path) -> None:
    journal_id = written(path, [Entry(0, 1, b"vote")])
    content = path.read_bytes()
    path.write_bytes(content + b"no frame, and longer than the header of one")
    with pytest.raises(JournalDamaged, match="garbled"):
        reopen(path, journal_id)
    path.write_bytes(content + content[HEADER_BYTES:])  # A frame in another place than its own.
    with pytest.raises(JournalDamaged, match="garbled"):
        reopen(path, journal_id)


def test_a_frame_from_before_the_file_was_written_anew_is_refused(path: Path) -> None:
    """A file system that does not order its writes may show old sectors of the former file."""
    with create(path, rewrite_bytes=0) as journal:
        journal.append([Entry(0, 1, b"first"), Entry(0, 2, b"again")], sync=True)
        old = path.read_bytes()
        journal.append([Entry(0, 2, bytes(1000), False)], sync=True)
        journal.prune(0, 2)
        journal.append([Entry(0, 3, b"third")], sync=True)
    content = path.read_bytes()
    frame_bytes = 5 + FRAME_EXTRA_BYTES
    assert len(content) == HEADER_BYTES + frame_bytes
    path.write_bytes(content + old[len(content) : len(content) + frame_bytes])
    with pytest.raises(JournalDamaged, match="garbled"):
        reopen(path, journal.journal_id)


def test_a_creation_that_was_cut_off_is_done_again(path: Path) -> None:
    create(path).close()
    content = path.read_bytes()
    assert len(content) == HEADER_BYTES
    for left in [*(content[:size] for size in range(HEADER_BYTES)), bytes(HEADER_BYTES)]:
        path.write_bytes(left)
        assert read_journal(path) is None
        with create(path) as journal:
            assert journal.is_new
        assert found(path, journal.journal_id) == ()


def test_another_format_is_named(path: Path) -> None:
    journal_id = written(path, [])
    content = bytearray(path.read_bytes())
    content[8] = 1
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match="version 1"):
        reopen(path, journal_id)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400), keep=st.integers(0, 300))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, keep: int) -> None:
    path = tmp_path / "fuzzed"
    path.unlink(missing_ok=True)
    journal_id = written(path, [Entry(0, 1, b"vote" * 10), Entry(0, 2, b"vote" * 20)])
    path.write_bytes(path.read_bytes()[:keep] + content)
    try:
        records = found(path, journal_id)
    except (JournalDamaged, JournalForeign):
        return
    assert records == (b"vote" * 10, b"vote" * 20)[: len(records)]


# --- When the system refuses


def test_after_a_failed_sync_it_takes_no_more(path: Path) -> None:
    """/dev/null takes writes and cannot be synced: what a broken disk does, with a real error of the system's."""
    journal = create(path)
    journal.append([Entry(0, 1, b"vote")], sync=True)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, journal._descriptor)
    os.close(null)
    journal.append([Entry(0, 2, b"lost")], sync=False)
    with pytest.raises(JournalError, match=r"cannot be read or written.*Stop the node"):
        journal.append([Entry(0, 3, b"lost")], sync=True)
    uses: list[Callable[[], None]] = [lambda: journal.append([], sync=False), lambda: journal.prune(9, 9)]
    for use in uses:
        with pytest.raises(JournalError, match="Stop the node"):
            use()
    journal.close()
    assert found(path, journal.journal_id) == (b"vote",)


def test_after_a_failed_rewrite_it_takes_no_more(path: Path) -> None:
    before = open_descriptors()
    journal = create(path, rewrite_bytes=0)
    journal.append([Entry(0, 1, bytes(1000)), Entry(0, 2, b"vote")], sync=True)
    path.with_name("votes.journal.new").mkdir()
    with pytest.raises(JournalError, match="cannot be read or written"):
        journal.prune(0, 1)
    with pytest.raises(JournalError, match="cannot be read or written"):
        journal.append([Entry(0, 3, b"vote")], sync=True)
    journal.close()
    path.with_name("votes.journal.new").rmdir()
    assert found(path, journal.journal_id) == (bytes(1000), b"vote")
    assert open_descriptors() == before


@pytest.mark.parametrize("end", [b"", b"xyz"])
def test_damage_that_a_rewrite_finds_is_not_copied(path: Path, end: bytes) -> None:
    journal = create(path, rewrite_bytes=0)
    journal.append([Entry(0, 1, bytes(1000)), Entry(0, 2, b"vote")], sync=True)
    damaged = path.read_bytes()[:-3] + end
    path.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(JournalDamaged):
            journal.prune(0, 1)
    journal.close()
    assert path.read_bytes() == damaged


# --- Threads


def test_threads_wait_for_each_other(path: Path) -> None:
    journal = create(path, rewrite_bytes=2_000)

    def write(epoch: int) -> None:
        for view in range(60):
            journal.append([Entry(epoch, view, b"%d %d" % (epoch, view))], sync=view % 20 == 0)
            journal.prune(0, view - 5)

    threads = [threading.Thread(target=write, args=(epoch,)) for epoch in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    records = found(path, journal.journal_id)
    for epoch in range(1, 4):
        of_epoch = [record for record in records if record.startswith(b"%d " % epoch)]
        assert of_epoch == [b"%d %d" % (epoch, view) for view in range(60)]


# --- Everything in any order

EPOCH_AND_VIEW = st.tuples(st.integers(0, 2), st.integers(0, 12))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), EPOCH_AND_VIEW, st.integers(0, 700), st.booleans()),
        st.tuples(st.just("prune"), EPOCH_AND_VIEW),
        st.tuples(st.just("close")),
        st.tuples(st.just("kill"), st.integers(0, 300)),
    ),
    max_size=25,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, starts_lost=st.booleans())
def test_any_steps_keep_what_is_needed_in_order(
    tmp_path: Path, steps: list[tuple[str, *tuple[object, ...]]], starts_lost: bool
) -> None:
    """A kill cuts off a piece of a record that was being written; what was pruned may come back until a rewrite."""
    path = tmp_path / "any.journal"
    path.unlink(missing_ok=True)
    journal = create(path, is_history_lost=starts_lost, rewrite_bytes=500)
    entries: list[Entry] = []
    pruned: set[bytes] = set()
    has_voted, is_lost = False, starts_lost
    for number, step in enumerate(steps):
        match step:
            case ("append", (int(epoch), int(view)), int(size), bool(is_vote)):
                entry = Entry(epoch, view, b"%d " % number + bytes(size), is_vote)
                journal.append([entry], sync=is_vote)
                entries.append(entry)
                has_voted |= is_vote
            case ("prune", (int(epoch), int(view))):
                gone = [entry for entry in entries if (entry.epoch, entry.view) <= (epoch, view)]
                is_lost = is_lost and not any(entry.is_vote and entry.encoded not in pruned for entry in gone)
                pruned |= {entry.encoded for entry in gone}
                journal.prune(epoch, view)
            case ("close",):
                journal.close()
                journal = reopen(path, journal.journal_id, rewrite_bytes=500)
                entries = [entry for entry in entries if entry.encoded not in pruned]
                assert journal.records == tuple(entry.encoded for entry in entries)
            case ("kill", int(piece)):
                os.close(journal._descriptor)
                half = encode_frame(bytes(300), epoch=9, view=9, is_vote=True, start=journal._end, seed=journal._seed)
                with path.open("ab") as file:
                    file.write(half[:piece])
                journal = reopen(path, journal.journal_id, rewrite_bytes=500)
                found_now = set(journal.records)
                assert {entry.encoded for entry in entries} - pruned <= found_now
                entries = [entry for entry in entries if entry.encoded in found_now]
                assert journal.records == tuple(entry.encoded for entry in entries)
                pruned -= found_now  # They are there again, and only the next prune drops them.
        assert (journal.is_new, journal.is_history_lost) == (not has_voted, is_lost)
    journal.close()
