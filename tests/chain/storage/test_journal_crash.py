"""The vote journal of a process that dies at any moment, or finds the disk full: what it reported is not lost."""

import random
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chain.storage.errors import FolderInUse
from chain.storage.journal import VoteJournal, read_journal

SCRIPT = Path(__file__).parent / "vote_forever.py"
_NAMES = runpy.run_path(str(SCRIPT))
RECORD_AT: Callable[[int], bytes] = _NAMES["record_at"]
GENESIS: bytes = _NAMES["GENESIS"]
KEPT_VIEWS: int = _NAMES["KEPT_VIEWS"]

NO_LAST_VIEW: int = _NAMES["NO_LAST_VIEW"]

KILLS = 30
LAST_VIEW = 16


def voting_process(path: Path, journal_id: str, *numbers: int) -> "subprocess.Popen[str]":
    """Starts the process that votes and reports."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), journal_id, *map(str, numbers)], stdout=subprocess.PIPE, text=True
    )


def last_number(lines: list[str], word: str) -> int:
    """What was reported last with this word; 0 for nothing."""
    return max([int(line.split()[1]) for line in lines if line.startswith(word + " ")], default=0)


def check(path: Path, journal_id: str, reported_vote: int) -> int:
    """Opens the journal as the next start would, and looks for every vote that is still needed; the newest view."""
    with VoteJournal.open(path, genesis_hash=GENESIS, journal_id=bytes.fromhex(journal_id)) as journal:
        votes = [record for record in journal.records if not record.endswith(b" certificate")]
        views = [int(record.split()[0]) for record in votes]
        newest = max(views, default=0)
        assert votes == [RECORD_AT(view) for view in views]
        assert views == list(range(views[0], newest + 1)) if views else True
        assert newest >= reported_vote
        assert not views or views[0] <= max(1, newest - KEPT_VIEWS + 1)
        assert journal.is_new == (newest == 0)
    assert not path.with_name("votes.journal.new").exists()
    return newest


def identity(path: Path, lines: list[str]) -> str:
    """The journal's id, from what was reported or else from the file; "new" where there is none yet."""
    for line in lines:
        if line.startswith("id "):
            return line.split()[1]
    found = read_journal(path)
    return "new" if found is None else found.header.journal_id.hex()


def test_killed_at_any_moment_it_keeps_every_vote_that_it_reported(tmp_path: Path) -> None:
    draw = random.Random()
    path, journal_id, reached = tmp_path / "votes.journal", "new", 0
    for kill in range(KILLS):
        process = voting_process(path, journal_id)
        assert process.stdout is not None
        first = process.stdout.readline() if kill % 6 else ""  # Otherwise it may die while it starts.
        time.sleep(draw.uniform(0, 0.2 if kill % 6 == 0 else 0.05))
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout.read().split("\n")][:-1]
        process.communicate()
        journal_id = identity(path, lines)
        if journal_id != "new":
            reached = check(path, journal_id, max(reached, last_number(lines, "voted")))
    assert reached > KILLS


def test_killed_at_each_call_of_the_operating_system_it_keeps_every_vote(tmp_path: Path) -> None:
    process = voting_process(tmp_path / "votes.journal", "new", LAST_VIEW, 0)
    calls = process.communicate(timeout=60)[0].count("call ")
    assert calls > 60
    for batch in range(1, calls + 1, 2):  # Two at a time, for two cores.
        processes = {}
        for call in range(batch, min(batch + 2, calls + 1)):
            (tmp_path / str(call)).mkdir()
            processes[call] = voting_process(tmp_path / str(call) / "votes.journal", "new", LAST_VIEW, call)
        for call, process in processes.items():
            lines = process.communicate(timeout=60)[0].split("\n")[:-1]
            assert process.returncode == -signal.SIGKILL
            path = tmp_path / str(call) / "votes.journal"
            journal_id = identity(path, lines)
            if journal_id == "new":
                assert not any(line.startswith("voted") for line in lines)
                VoteJournal.open(path, genesis_hash=GENESIS, journal_id=None).close()
            else:
                check(path, journal_id, last_number(lines, "voted"))


def test_the_disk_has_it_before_the_call_returns_and_before_a_file_gets_its_name(tmp_path: Path) -> None:
    """Kills do not show a missing sync: the operating system lives on. So the order of the calls is looked at."""
    process = voting_process(tmp_path / "votes.journal", "new", LAST_VIEW, 0)
    words = [
        line.split()[-1 if line.startswith("call") else 0]
        for line in process.communicate(timeout=60)[0].split("\n")[:-1]
    ]
    opening = words[: words.index("id")]
    assert [word for word in opening if word in ("write", "fsync")] == ["write", "fsync", "fsync"]
    appending = words[words.index("id") + 1 : words.index("voted")]
    assert appending == ["write", "fdatasync"]
    renames = [number for number, word in enumerate(words) if word == "rename"]
    assert len(renames) > 1
    for rename in renames:
        before = words[:rename][::-1]
        assert before.index("fsync") < before.index("write")
        after = words[rename + 1 :]
        assert after[:4] == ["open", "fsync", "close", "close"]


def test_a_full_disk_stops_the_journal_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk."""
    path = tmp_path / "votes.journal"
    for limit in (4_000, 6_500, 9_001):
        process = voting_process(path, "new", NO_LAST_VIEW, -1, limit)
        *lines, failure = process.communicate(timeout=60)[0].split("\n")[:-1]
        assert process.returncode == 1
        assert failure.startswith("JournalError: The vote journal ")
        assert "make room" in failure
        assert check(path, identity(path, lines), last_number(lines, "voted")) >= 1
        path.unlink()


def test_no_room_for_the_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "votes.journal"
    for limit in (0, 50):
        process = voting_process(path, "new", NO_LAST_VIEW, -1, limit)
        assert process.communicate(timeout=60)[0].startswith("JournalError: ")
        assert read_journal(path) is None
    VoteJournal.open(path, genesis_hash=GENESIS, journal_id=None).close()


def test_another_process_is_kept_out(tmp_path: Path) -> None:
    path = tmp_path / "votes.journal"
    process = voting_process(path, "new")
    assert process.stdout is not None
    journal_id = process.stdout.readline().split()[1]
    for _ in range(50):  # While the file is replaced again and again.
        with pytest.raises(FolderInUse):
            VoteJournal.open(path, genesis_hash=GENESIS, journal_id=bytes.fromhex(journal_id))
    process.kill()
    process.communicate()
    check(path, journal_id, 0)
