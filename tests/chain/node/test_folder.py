"""A node's data folder: keys that others could read, files of other networks, and what each message says."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chain.node.folder import NodeFolder, SetupError, read_key_file, read_network_text, write_key_file
from chain.primitives.keys import PrivateKey
from chain.primitives.network import MAX_NETWORK_FILE_BYTES, network_to_toml
from chain.primitives.rejection import Rejected

if TYPE_CHECKING:
    from tests.chain.conftest import MakeChain, People


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A key file as `new-key` makes it."""
    path = tmp_path / "validator.key"
    write_key_file(path, PrivateKey(b"\x07" * 32))
    return path


def test_key_file_is_its_owners_alone(key_file: Path) -> None:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert read_key_file(key_file).secret == b"\x07" * 32


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601, 0o777])
def test_key_that_others_can_read_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(SetupError, match=f"mode {mode:04o}.*chmod 600"):
        read_key_file(key_file)


def test_key_is_never_overwritten(key_file: Path) -> None:
    with pytest.raises(SetupError, match="never overwritten"):
        write_key_file(key_file, PrivateKey.generate())
    assert read_key_file(key_file).secret == b"\x07" * 32


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": 1', '"version": 2'),
        ("0x07", "0x08"),
        ("0x07", "07"),
        ('"address"', '"adress"'),
        ("{", "["),
        ("07", ""),
    ],
)
def test_damaged_key_file_is_refused_without_showing_it(key_file: Path, old: str, new: str) -> None:
    key_file.write_text(key_file.read_text().replace(old, new))
    with pytest.raises(SetupError) as caught:
        read_key_file(key_file)
    assert "0707" not in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"cannot read the key file .*No such file"):
        read_key_file(tmp_path / "none")
    with pytest.raises(SetupError, match=r"cannot read the network file .*No such file"):
        read_network_text(tmp_path / "none")
    with pytest.raises(SetupError, match=r"cannot read the network file .*directory"):
        read_network_text(tmp_path)
    with pytest.raises(SetupError, match="aitbc node init"):
        NodeFolder.existing(tmp_path)


def test_files_that_are_no_network_files(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SetupError, match="not UTF-8"):
        read_network_text(path)
    path.write_bytes(b"#" * (MAX_NETWORK_FILE_BYTES + 1))
    with pytest.raises(SetupError, match="larger than any network file"):
        read_network_text(path)
    with pytest.raises(Rejected):
        NodeFolder.create(tmp_path / "data", "[network]\n")


def test_folder_serves_one_network(tmp_path: Path, people: People, make_chain: MakeChain) -> None:
    path = tmp_path / "data"
    folder = NodeFolder.create(path, network_to_toml(people.network))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert folder.read_network() == people.network
    assert NodeFolder.create(path, network_to_toml(people.network)) == folder == NodeFolder.existing(path)
    other = make_chain(block_interval_ms=77).people.network
    with pytest.raises(SetupError, match=r"belongs to the network 'people'.*another folder"):
        NodeFolder.create(path, network_to_toml(other))
    assert folder.read_network() == people.network
