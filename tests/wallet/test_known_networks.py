"""A wallet sticks to the network that it met first, and to the genesis that it met for a chain id."""

from pathlib import Path

import msgspec
import pytest

from wallet.keystore import KeystoreError
from wallet.known_networks import KnownNetwork, KnownNetworks, NetworkMismatchError

FIRST = KnownNetwork(chain_id=7, genesis_hash="0x" + "11" * 32, name="first")
SECOND = KnownNetwork(chain_id=8, genesis_hash="0x" + "22" * 32, name="second")


def test_the_first_network_is_remembered(tmp_path: Path) -> None:
    KnownNetworks(tmp_path).check(FIRST, None)
    KnownNetworks(tmp_path).check(FIRST, None)
    KnownNetworks(tmp_path).check(FIRST, 7)
    with pytest.raises(NetworkMismatchError, match="--chain-id 8"):
        KnownNetworks(tmp_path).check(SECOND, None)


def test_another_network_has_to_be_asked_for(tmp_path: Path) -> None:
    networks = KnownNetworks(tmp_path)
    networks.check(FIRST, None)
    networks.check(SECOND, 8)
    networks.check(SECOND, 8)
    networks.check(FIRST, None)
    with pytest.raises(NetworkMismatchError):
        networks.check(SECOND, None)
    with pytest.raises(NetworkMismatchError, match="asked for"):
        networks.check(FIRST, 8)


def test_a_changed_genesis_is_refused(tmp_path: Path) -> None:
    networks = KnownNetworks(tmp_path)
    networks.check(FIRST, None)
    changed = msgspec.structs.replace(FIRST, genesis_hash="0x" + "33" * 32)
    for expected in (None, 7):
        with pytest.raises(NetworkMismatchError, match="another network under the same number"):
            networks.check(changed, expected)
    networks.check(FIRST, None)


def test_nothing_is_remembered_of_what_was_refused(tmp_path: Path) -> None:
    with pytest.raises(NetworkMismatchError):
        KnownNetworks(tmp_path).check(FIRST, 9)
    assert list(tmp_path.rglob("*")) == []
    KnownNetworks(tmp_path).check(SECOND, None)


def test_a_name_is_only_a_name(tmp_path: Path) -> None:
    networks = KnownNetworks(tmp_path)
    networks.check(FIRST, None)
    assert networks.check(msgspec.structs.replace(FIRST, name="renamed"), None) == FIRST


@pytest.mark.parametrize("file", ["default", "7.json"])
@pytest.mark.parametrize("content", [b"", b"\xff", b"[1", b"{}", b"[[[", b'"x"'])
def test_damaged_files(tmp_path: Path, file: str, content: bytes) -> None:
    networks = KnownNetworks(tmp_path)
    networks.check(FIRST, None)
    (networks.folder / file).write_bytes(content)
    with pytest.raises(KeystoreError, match="damaged"):
        networks.check(FIRST, None)
