"""A station in a process of its own, so that its memory can be measured: `python -m … '{"max_others": 4}'`.

Prints its port, then answers each GetCertificates(e, v) with Status(e, v, 0) until its standard input ends. It is
validator a of a network of a, b and c.
"""

import asyncio
import json
import sys

import structlog

from chain.consensus.messages import GetCertificates, Message, Status
from tests.chain.node.peers.stations import Station, key_of, network_of


async def serve(settings: dict[str, object]) -> None:
    """Until standard input ends."""
    station = Station(network_of("a", "b", "c"), key_of("a"), **settings)
    station.is_remembering = False

    async def answer(peer: str, message: Message) -> None:
        if isinstance(message, GetCertificates):
            station.peers.send(Status(message.epoch, message.view, 0), peer)

    station.on_message_hook = answer
    await station.start()
    print(station.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(dict(station.peers.counts.view())), flush=True)
    await station.stop()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(serve(json.loads(sys.argv[1])))
