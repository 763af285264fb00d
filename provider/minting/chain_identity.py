"""Which network this provider serves: asked of the node once, then remembered in the data folder for good.

A receipt names its chain, so nothing is served before the chain is known; a provider that knows it serves on while the
node is down.
"""

import asyncio
from typing import Final

import structlog

from chain.answers import StatusView
from chain.client import AsyncNodeClient, NodeError
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.types import Address
from provider.storage.identity import FolderIdentity

_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 15.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.chain")


class ChainIdentity:
    """The chain id, once known."""

    def __init__(self, folder: FolderIdentity, client: AsyncNodeClient, provider: Address) -> None:
        """Raises ConfigurationError where the data folder is another provider's."""
        folder.bind("provider", to_checksum_address(provider))
        self._folder = folder
        self._client = client
        known = folder.get("chain_id")
        self.chain_id: int | None = None if known is None else int(known)
        self.genesis_hash: str | None = folder.get("genesis_hash")

    async def learn(self) -> int:
        """Asks the node until it answers; raises ConfigurationError where it belongs to another network."""
        status = await self._ask()
        await asyncio.to_thread(self._folder.bind, "genesis_hash", status.genesis_hash)
        await asyncio.to_thread(self._folder.bind, "chain_id", str(status.chain_id))
        if self.chain_id is None:
            _log.info("chain_known", chain_id=status.chain_id, network=status.network)
        self.chain_id, self.genesis_hash = status.chain_id, status.genesis_hash
        return status.chain_id

    async def _ask(self) -> StatusView:
        delay_s = _RETRY_S
        while True:
            try:
                return await self._client.status()
            except NodeError as error:
                _log.warning("node_unreachable", detail=str(error), retry_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_RETRY_S)
