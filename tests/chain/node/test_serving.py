"""What peers are answered, and when they are not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from chain.consensus.effects import Recovered
from chain.consensus.messages import GetBlock, GetRange, Link, Range
from chain.consensus.simplex import SimplexEngine
from chain.node.serving import Serving
from tests.chain.node.peers.stations import Intruder, Station, key_of, network_of, until

if TYPE_CHECKING:
    from tests.chain.conftest import Chain


async def test_peer_that_does_not_read_what_it_asked_for_is_not_read_for(chain: Chain) -> None:
    chain.fund("ann")
    block_hash = chain.head.block_hash
    station = Station(network_of("a", "b"), key_of("a"))
    await station.start()
    deaf = await Intruder.enter(station, key_of("b"))
    await until(station.names)
    deaf.socket._connection.transport.pause_reading()
    engine = SimplexEngine(
        genesis_hash=chain.people.network.genesis_hash,
        key=None,
        settings=chain.ledger.settings(),
        recovered=Recovered(floor=chain.ledger.floor(), head=chain.head.header),
    )
    with ThreadPoolExecutor(1) as thread:
        serving = Serving(chain.ledger, engine, station.peers, thread=thread)
        before = station.peers.queued_bytes(deaf.name)
        await serving.give_block(deaf.name, GetBlock(block_hash))
        await serving.give_range(deaf.name, GetRange(1))
        assert station.peers.queued_bytes(deaf.name) > before
        for height in range(1, 4):
            station.peers.send(Range(height, (Link(bytes(4_000_000), b""),)), deaf.name)
        full = station.peers.queued_bytes(deaf.name)
        for _ in range(100):
            await serving.give_block(deaf.name, GetBlock(block_hash))
            await serving.give_range(deaf.name, GetRange(1))
        assert station.peers.queued_bytes(deaf.name) <= full
    deaf.leave()
    await station.stop()
