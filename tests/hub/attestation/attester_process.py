"""A hub process that attests until it is killed: `python -m tests.hub.attestation.attester_process CONFIG`."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_hash
from chain.primitives.types import Hash32
from tests.hub.attestation.evidences import picture
from tests.hub.attestation.hubs import Hub, TwoAttesterChain


@dataclass(frozen=True)
class ChainAddress:
    """Of the network that another process runs."""

    url: str
    genesis_hash: Hash32


@dataclass(frozen=True)
class HubAddress:
    """Of the other hub."""

    name: str
    url: str


async def main(config: dict[str, Any]) -> None:
    """Attests what is due in the folder's database."""
    chain = ChainAddress(config["chain_url"], parse_hash(config["genesis_hash"]))
    hub = Hub("east", Path(config["folder"]), cast(TwoAttesterChain, chain))
    for number in range(8):
        hub.pictures.kept[sha256(picture(number)).hex()] = picture(number)
    attesting = hub.attesting([cast(Hub, HubAddress("west", config["west_url"]))])
    print("attesting", flush=True)
    await attesting.run()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
