"""The file of a key that a remote signer holds: which journal belongs to it, and moving a key out of its folder."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from chain.node.cli import app
from chain.node.clock import now_ms
from chain.node.folder import NodeFolder, SetupError, open_journal, read_journal_id, write_key_file
from chain.node.governance.consent_file import read_consent
from chain.node.remote_key import keep_signer, opened_key, read_signer, used_key_file
from chain.primitives.consent import check_consent
from chain.primitives.keys import PrivateKey, format_public_key
from chain.primitives.network import network_to_toml
from chain.remote_signer import SignerSettings
from tests.wallet.signers.signer_process import SignerProcess

if TYPE_CHECKING:
    from tests.chain.conftest import People

KEY = PrivateKey(b"\x51" * 32)
OTHER = PrivateKey(b"\x52" * 32)
SETTINGS = SignerSettings("https://signer:9000", KEY.public_key, ca=Path("/etc/ca.pem"), timeout_s=0.5)


@pytest.fixture
def folder(tmp_path: Path, people: People) -> NodeFolder:
    """Without a key."""
    return NodeFolder.create(tmp_path / "data", network_to_toml(people.network))


def _journal_id(folder: NodeFolder, people: People) -> bytes:
    """Of the journal that a run opens."""
    path = used_key_file(folder)
    assert path is not None
    journal, is_lost = open_journal(folder, people.network, accept_lost_history=False, chain_height=0, key_file=path)
    assert not is_lost
    journal.close()
    assert read_journal_id(path) == journal.journal_id
    return journal.journal_id


def test_what_was_kept_is_read_again(folder: NodeFolder) -> None:
    keep_signer(folder, SETTINGS)
    assert read_signer(folder.remote_key_file) == SETTINGS
    assert used_key_file(folder) == folder.remote_key_file
    assert stat.S_IMODE(folder.remote_key_file.stat().st_mode) == 0o600
    uncompressed = SignerSettings("http://127.0.0.1:9000", format_public_key(KEY.public_key, compressed=False))
    keep_signer(folder, uncompressed)
    assert read_signer(folder.remote_key_file) == SignerSettings("http://127.0.0.1:9000", KEY.public_key)


def test_the_journal_stays_with_the_key(folder: NodeFolder, people: People) -> None:
    keep_signer(folder, SETTINGS)
    first = _journal_id(folder, people)
    keep_signer(folder, SignerSettings("http://elsewhere:9000", KEY.public_key))
    assert _journal_id(folder, people) == first
    assert read_signer(folder.remote_key_file).url == "http://elsewhere:9000"
    folder.journal.unlink()
    with pytest.raises(SetupError, match="journal"):
        _journal_id(folder, people)


def test_a_key_moves_into_a_signer_with_its_journal(folder: NodeFolder, people: People) -> None:
    write_key_file(folder.key_file, KEY)
    first = _journal_id(folder, people)
    keep_signer(folder, SETTINGS)
    assert not folder.key_file.exists()
    aside = list(folder.path.glob("validator.key.0x*"))
    assert len(aside) == 1
    assert _journal_id(folder, people) == first


def test_a_crash_while_moving_is_made_good(folder: NodeFolder, people: People) -> None:
    write_key_file(folder.key_file, KEY)
    first = _journal_id(folder, people)
    kept = folder.key_file.read_bytes()
    keep_signer(folder, SETTINGS)
    folder.key_file.write_bytes(kept)  # As if the process had died before the file was set aside.
    folder.key_file.chmod(0o600)
    with pytest.raises(SetupError, match="a key of its own and one in a remote signer"):
        used_key_file(folder)
    keep_signer(folder, SETTINGS)
    assert _journal_id(folder, people) == first


def test_a_folder_has_one_key(folder: NodeFolder) -> None:
    write_key_file(folder.key_file, OTHER)
    with pytest.raises(SetupError, match=r"is that of 0x.*move .* away"):
        keep_signer(folder, SETTINGS)
    folder.key_file.unlink()
    keep_signer(folder, SETTINGS)
    with pytest.raises(SetupError, match="is that of 0x"):
        keep_signer(folder, SignerSettings(SETTINGS.url, OTHER.public_key))
    assert read_signer(folder.remote_key_file) == SETTINGS


def test_another_key_after_a_rotation_sets_the_journal_aside(folder: NodeFolder, people: People) -> None:
    keep_signer(folder, SETTINGS)
    first = _journal_id(folder, people)
    folder.remote_key_file.unlink()
    keep_signer(folder, SignerSettings(SETTINGS.url, OTHER.public_key))
    assert _journal_id(folder, people) != first
    assert list(folder.path.glob("votes.journal.set-aside-*"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": 1', '"version": 2'),
        ('"url"', '"link"'),
        ('"signer": {', '"signer": [{'),
        ("0.5", '"soon"'),
        ('"public_key": "0x0', '"public_key": "0x1'),
        ('"address": "0x', '"address": "0x0'),
        ('"timeout_s"', '"more": 1, "timeout_s"'),
    ],
)
def test_a_damaged_file_is_refused(folder: NodeFolder, old: str, new: str) -> None:
    keep_signer(folder, SETTINGS)
    text = folder.remote_key_file.read_text()
    assert old in text
    folder.remote_key_file.write_text(text.replace(old, new))
    with pytest.raises(SetupError):
        read_signer(folder.remote_key_file)


def test_a_consent_is_signed_by_the_signer(folder: NodeFolder, people: People, tmp_path: Path) -> None:
    chain_id = people.network.chain_id
    (tmp_path / "signer").mkdir()
    signer = SignerProcess(tmp_path / "signer", KEY, "--for", "governance", "--chain-id", str(chain_id))
    signer.start()
    try:
        keep_signer(folder, SignerSettings(signer.url, KEY.public_key, timeout_s=10))
        arguments = ["keys", "consent", "--data-dir", str(folder.path), "--offline"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.stderr
        (tmp_path / "consent.json").write_text(done.stdout)
        consent = read_consent(tmp_path / "consent.json", chain_id=chain_id, now_ms=now_ms())
        assert check_consent(consent, chain_id=chain_id, time_ms=now_ms()) == KEY.address
    finally:
        signer.stop()
    away = CliRunner().invoke(app, arguments)
    assert away.exit_code == 1
    assert away.stdout == ""
    assert "no answer from the signer" in away.stderr


@pytest.mark.parametrize("command", ["rotate", "switch"])
def test_a_key_in_a_signer_is_not_replaced_by_one_in_a_file(folder: NodeFolder, command: str) -> None:
    """The folder would have two keys, and its node would start with neither."""
    keep_signer(folder, SETTINGS)
    before = sorted(folder.path.iterdir())
    done = CliRunner().invoke(app, ["keys", command, "--data-dir", str(folder.path)])
    assert done.exit_code == 1
    assert "a remote signer holds this folder's key" in done.stderr
    assert sorted(folder.path.iterdir()) == before


def test_a_key_in_a_file_is_got_at_as_ever(folder: NodeFolder, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot read the key file"), opened_key(folder, None):
        pass
    write_key_file(folder.key_file, KEY)
    with opened_key(folder, None) as key:
        assert key.address == KEY.address
    write_key_file(tmp_path / "other", OTHER)
    with opened_key(folder, tmp_path / "other") as key:
        assert key.address == OTHER.address
    with pytest.raises(SetupError, match="names no signer"):
        read_signer(folder.key_file)
