"""Peers that mean well: connecting, speaking, asking, transactions, restarts. Real sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from chain.consensus.messages import BlockMessage, GetBlock, GetCertificates, Proposal, Status, encode_message
from chain.node.peers.frames import Chunk, Lane
from chain.node.peers.messages import Transactions
from chain.node.peers.settings import OTHERS_TOGETHER_QUOTA, Rate
from chain.node.peers.sockets import SocketClosed
from chain.primitives.block import Block, Header
from chain.primitives.certificate import Vote, VoteKind
from chain.primitives.keys import PrivateKey
from chain.primitives.types import ZERO_ADDRESS, ZERO_HASH, BlockHeight
from tests.chain.node.peers.stations import key_of, network_of, until

if TYPE_CHECKING:
    from tests.chain.node.peers.stations import Enter, MakeStation


def block_of(size: int) -> Block:
    """A block with a body of this many bytes; nobody here looks at what it says."""
    header = Header(1, 1, 0, BlockHeight(1), ZERO_HASH, 1, ZERO_ADDRESS, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH)
    return Block(header, tuple(bytes(1000) for _ in range(size // 1000)))


def proposal_of(size: int) -> Proposal:
    """A proposal with such a block."""
    vote = Vote(kind=VoteKind.NOTARIZE, epoch=0, view=1, signer=0, signature=bytes(65))
    return Proposal(block_of(size), vote, None, ())


async def test_validators_find_each_other_through_the_network_file(make_station: MakeStation) -> None:
    first = await make_station(network_of("a", "b", "c"), "a")
    urls = {"a": first.url}
    second = await make_station(network_of("a", "b", "c", urls=urls), "b")
    urls["b"] = second.url
    third = await make_station(network_of("a", "b", "c", urls=urls), "c")
    stations = [first, second, third]
    await until(lambda: all(len(station.names()) == 2 for station in stations), "a full mesh")
    assert first.peers.connected_validators == {key_of("b").address, key_of("c").address}
    views = {view.peer: view for view in first.peers.peers()}
    assert views[second.name].is_validator
    assert views[second.name].is_inbound
    assert views[second.name].url == second.url


async def test_simultaneous_dials_leave_one_connection(make_station: MakeStation) -> None:
    first = await make_station(network_of("a", "b"), "a")
    second = await make_station(network_of("a", "b", urls={"a": first.url}), "b", bootstrap=(first.url,))
    first.peers._book.pin(second.url, second.peers.identity)
    first.peers._book.pin(second.url.replace("127.0.0.1", "localhost"))
    await until(lambda: first.names() and second.names())
    for _ in range(20):
        await asyncio.sleep(0.05)
        assert len(first.names()) <= 1
    await until(lambda: first.names() == {second.name} and second.names() == {first.name})
    sent = Status(1, 2, 3)
    first.peers.send(sent)
    await until(lambda: second.messages == [(first.name, sent)])


async def test_messages_reach_one_or_all(make_station: MakeStation) -> None:
    first = await make_station(network_of("a", "b"), "a")
    second = await make_station(network_of("a", "b"), "b", bootstrap=(first.url,))
    follower = await make_station(network_of("a", "b"), None, bootstrap=(first.url,))
    await until(lambda: len(first.names()) == 2)
    first.peers.send(Status(1, 2, 3))
    first.peers.send(GetCertificates(1, 5), second.name)
    await until(lambda: len(second.messages) == 2 and len(follower.messages) == 1)
    assert second.messages == [(first.name, Status(1, 2, 3)), (first.name, GetCertificates(1, 5))]
    await until(lambda: first.peers.peers()[0].rtt_ms is not None)
    view = {view.peer: view for view in second.peers.peers()}[first.name]
    assert (view.epoch, view.view, view.height) == (1, 2, 3)
    assert view.bytes_received > 0
    first.peers.send(Status(1, 2, 4), "0xnobody")


async def test_asks_the_named_one_else_validators_by_turns(make_station: MakeStation) -> None:
    network = network_of("a", "b", "c")
    asking = await make_station(network, None)
    assert asking.peers.ask(GetBlock(ZERO_HASH)) is None
    first = await make_station(network, "a", bootstrap=(asking.url,))
    second = await make_station(network, "b", bootstrap=(asking.url,))
    other = await make_station(network, None, bootstrap=(asking.url,))
    await until(lambda: len(asking.names()) == 3)
    asked = [asking.peers.ask(GetBlock(ZERO_HASH)) for _ in range(4)]
    assert set(asked) == {first.name, second.name}
    assert asked[0] == asked[2]
    assert asking.peers.ask(GetBlock(ZERO_HASH), other.name) == other.name
    assert asking.peers.ask(GetBlock(ZERO_HASH), "0xgone") in (first.name, second.name)


async def test_large_proposals_come_from_validators_and_large_blocks_when_asked_for(make_station: MakeStation) -> None:
    network = network_of("a", "b")
    first = await make_station(network, "a")
    second = await make_station(network, "b", bootstrap=(first.url,))
    follower = await make_station(network, None, bootstrap=(first.url,))
    await until(lambda: len(first.names()) == 2)
    large = proposal_of(3_000_000)
    second.peers.send(large)
    await until(lambda: first.messages == [(second.name, large)])

    follower.peers.send(large)
    follower.peers.send(BlockMessage(large.block))
    follower.peers.send(Status(0, 0, 1))
    await until(lambda: len(first.messages) == 2)
    assert first.messages[1] == (follower.name, Status(0, 0, 1))

    first.peers.ask(GetBlock(ZERO_HASH), follower.name)
    await until(lambda: follower.messages)
    follower.peers.send(BlockMessage(large.block))
    await until(lambda: len(first.messages) == 3)
    assert first.messages[2] == (follower.name, BlockMessage(large.block))


async def test_a_vote_overtakes_a_large_block(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a", max_others=4)
    reader = await enter(station, key_of("b"))
    await until(station.names)
    station.peers.send(proposal_of(4_000_000))
    await asyncio.sleep(0)
    station.peers.send(Status(9, 9, 9))
    lanes: list[tuple[Lane, int]] = []
    while (Lane.VOTES, 0) not in lanes:
        lanes += [(chunk.lane, chunk.remaining) for chunk in await reader.receive()]
    assert all(lane is not Lane.BLOCKS or remaining > 2_000_000 for lane, remaining in lanes)


async def test_who_is_behind_does_not_blame_others_for_larger_blocks(make_station: MakeStation) -> None:
    """Governance has allowed them since; the state of the node that catches up does not say so yet."""
    behind = await make_station(network_of("a", "b"), "a")
    ahead = await make_station(network_of("a", "b", urls={"a": behind.url}), "b")
    await until(behind.names)
    behind.peers.set_max_block_bytes(64 * 1024)
    large = proposal_of(3_000_000)
    ahead.peers.send(large)
    await until(lambda: behind.messages == [(ahead.name, large)])
    assert behind.disconnected == []


async def test_transactions_take_the_shortest_way(make_station: MakeStation) -> None:
    network = network_of("a", "b", "c")
    first = await make_station(network, "a")
    second = await make_station(network, "b", bootstrap=(first.url,))
    third = await make_station(network, "c", bootstrap=(first.url, second.url))
    outlier = await make_station(network, None, bootstrap=(second.url,), target_peers=0)
    stations = [first, second, third]

    async def relay(peer: str, raws: tuple[bytes, ...]) -> None:
        second.peers.share(raws, peer)

    second.on_raws = relay
    await until(lambda: len(first.names()) == 2 and len(second.names()) == 3 and len(third.names()) == 2)
    connections = [connection for station in stations for connection in station.peers._roster]
    await until(lambda: all(len(connection.neighbours) >= 1 for connection in connections), "neighbours told")
    await until(lambda: len(second.peers._roster.get(third.name).neighbours) == 2)  # type: ignore[union-attr]
    first.peers.share([b"one", b"two"])
    await until(lambda: len(outlier.raws) == 2)
    await asyncio.sleep(0.1)
    assert second.raws == third.raws == [(first.name, b"one"), (first.name, b"two")]
    assert outlier.raws == [(second.name, b"one"), (second.name, b"two")]
    assert first.raws == []


async def test_a_restart_is_seen_at_once_and_finds_its_peers_by_the_file(
    make_station: MakeStation, tmp_path: Path
) -> None:
    network = network_of("a", "b")
    first = await make_station(network, "a")
    peers_file = tmp_path / "peers.json"
    second = await make_station(network, "b", bootstrap=(first.url,), peers_file=peers_file)
    await until(lambda: first.names() and second.names())
    await second.stop()
    await until(lambda: not first.names())
    assert first.disconnected == [(second.name, "this node stops")]
    assert json.loads(peers_file.read_text())["urls"] == [first.url]
    third = await make_station(network, "b", peers_file=peers_file)
    await until(lambda: first.names() == {third.name} and third.names() == {first.name})


async def test_urls_travel_and_are_tried_before_they_are_passed_on(make_station: MakeStation) -> None:
    network = network_of("a", "b", "c")
    quick = {"exchange_interval_s": 0.1, "probe_interval_s": 0.1, "retry_first_s": 0.1}
    hub = await make_station(network, "a", **quick)
    second = await make_station(network, "b", bootstrap=(hub.url,), **quick)
    third = await make_station(network, "c", bootstrap=(hub.url,), **quick)
    await until(lambda: third.name in second.names() and second.name in third.names(), "exchange")
    assert hub.url not in hub.peers._book.verified_urls()


async def test_a_node_does_not_stay_connected_to_itself(make_station: MakeStation) -> None:
    station = await make_station(network_of("a"), "a")
    station.peers._book.pin(station.url.replace("127.0.0.1", "localhost"))
    entry = next(iter(station.peers._book._entries.values()))
    await until(lambda: entry.is_own)
    assert station.connected == []


async def test_a_second_process_with_the_own_key_is_noticed(make_station: MakeStation) -> None:
    network = network_of("a", "b")
    first = await make_station(network, "a")
    twin = await make_station(network, "a", bootstrap=(first.url,))
    await until(lambda: first.peers.other_process_with_key and twin.peers.other_process_with_key)
    assert first.connected == twin.connected == []


async def test_two_processes_with_one_key_do_not_throw_each_other_out(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a")
    older = await enter(station, key_of("b"), instance=bytes(15) + b"1")
    await until(lambda: len(station.connected) == 1)
    await enter(station, key_of("b"), instance=bytes(15) + b"2")
    await until(lambda: len(station.connected) == 2)
    assert (await older.closed()).code == 4002
    again = await enter(station, key_of("b"), instance=bytes(15) + b"1")
    assert "two processes" in str(await again.closed())
    assert len(station.connected) == 2
    assert station.peers.counts.view()["peer_twin"] == 1


async def test_validators_get_in_where_others_find_no_room(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a", max_others=2)
    for _ in range(2):
        await enter(station)
    await until(lambda: len(station.names()) == 2)
    assert (await (await enter(station)).closed()).code == 4004
    validator = await enter(station, key_of("b"))
    await until(lambda: validator.name in station.names())
    newcomer = PrivateKey.generate()
    station.peers.set_validators([newcomer.address])
    assert not any(view.is_validator for view in station.peers.peers())
    await enter(station, newcomer)
    await until(lambda: len(station.peers.connected_validators) == 1)


async def test_a_stopped_peer_is_missed(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a", heartbeat_s=0.05, dead_after_s=0.4)
    silent = await enter(station, key_of("b"))
    await until(lambda: station.disconnected)
    assert station.disconnected[0][0] == silent.name
    assert "silent" in station.disconnected[0][1]


async def test_a_peer_that_does_not_read_is_left(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a", heartbeat_s=0.05, slow_after_s=0.4)
    deaf = await enter(station, key_of("b"))
    await until(station.names)
    deaf.socket._connection.transport.pause_reading()

    async def chatter() -> None:
        while True:
            await deaf.send(Lane.CONTROL, [35, 1])
            await asyncio.sleep(0.02)

    chatting = asyncio.create_task(chatter())
    try:
        for _ in range(100):
            station.peers.send(proposal_of(1_000_000))
            await asyncio.sleep(0)
        await until(lambda: station.disconnected)
    finally:
        chatting.cancel()
    assert station.disconnected[0][1] == "does not take what is sent"


async def test_what_is_queued_for_a_slow_peer_is_bounded(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a")
    deaf = await enter(station, key_of("b"))
    await until(station.names)
    deaf.socket._connection.transport.pause_reading()
    station.peers.set_max_block_bytes(1_000_000)
    for number in range(200):
        station.peers.share([number.to_bytes(2, "big") * 10_000] * 5)
        station.peers.send(proposal_of(900_000))
        await asyncio.sleep(0)
    assert station.peers.queued_bytes(deaf.name) < 8 * 1024 * 1024


async def test_a_blamed_peer_is_kept_away_for_a_while(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a", ban_first_s=0.3)
    guest = await enter(station, key_of("b"))
    await until(station.names)
    station.peers.blame(guest.name, "a lie")
    assert str(await guest.closed()) == "a lie"
    assert (await (await enter(station, key_of("b"))).closed()).code == 4005
    await asyncio.sleep(0.4)
    await enter(station, key_of("b"))
    await until(station.names)


async def test_another_network_is_told_why(make_station: MakeStation) -> None:
    station = await make_station(network_of("a", "b"), "a")
    stranger = await make_station(network_of("a", "b", name="elsewhere"), "b", bootstrap=(station.url,))
    await until(lambda: stranger.peers.counts.view().get("dial_refused"))
    await until(lambda: station.peers.counts.view().get("wrong_network"))
    assert station.connected == stranger.connected == []


async def test_transactions_of_all_peers_get_their_turn(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a")
    order: list[str] = []
    gate = asyncio.Event()

    async def slowly(peer: str, raws: tuple[bytes, ...]) -> None:
        await gate.wait()
        order.append(peer)

    station.on_raws = slowly
    greedy, modest = await enter(station), await enter(station)
    for number in range(20):
        await greedy.send(Lane.TRANSACTIONS, Transactions((b"%d" % number,)))
    await modest.send(Lane.TRANSACTIONS, Transactions((b"only one",)))
    await until(lambda: len(station.peers._intake._waiting) == 2)
    gate.set()
    await until(lambda: len(order) == 21)
    assert modest.name in order[:3]


async def test_a_fault_with_one_batch_does_not_stop_the_others(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a")
    peer = await enter(station)

    async def fail(_peer: str, raws: tuple[bytes, ...]) -> None:
        if raws == (b"1",):
            raise ValueError("a fault of the node's")

    station.on_raws = fail
    await peer.send(Lane.TRANSACTIONS, Transactions((b"1",)))
    await peer.send(Lane.TRANSACTIONS, Transactions((b"2",)))
    await until(lambda: len(station.raws) == 2)
    assert station.names() == {peer.name}
    assert station.peers.counts.view()["transactions_failed"] == 1


async def test_a_fault_with_one_message_ends_that_connection_only(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a")
    peer, other = await enter(station), await enter(station)

    async def fail(_peer: str, message: object) -> None:
        if message == Status(1, 1, 1):
            raise ValueError("a fault of the node's")

    station.on_message_hook = fail
    await peer.send(Lane.VOTES, Status(1, 1, 1))
    await peer.closed()
    await other.send(Lane.VOTES, Status(2, 2, 2))
    await until(lambda: station.messages[-1:] == [(other.name, Status(2, 2, 2))])
    assert station.names() == {other.name}


async def test_a_node_that_cannot_dial_any_more_is_told(make_station: MakeStation) -> None:
    station = await make_station(network_of("a", "b"), "a")
    entries = station.peers._book._entries
    entries["not an entry"] = None  # type: ignore[assignment]
    await until(lambda: station.errors)
    assert isinstance(station.errors[0], AttributeError)
    del entries["not an entry"]


async def test_a_new_set_of_validators_gives_nobody_a_new_quota(make_station: MakeStation, enter: Enter) -> None:
    station = await make_station(network_of("a", "b"), "a", max_throttled_s=0.3)
    station.on_message_hook = lambda _peer, _message: renew()

    async def renew() -> None:
        station.peers.set_validators([key_of("a").address, key_of("b").address])

    peer = await enter(station)
    asked = 0

    def is_taken() -> bool:
        return bool(station.disconnected) or len(station.messages) >= asked

    # One frame at a time: the WebSocket cuts off whoever sends a hundred ahead, before any quota is asked.
    while not station.disconnected:
        assert asked < 10_000, "who asks all the time is never over its quota"
        asked += 500
        with contextlib.suppress(SocketClosed):
            await peer.send_chunks(*[Chunk(Lane.VOTES, 0, encode_message(GetCertificates(1, 1)))] * 500)
        await until(is_taken)
    assert station.disconnected == [(peer.name, "over its quota for too long")]


async def test_who_is_slowed_down_by_others_is_not_blamed_for_it(make_station: MakeStation, enter: Enter) -> None:
    together = dataclasses.replace(OTHERS_TOGETHER_QUOTA, requests=Rate(20, 1))
    station = await make_station(network_of("a", "b"), "a", max_throttled_s=0.3, others_together_quota=together)
    greedy, modest = await enter(station), await enter(station)
    for _ in range(30):
        await greedy.send(Lane.VOTES, GetCertificates(1, 1))
        await modest.send(Lane.VOTES, GetCertificates(2, 2))
    await until(lambda: len(station.messages) >= 50)
    assert station.disconnected == []
