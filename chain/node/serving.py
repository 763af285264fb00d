"""What peers ask of this node: blocks and ranges of final ones; and telling them how far it is."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, TypeVar

from chain.consensus.effects import PeerId
from chain.consensus.messages import BlockMessage, GetBlock, GetRange, Range, Status
from chain.consensus.simplex import SimplexEngine
from chain.node.clock import monotonic_ms
from chain.node.ledger import Ledger
from chain.node.peers.network import PeerNetwork
from chain.primitives.block import Block, decode_block
from chain.primitives.types import Hash32

T = TypeVar("T")

STATUS_INTERVAL_MS: Final = 500
"""Peers need not hear of every block of a quick chain: votes and certificates tell them as well."""
_MAX_QUEUED_BYTES: Final = 8 << 20
"""A peer that does not read what it asked for is not read for."""


class Serving:
    """See the module. On the event loop, but for what is read from the disk."""

    def __init__(self, ledger: Ledger, engine: SimplexEngine, network: PeerNetwork, *, thread: Executor) -> None:
        self._ledger = ledger
        self._engine = engine
        self._network = network
        self._thread = thread
        self._told_at_ms = -STATUS_INTERVAL_MS
        self._telling: asyncio.TimerHandle | None = None

    def status(self) -> Status:
        """How far this node is."""
        return Status(self._engine.epoch, self._engine.view, self._engine.floor.height)

    def tell(self, peer: PeerId) -> None:
        """Tells one peer how far this node is."""
        self._network.send(self.status(), peer)

    def tell_all(self) -> None:
        """Tells everybody, now or a little later."""
        if self._telling is not None:
            return
        wait_ms = self._told_at_ms + STATUS_INTERVAL_MS - monotonic_ms()
        if wait_ms <= 0:
            self._tell_all_now()
        else:
            self._telling = asyncio.get_running_loop().call_later(wait_ms / 1000, self._tell_all_now)

    def _tell_all_now(self) -> None:
        self._telling = None
        self._told_at_ms = monotonic_ms()
        self._network.send(self.status())

    def stop(self) -> None:
        """Tells nobody any more."""
        if self._telling is not None:
            self._telling.cancel()

    async def give_block(self, peer: PeerId, asked: GetBlock) -> None:
        """Answers with the block, if it is here."""
        if self._network.queued_bytes(peer) > _MAX_QUEUED_BYTES:
            return
        block = self._engine.block(asked.block_hash)
        if block is None:
            block = await self._in_thread(lambda: self._stored_block(asked.block_hash))
        if block is not None:
            self._network.send(BlockMessage(block), peer)

    def _stored_block(self, block_hash: Hash32) -> Block | None:
        encoded = self._ledger.view().block_by_hash(block_hash)
        return decode_block(encoded) if encoded is not None else None

    async def give_range(self, peer: PeerId, asked: GetRange) -> None:
        """Answers with final blocks; with none where there are none, so that nobody waits for them."""
        if self._network.queued_bytes(peer) > _MAX_QUEUED_BYTES:
            return
        found = await self._in_thread(lambda: self._ledger.read_range(asked.from_height))
        self._network.send(found or Range(asked.from_height, ()), peer)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
