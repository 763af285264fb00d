"""Transactions on their way out, to whoever does not get them elsewhere: the first at once, and then, as long as more
come, what has been collected for a few milliseconds."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from chain.consensus.effects import PeerId
from chain.node.peers.frames import Lane
from chain.node.peers.messages import MAX_BATCH_BYTES, MAX_TRANSACTIONS, Transactions
from chain.node.peers.roster import Roster
from chain.node.peers.settings import MIB
from chain.primitives import message_pack
from chain.primitives.hexadecimal import parse_address

_MAX_WAITING_BYTES: Final = 8 * MIB


class Gossip:
    """What one node tells of transactions."""

    def __init__(self, roster: Roster, delay_s: float) -> None:
        self.dropped = 0
        """Not told because too much waited; a re-announcement makes up for it."""
        self._roster = roster
        self._delay_s = delay_s
        self._waiting: defaultdict[PeerId | None, list[bytes]] = defaultdict(list)
        self._waiting_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._flushed_s = -delay_s

    def share(self, raws: Iterable[bytes], source: PeerId | None) -> None:
        """Tells transactions to all peers but the source and those that are connected to the source themselves."""
        for raw in raws:
            if self._waiting_bytes + len(raw) > _MAX_WAITING_BYTES:
                self.dropped += 1
                continue
            self._waiting[source].append(raw)
            self._waiting_bytes += len(raw)
        if self._waiting_bytes >= MAX_BATCH_BYTES:
            self.flush()
        elif self._waiting and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._flushed_s + self._delay_s), self.flush)

    def flush(self) -> None:
        """Sends what has been collected."""
        self.stop()
        self._flushed_s = asyncio.get_running_loop().time()
        waiting, self._waiting = self._waiting, defaultdict(list)
        self._waiting_bytes = 0
        for source, raws in waiting.items():
            origin = None if source is None else parse_address(source)
            targets = [each for each in self._roster if each.peer != source and origin not in each.neighbours]
            if targets:
                for batch in _batches(raws):
                    encoded = message_pack.encode(Transactions(tuple(batch)))
                    for connection in targets:
                        connection.put(Lane.TRANSACTIONS, encoded)

    def stop(self) -> None:
        """No flush comes by itself any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _batches(raws: list[bytes]) -> Iterable[list[bytes]]:
    batch: list[bytes] = []
    batch_bytes = 0
    for raw in raws:
        if batch and (batch_bytes + len(raw) > MAX_BATCH_BYTES or len(batch) >= MAX_TRANSACTIONS):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(raw)
        batch_bytes += len(raw)
    yield batch
