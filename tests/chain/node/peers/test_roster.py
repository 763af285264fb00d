"""Which of two connections of one identity stays: both ends must judge alike."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from chain.node.peers.bans import Bans
from chain.node.peers.connection import Connection
from chain.node.peers.handshake import Session
from chain.node.peers.roster import Roster
from chain.node.peers.settings import PeerCounts, PeerSettings
from chain.node.peers.sockets import CloseCode
from tests.chain.node.peers.stations import key_of

if TYPE_CHECKING:
    from chain.consensus.messages import Message
    from chain.primitives.types import Address

SMALLER, LARGER = sorted((key_of("a").address, key_of("b").address))


class Silence:
    """A socket, and an owner, to which nothing happens."""

    host = "192.0.2.1"
    remote = "192.0.2.1:1"

    async def receive(self) -> bytes:
        """Never."""
        await asyncio.Event().wait()
        return b""

    async def send(self, frame: bytes) -> None:
        """Nowhere."""

    async def close(self, code: int, reason: str) -> None:
        """Nothing."""

    async def take_message(self, connection: Connection, message: Message) -> None:
        """Nobody."""

    async def take_transactions(self, connection: Connection, raws: tuple[bytes, ...]) -> bool:
        """Nobody."""
        return False

    def take_urls(self, connection: Connection, urls: tuple[str, ...]) -> None:
        """Nobody."""


def connection_to(identity: Address, *, is_inbound: bool, instance: bytes = b"") -> Connection:
    """One that has shaken hands."""
    session = Session(identity, instance, "", is_probe=False, sending_key=b"", receiving_key=b"")
    settings = PeerSettings()
    return Connection(Silence(), session, Silence(), settings=settings, is_inbound=is_inbound, max_block_bytes=1)


def roster_of(identity: Address, **settings: int) -> Roster:
    """Of a node with two validators in its set."""
    options = PeerSettings(**settings)  # type: ignore[arg-type]
    roster = Roster(options, Bans(1, 1), PeerCounts(), own_identity=identity, own_instance=b"own")
    roster.validators = frozenset((SMALLER, LARGER))
    return roster


@pytest.mark.parametrize("sees_inbound_first", [True, False])
async def test_of_two_dials_at_once_the_smaller_identity_s_stays_at_both_ends(sees_inbound_first: bool) -> None:
    for own, other in ((SMALLER, LARGER), (LARGER, SMALLER)):
        roster = roster_of(own)
        for is_inbound in (sees_inbound_first, not sees_inbound_first):
            roster.admit(connection_to(other, is_inbound=is_inbound))
        (kept,) = roster
        assert kept.is_inbound == (other < own)


async def test_who_dials_again_has_lost_the_former() -> None:
    roster = roster_of(SMALLER)
    first, second = (connection_to(LARGER, is_inbound=True) for _ in range(2))
    roster.admit(first)
    assert roster.admit(second).replaced is first
    assert not roster.remove(first)
    assert roster.remove(second)
    assert len(roster) == 0


async def test_a_restarted_peer_takes_the_place_of_its_former_self() -> None:
    roster = roster_of(LARGER)
    before = connection_to(SMALLER, is_inbound=True, instance=b"1")
    after = connection_to(SMALLER, is_inbound=False, instance=b"2")
    roster.admit(before)
    assert roster.admit(after).replaced is before
    refusal = roster.admit(connection_to(SMALLER, is_inbound=True, instance=b"1")).refusal
    assert refusal is not None
    assert refusal.code == CloseCode.DUPLICATE


async def test_others_share_what_room_there_is() -> None:
    roster = roster_of(SMALLER, max_others=3, max_others_per_address=2)
    codes = []
    for number in range(4):
        refusal = roster.admit(connection_to(key_of(str(number)).address, is_inbound=True)).refusal
        codes.append(refusal.code if refusal else None)
    assert codes == [None, None, CloseCode.FULL, CloseCode.FULL]
    assert roster.admit(connection_to(key_of("dialled").address, is_inbound=False)).refusal is None
    assert roster.admit(connection_to(LARGER, is_inbound=True)).refusal is None


async def test_oneself_and_one_s_double() -> None:
    roster = roster_of(SMALLER)
    assert roster.admit(connection_to(SMALLER, is_inbound=True, instance=b"own")).refusal is not None
    assert not roster.has_twin
    assert roster.admit(connection_to(SMALLER, is_inbound=True, instance=b"other")).refusal is not None
    assert roster.has_twin
