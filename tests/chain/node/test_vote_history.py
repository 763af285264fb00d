"""Which journal belongs to a key: first runs, crashes between two files, lost, foreign and damaged journals."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from typer.testing import CliRunner

from chain.node.cli import app
from chain.node.folder import NodeFolder, SetupError, open_journal, read_journal_id, refuse_used_key, write_key_file
from chain.node.key_file import read_key_file, write_journal_id
from chain.primitives.hexadecimal import to_hex
from chain.primitives.network import Network, network_to_toml
from chain.storage.errors import FolderInUse, JournalDamaged, JournalError
from chain.storage.journal import VoteJournal, read_journal

if TYPE_CHECKING:
    from tests.chain.conftest import MakeChain, People


class Entry(NamedTuple):
    """A record as the engine makes them."""

    epoch: int
    view: int
    encoded: bytes
    is_vote: bool


VOTE = Entry(0, 7, b"vote", True)
CERTIFICATE = Entry(0, 6, b"certificate", False)


@pytest.fixture
def network(people: People) -> Network:
    """The network of the folders."""
    return people.network


@pytest.fixture
def folder(tmp_path: Path, network: Network, people: People) -> NodeFolder:
    """A validator's folder before its first run."""
    return make_folder(tmp_path / "data", network, people)


def make_folder(path: Path, network: Network, people: People) -> NodeFolder:
    """Another folder with the same key, which has not voted."""
    made = NodeFolder.create(path, network_to_toml(network))
    write_key_file(made.key_file, people.key("validator"))
    return made


def start(folder: NodeFolder, network: Network, *, accept: bool = False) -> tuple[VoteJournal, bool]:
    """What a node does when it starts."""
    return open_journal(folder, network, accept_lost_history=accept, chain_height=12)


def run(
    folder: NodeFolder, network: Network, *entries: Entry, accept: bool = False
) -> tuple[tuple[bytes, ...], bool, bool]:
    """A start, these records, and an end in order: what was found, whether nothing was ever voted, whether lost."""
    journal, is_lost = start(folder, network, accept=accept)
    found = journal.records, journal.is_new, is_lost
    assert journal.journal_id == read_journal_id(folder.key_file)
    journal.append(entries, sync=True)
    journal.close()
    return found


def refuses(folder: NodeFolder, network: Network, words: str) -> None:
    """The start fails with this message, and changes nothing."""
    before = files(folder)
    with pytest.raises(SetupError, match=words) as caught:
        start(folder, network)
    assert "keys rotate" in str(caught.value)
    assert "--accept-lost-votes" in str(caught.value)
    assert files(folder) == before


def files(folder: NodeFolder) -> dict[str, bytes]:
    """Everything in the folder."""
    return {file.name: file.read_bytes() for file in folder.path.iterdir() if file.is_file()}


def test_the_first_run_makes_a_journal_and_names_it_in_the_key_file(folder: NodeFolder, network: Network) -> None:
    assert read_journal_id(folder.key_file) is None
    secret = read_key_file(folder.key_file).secret
    assert run(folder, network, VOTE) == ((), True, False)
    assert run(folder, network) == ((b"vote",), False, False)
    assert run(folder, network, accept=True) == ((b"vote",), False, False), "nothing is lost, so nothing is accepted"
    assert read_key_file(folder.key_file).secret == secret
    assert stat.S_IMODE(folder.key_file.stat().st_mode) == 0o600
    assert set(files(folder)) == {"network.toml", "validator.key", "votes.journal"}


def test_a_crash_before_the_key_file_was_written_loses_nothing(folder: NodeFolder, network: Network) -> None:
    key_file = folder.key_file.read_bytes()
    journal, _ = start(folder, network)
    journal.close()
    folder.key_file.write_bytes(key_file)
    assert run(folder, network) == ((), True, False)
    assert read_journal_id(folder.key_file) == journal.journal_id


def test_a_crash_while_the_journal_was_made_is_a_first_run(
    folder: NodeFolder, network: Network, people: People
) -> None:
    for left in (b"", b"aitbcvot", bytes(50)):
        folder.journal.write_bytes(left)
        assert run(folder, network) == ((), True, False)
        folder.key_file.unlink()
        folder.journal.unlink()
        write_key_file(folder.key_file, people.key("validator"))


def test_a_missing_journal_is_refused_until_the_loss_is_accepted(folder: NodeFolder, network: Network) -> None:
    run(folder, network, VOTE)
    folder.journal.unlink()
    refuses(folder, network, r"votes\.journal is missing.*height 12")
    assert run(folder, network, accept=True) == ((), True, True)
    for entry in (CERTIFICATE, VOTE, VOTE._replace(view=8)):  # It stays lost over restarts without the flag,
        assert run(folder, network, entry)[2]
    journal, is_lost = start(folder, network)
    assert is_lost
    journal.prune(0, 7)  # until a view in which it has voted since is final.
    assert not journal.is_history_lost
    journal.close()
    assert run(folder, network) == ((b"vote",), False, False)


def test_a_crash_after_accepting_and_before_the_key_file_was_written(folder: NodeFolder, network: Network) -> None:
    run(folder, network, VOTE)
    key_file = folder.key_file.read_bytes()
    folder.journal.unlink()
    run(folder, network, accept=True)
    folder.key_file.write_bytes(key_file)
    assert run(folder, network) == ((), True, True)
    assert folder.key_file.read_bytes() != key_file


def test_a_journal_without_votes_can_be_declared_lost(folder: NodeFolder, network: Network) -> None:
    """The engine has found votes of this key in the chain: the folder was set up anew."""
    run(folder, network, CERTIFICATE)
    assert run(folder, network) == ((b"certificate",), True, False)
    assert run(folder, network, accept=True) == ((b"certificate",), True, True)
    assert run(folder, network) == ((b"certificate",), True, True)


def test_accepting_at_the_first_run_counts_as_lost(folder: NodeFolder, network: Network) -> None:
    assert run(folder, network, accept=True) == ((), True, True)
    assert run(folder, network) == ((), True, True)


def test_a_damaged_journal_is_refused_and_set_aside_when_the_loss_is_accepted(
    folder: NodeFolder, network: Network
) -> None:
    for number in (1, 2):
        run(folder, network, VOTE, VOTE._replace(view=9))
        content = bytearray(folder.journal.read_bytes())
        content[-60] ^= 1
        folder.journal.write_bytes(content)
        refuses(folder, network, "is damaged")
        assert run(folder, network, accept=True) == ((), True, True)
        assert folder.journal.with_name(f"votes.journal.set-aside-{number}").read_bytes() == content


def test_a_journal_of_another_folder_is_refused(
    folder: NodeFolder, network: Network, people: People, tmp_path: Path
) -> None:
    run(folder, network, VOTE)
    other = make_folder(tmp_path / "other", network, people)
    run(other, network, VOTE)
    shutil.copy(other.journal, folder.journal)
    refuses(folder, network, "another one")
    assert run(folder, network, accept=True) == ((), True, True)


def test_a_new_journal_of_another_folder_is_not_adopted_by_a_key_that_has_voted(
    folder: NodeFolder, network: Network, people: People, tmp_path: Path
) -> None:
    run(folder, network, VOTE)
    other = make_folder(tmp_path / "other", network, people)
    run(other, network)
    shutil.copy(other.journal, folder.journal)
    refuses(folder, network, "another one")


def test_a_journal_with_votes_is_not_adopted_by_a_key_file_without_an_id(folder: NodeFolder, network: Network) -> None:
    """The key file is older than the journal, and nothing says that this was its only journal."""
    key_file = folder.key_file.read_bytes()
    run(folder, network, VOTE)
    folder.key_file.write_bytes(key_file)
    refuses(folder, network, "does not name it.*older copy")


def test_a_journal_of_another_network_is_refused(
    folder: NodeFolder, people: People, network: Network, make_chain: MakeChain, tmp_path: Path
) -> None:
    run(folder, network, VOTE)
    other_network = make_chain(block_interval_ms=77).people.network
    other = make_folder(tmp_path / "other", other_network, people)
    run(other, other_network)
    shutil.copy(folder.journal, other.journal)
    refuses(other, other_network, "belongs to the network with the genesis hash")


def test_a_new_key_gets_a_journal_of_its_own(folder: NodeFolder, network: Network, people: People) -> None:
    run(folder, network, VOTE)
    old_key, old_journal = folder.key_file.read_bytes(), folder.journal.read_bytes()
    folder.key_file.unlink()
    write_key_file(folder.key_file, people.key("ann"))
    assert run(folder, network, VOTE) == ((), True, False)
    aside = folder.journal.with_name("votes.journal.set-aside-1")
    assert aside.read_bytes() == old_journal
    new_key = folder.key_file.read_bytes()
    folder.key_file.write_bytes(old_key)
    refuses(folder, network, "holds the votes of the validator")
    aside.replace(folder.journal)
    assert run(folder, network) == ((b"vote",), False, False)
    folder.key_file.write_bytes(new_key)
    refuses(folder, network, "holds the votes of the validator")


def test_two_starts_at_once(folder: NodeFolder, network: Network) -> None:
    journal, _ = start(folder, network)
    for accept in (False, True):
        with pytest.raises(FolderInUse):
            start(folder, network, accept=accept)
    folder.journal.rename(folder.journal.with_name("moved"))
    journal.append([VOTE], sync=True)
    journal.close()
    refuses(folder, network, "is missing")


def test_an_unreadable_journal_is_never_set_aside(folder: NodeFolder, network: Network) -> None:
    run(folder, network)
    folder.journal.unlink()
    folder.journal.mkdir()
    for accept in (False, True):
        with pytest.raises(JournalError, match="cannot be read or written"):
            start(folder, network, accept=accept)
    assert folder.journal.is_dir()


# --- The key file


def test_a_key_that_has_voted_is_not_copied(
    folder: NodeFolder, network: Network, people: People, tmp_path: Path
) -> None:
    other = NodeFolder.create(tmp_path / "other", network_to_toml(network))
    refuse_used_key(other, folder.key_file)
    run(folder, network)
    with pytest.raises(SetupError, match=r"has voted already.*Never run two nodes.*move that whole folder"):
        refuse_used_key(other, folder.key_file)
    write_key_file(other.key_file, people.key("validator"))
    with pytest.raises(SetupError, match="Never run two nodes"):
        refuse_used_key(other, folder.key_file)
    refuse_used_key(folder, folder.key_file)


def test_init_does_not_copy_a_key_that_has_voted(folder: NodeFolder, network: Network, tmp_path: Path) -> None:
    network_file = tmp_path / "network.toml"
    network_file.write_text(network_to_toml(network))
    run(folder, network, VOTE)
    arguments = ["init", "--network", str(network_file), "--key-file", str(folder.key_file), "--data-dir"]
    refused = CliRunner().invoke(app, [*arguments, str(tmp_path / "other")])
    assert refused.exit_code == 1
    assert "Never run two nodes with one key" in refused.stderr
    assert not NodeFolder(tmp_path / "other").key_file.exists()
    assert CliRunner().invoke(app, [*arguments, str(folder.path)]).exit_code == 0
    assert run(folder, network) == ((b"vote",), False, False)


@pytest.mark.parametrize("value", ["0x00", None, 7, "0x" + "00" * 17, "zz" * 16, ["0x" + "00" * 16]])
def test_a_damaged_id_is_no_missing_id(folder: NodeFolder, network: Network, value: object) -> None:
    fields = json.loads(folder.key_file.read_text())
    fields["journal_id"] = value
    folder.key_file.write_text(json.dumps(fields))
    with pytest.raises(SetupError, match="not a validator's key file"):
        read_journal_id(folder.key_file)
    with pytest.raises(SetupError, match="not a validator's key file"):
        start(folder, network)
    assert not folder.journal.exists()


def test_writing_the_id_keeps_everything_else(folder: NodeFolder) -> None:
    fields = json.loads(folder.key_file.read_text())
    fields["note"] = "of a later version"
    folder.key_file.write_text(json.dumps(fields))
    folder.key_file.with_name("validator.key.new").write_text("left by a crash")
    for journal_id in (b"\x01" * 16, b"\x02" * 16):
        write_journal_id(folder.key_file, journal_id)
        assert json.loads(folder.key_file.read_text()) == {**fields, "journal_id": to_hex(journal_id)}
        assert stat.S_IMODE(folder.key_file.stat().st_mode) == 0o600
    assert not folder.key_file.with_name("validator.key.new").exists()


def test_a_link_to_the_key_stays_a_link(folder: NodeFolder, network: Network, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    folder.key_file.rename(secrets / "key")
    folder.key_file.symlink_to(secrets / "key")
    run(folder, network, VOTE)
    assert folder.key_file.is_symlink()
    assert read_journal_id(secrets / "key") is not None


def test_a_key_file_that_cannot_be_replaced_is_a_clear_error(folder: NodeFolder, network: Network) -> None:
    """Root may write anywhere, so a folder stands in the way."""
    blocker = folder.key_file.with_name("validator.key.new")
    blocker.mkdir()
    for _ in range(2):
        with pytest.raises(SetupError, match=r"cannot write the key file.*must be able to replace it"):
            start(folder, network)
    blocker.rmdir()
    assert run(folder, network) == ((), True, False), "the journal of the failed starts is adopted"


def test_killed_between_any_two_calls_a_start_never_forgets_the_loss(
    folder: NodeFolder, network: Network, tmp_path: Path
) -> None:
    """Accepting a loss, killed at each call of the operating system: refused, or lost, never as if all were well."""
    run(folder, network, VOTE)
    folder.journal.write_bytes(b"damaged beyond repair, and long enough to have a header of its own " * 3)
    script = Path(__file__).parent / "start_and_die.py"
    subprocess.run([sys.executable, script, folder.path, tmp_path / "copies"], check=True, timeout=120)
    outcomes = []
    for path in sorted((tmp_path / "copies").iterdir(), key=lambda path: int(path.name)):
        copy = NodeFolder(path)
        is_refused = copy.journal.exists() and not read_or_refused(copy)
        if not copy.journal.exists() or is_refused:
            refuses(copy, network, "vote journal")
            outcomes.append("refused")
            assert run(copy, network, accept=True) == ((), True, True)
        else:
            outcomes.append("lost")
            assert run(copy, network) == ((), True, True)
    assert len(outcomes) > 20
    assert outcomes == sorted(outcomes, reverse=True), "from refusal to loss, and never back"
    assert set(outcomes) == {"refused", "lost"}


def read_or_refused(folder: NodeFolder) -> bool:
    """Whether there is a whole journal."""
    try:
        return read_journal(folder.journal) is not None
    except JournalDamaged:
        return False
