"""`python -m tests.provider.hub_link.killable FOLDER URL`: a provider of `rig` as a process of its own."""

import asyncio
import sys
from pathlib import Path

from tests.provider.hub_link.rig import SlowGate, linked


async def main(folder: Path, url: str) -> None:
    """Until it is killed."""
    async with linked(folder, url) as provider:
        provider.backend.gate = SlowGate()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
