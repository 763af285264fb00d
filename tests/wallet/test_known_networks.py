"""A wallet sticks to the network that it met first, and to the genesis that it met for a chain id."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wallet.keystore import KeystoreError
from wallet.known_networks import KnownNetwork, KnownNetworks, NetworkMismatchError, UnknownNetworkError

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


def test_the_default_can_be_changed_and_forgotten(tmp_path: Path) -> None:
    networks = KnownNetworks(tmp_path)
    assert (networks.each(), networks.default_chain_id(), networks.get(7)) == ([], None, None)
    networks.add(SECOND)
    networks.add(FIRST)
    assert networks.each() == [FIRST, SECOND]
    assert networks.default_chain_id() == 8
    networks.use(FIRST)
    networks.check(FIRST, None)
    with pytest.raises(NetworkMismatchError):
        networks.check(SECOND, None)
    networks.remove(FIRST)
    assert (networks.each(), networks.default_chain_id()) == ([SECOND], None)
    networks.check(SECOND, None)
    assert networks.default_chain_id() == 8


def test_a_node_url_may_change_and_a_genesis_never(tmp_path: Path) -> None:
    networks = KnownNetworks(tmp_path)
    networks.add(FIRST)
    for url in ("http://a", "http://b"):
        networks.add(msgspec.structs.replace(FIRST, node_url=url, name="renamed"))
        assert networks.get(7) == msgspec.structs.replace(FIRST, node_url=url)
    networks.add(FIRST)
    networks.check(FIRST, None)
    assert networks.each()[0].node_url == "http://b"
    with pytest.raises(NetworkMismatchError):
        networks.add(msgspec.structs.replace(FIRST, genesis_hash=SECOND.genesis_hash, node_url="http://c"))
    assert networks.each()[0].node_url == "http://b"


def test_names_and_numbers(tmp_path: Path) -> None:
    networks = KnownNetworks(tmp_path)
    networks.add(FIRST)
    networks.add(msgspec.structs.replace(SECOND, name="7"))
    assert networks.find("7") == FIRST
    assert networks.find("8").name == "7"
    networks.add(msgspec.structs.replace(SECOND, name="first", chain_id=9))
    with pytest.raises(UnknownNetworkError, match="7, 9"):
        networks.find("first")
    with pytest.raises(UnknownNetworkError, match="knows no network"):
        networks.find("fir")


@pytest.mark.parametrize(
    "changes",
    [{"name": "x" * 257}, {"node_url": "http://" + "x" * 2048}, {"chain_id": 2**32}, {"genesis_hash": "0x12"}],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    networks = KnownNetworks(tmp_path)
    for remember in (networks.add, lambda met: networks.check(met, None)):
        with pytest.raises(KeystoreError, match="cannot be remembered"):
            remember(msgspec.structs.replace(FIRST, **changes))
    assert list(tmp_path.rglob("*.json")) == []


def test_the_longest_of_everything_is_read_again(tmp_path: Path) -> None:
    networks = KnownNetworks(tmp_path)
    longest = msgspec.structs.replace(FIRST, name="\x01" * 256, node_url="\x01" * 2048)
    assert networks.add(longest) == longest
    assert networks.each() == [longest]


def test_two_processes_that_meet_a_network_at_once(tmp_path: Path) -> None:
    names = [f"name-{number}" for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        met = [msgspec.structs.replace(FIRST, name=name) for name in names]
        known = list(pool.map(lambda each: KnownNetworks(tmp_path).check(each, None), met))
    assert {each.name for each in known} == {KnownNetworks(tmp_path).each()[0].name}
