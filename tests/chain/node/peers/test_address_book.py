"""Which URLs a node takes, keeps, dials and passes on; with a clock of the test's."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.node.peers.address_book import AddressBook
from chain.node.peers.peers_file import read_peers, write_peers
from chain.node.peers.settings import PeerSettings
from chain.node.peers.urls import Reach, is_sane_url, normalized, reach_of, resolve
from tests.chain.node.peers.stations import key_of

A, B = key_of("a").address, key_of("b").address


def book_of(*, listen_url: str = "") -> AddressBook:
    """An empty book of validator a."""
    return AddressBook(PeerSettings(listen_url=listen_url), own_address=A, is_validator=True)


@pytest.mark.parametrize(
    "url",
    [
        "ws://node.example/p2p",
        "wss://node.example:8545/p2p",
        "ws://192.0.2.1:8545/p2p",
        "ws://[2001:db8::1]:8545/p2p",
        "wss://node.example/aitbc/p2p",
        "ws://localhost:1/p2p",
    ],
)
def test_plain_urls_are_taken(url: str) -> None:
    assert is_sane_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://node.example/p2p",
        "ws://node.example",
        "ws://node.example/admin",
        "ws://node.example:0/p2p",
        "ws://node.example:65536/p2p",
        "ws://user:password@node.example/p2p",
        "ws://node.example/p2p?x=1",
        "ws://node.example/p2p#x",
        "ws://node.example/../p2p/../x",
        "ws://node example/p2p",
        "ws://nöde.example/p2p",
        "ws://node.example/p2p\n",
        "ws://127.1/p2p",
        "ws://0x7f.0.0.0x1/p2p",
        "ws://2130706433/p2p",
        "ws://[::g]/p2p",
        "ws://[1:2]/p2p",
        "ws://" + "a" * 300 + "/p2p",
        "ws:///p2p",
    ],
)
def test_other_urls_are_not(url: str) -> None:
    assert not is_sane_url(url)


def test_reach() -> None:
    hosts = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost", "0.0.0.0"]
    assert {reach_of(host) for host in hosts} == {Reach.LOOPBACK}
    private = ["10.1.2.3", "192.168.0.1", "169.254.169.254", "fd00::1", "fe80::1", "100.64.0.1", "224.0.0.1"]
    assert {reach_of(host) for host in private} == {Reach.PRIVATE}
    assert {reach_of(host) for host in ("1.1.1.1", "2606:4700::1", "node.example")} == {Reach.GLOBAL}


async def test_names_that_lead_deeper_than_they_may_are_not_dialled() -> None:
    assert await resolve("ws://localhost:1/p2p", Reach.GLOBAL) is None
    assert await resolve("ws://localhost:1/p2p", Reach.LOOPBACK) in ("127.0.0.1", "::1")
    assert await resolve("ws://10.0.0.1/p2p", Reach.GLOBAL) is None
    assert await resolve("ws://1.1.1.1/p2p", Reach.GLOBAL) == "1.1.1.1"
    assert await resolve("ws://no-such-name.invalid/p2p", Reach.LOOPBACK) is None


def test_what_an_operator_writes_may_lack_the_path() -> None:
    assert normalized("ws://node.example:1") == "ws://node.example:1/p2p"
    assert normalized("ws://node.example:1/") == "ws://node.example:1/p2p"
    assert normalized("wss://node.example/x/p2p") == "wss://node.example/x/p2p"
    assert [normalized(url) for url in ("", "node.example:1", "http://x/p2p", "ws://[1:2]/p2p", "ws:///p2p")] == [
        ""
    ] * 5


def test_a_peer_tells_nothing_more_private_than_itself() -> None:
    book = book_of()
    assert not book.tell("ws://127.0.0.1:1/p2p", teller_host="1.1.1.1", teller="1.1.1.1")
    assert not book.tell("ws://10.0.0.1:1/p2p", teller_host="1.1.1.1", teller="1.1.1.1")
    assert book.tell("ws://10.0.0.1:1/p2p", teller_host="10.0.0.2", teller="10.0.0.2")
    assert not book.tell("ws://10.0.0.1:1/p2p", teller_host="10.0.0.2", teller="10.0.0.2")
    assert book.tell("ws://node.example/p2p", teller_host="1.1.1.1", teller="1.1.1.1")


def test_what_was_told_is_bounded_and_not_passed_on_before_it_has_worked() -> None:
    book = book_of()
    for number in range(1000):
        book.tell(f"ws://h{number}.example/p2p", teller_host="1.1.1.1", teller="1.1.1.1")
    assert len(book) == 16
    for number in range(1000):
        book.tell(f"ws://i{number}.example/p2p", teller_host="1.1.1.1", teller=str(number))
    assert len(book) == 64
    assert book.urls_for("1.1.1.1") == []
    assert book.due(0, connected=(), validators=(), wanted=100) == []
    probe = book.probe_due(0, ())
    assert probe is not None
    book.answered(probe, B)
    assert book.has_changed
    assert book.urls_for("1.1.1.1") == [probe.url]
    assert book.due(0, connected=(), validators=(), wanted=1) == [probe]
    assert book.due(0, connected=(), validators=(), wanted=0) == []
    assert book.due(0, connected=(), validators=(B,), wanted=0) == [probe]
    assert book.due(0, connected=(B,), validators=(B,), wanted=1) == []


def test_what_has_worked_is_bounded() -> None:
    book = book_of()
    book.pin("ws://pinned.example/p2p")
    for number in range(400):
        assert book.tell(f"ws://h{number}.example/p2p", teller_host="1.1.1.1", teller="1.1.1.1")
        probe = book.probe_due(0, ())
        assert probe is not None
        book.answered(probe, B)
    assert len(book) == 1 + 256
    assert len(book.verified_urls()) == 256


def test_private_urls_stay_within() -> None:
    book = book_of()
    book.remember(["ws://10.0.0.1/p2p", "ws://127.0.0.1:1/p2p", "ws://node.example/p2p", "http://x", "ws://u:p@h/p2p"])
    assert book.urls_for("1.1.1.1") == ["ws://node.example/p2p"]
    assert sorted(book.urls_for("10.0.0.9")) == ["ws://10.0.0.1/p2p", "ws://node.example/p2p"]
    assert len(book.urls_for("127.0.0.1")) == 3


def test_attempts_become_rarer_and_strangers_are_forgotten() -> None:
    book = book_of()
    book.pin("ws://b.example", B)
    (entry,) = book.due(0, connected=(), validators=(B,), wanted=0)
    pauses = []
    for _ in range(40):
        entry.is_busy = True
        assert book.due(1e9, connected=(), validators=(B,), wanted=9) == []
        book.ended(entry, 0, has_worked=False, validators=(B,))
        pauses.append(entry.next_attempt_s)
    assert 0.5 <= pauses[0] <= 1.0
    assert all(2.5 <= pause <= 5.0 for pause in pauses[5:])
    book.ended(entry, 0, has_worked=False, validators=())
    assert 30 <= entry.next_attempt_s <= 60
    assert len(book) == 1

    book.tell("ws://c.example/p2p", teller_host="1.1.1.1", teller="t")
    for attempt in range(3):
        stranger = book.probe_due(1e6 * (attempt + 1), ())
        assert stranger is not None
        book.ended(stranger, 0, has_worked=False, validators=())
    assert len(book) == 1


def test_oneself_is_not_dialled() -> None:
    book = book_of(listen_url="ws://me.example/p2p")
    book.pin("ws://me.example")
    book.pin("ws://elsewhere.example", A)
    book.pin("")
    book.pin("ws://[1:2]/p2p")
    book.pin("http://node.example")
    assert book.due(0, connected=(), validators=(A,), wanted=9) == []


def test_peers_file(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    assert read_peers(path) == []
    write_peers(path, ["ws://a/p2p", "ws://b/p2p"])
    assert read_peers(path) == ["ws://a/p2p", "ws://b/p2p"]
    assert [each.name for each in tmp_path.iterdir()] == ["peers.json"]
    for damaged in (b"", b"[1]", b"{", b"\xff", b'{"version": 2, "urls": []}', b"[" * 100_000, b" " * 300_000):
        path.write_bytes(damaged)
        assert read_peers(path) == []
    path.write_text('{"version": 1, "urls": ["ws://a/p2p", 7, null]}')
    assert read_peers(path) == ["ws://a/p2p"]
    write_peers(tmp_path / "missing" / "peers.json", ["ws://a/p2p"])
