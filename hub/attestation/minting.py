"""Which receipts were minted, whoever brought them to the chain: the minter's events, block by final block.

One call for each stretch of blocks, however many receipts wait. What a stretch says is kept before the height up to
which that was done: a crash in between keeps the same once more, which changes nothing.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog

from chain.client import AsyncNodeClient
from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.modules import MINTED_EVENT, MINTER
from chain.primitives.rejection import Rejected
from hub.attestation.logs import ChainLogs, ChainUnclear, Log, keep_following
from hub.attestation.metrics import AttestationMetrics
from hub.attestation.watching import Use, keep_use
from hub.store import followed, receipts
from hub.store.store import Store
from hub.store.transaction import Transaction

NAME: Final = "minter"
_MOST_BLOCKS: Final = 2_000
_AT_ONE_TIME: Final = 32
"""Receipts in one transaction: others wait for it."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.minting")


class MintFollower:
    """The loop; `follow` keeps what is new. From the block on at which a hub began."""

    def __init__(self, *, store: Store, node: AsyncNodeClient, logs: ChainLogs, metrics: AttestationMetrics) -> None:
        self._store = store
        self._node = node
        self._logs = logs
        self._metrics = metrics

    async def run(self) -> None:
        """Until cancelled."""
        await keep_following(self.follow, _log)

    async def follow(self) -> bool:
        """Keeps what the next stretch of final blocks says; whether there are more."""
        done = await self._store.read(lambda c: followed.height(c, NAME))
        head = (await self._node.status()).finalized.height
        if done is None:
            await self._store.write(lambda t: followed.advance(t, NAME, None, head))
            return False
        if head <= done:
            return False
        last = min(head, done + _MOST_BLOCKS)
        minted = _by_receipt(await self._logs.between(done + 1, last, MINTER, [to_hex(MINTED_EVENT.topic)]))
        ours = await self._store.read(lambda c: receipts.not_on_chain(c, list(minted)))
        for start in range(0, len(ours), _AT_ONE_TIME):
            batch = [(receipt, minted[receipt.receipt_hash]) for receipt in ours[start : start + _AT_ONE_TIME]]
            await self._store.write(partial(self._keep, batch=batch))
        await self._store.write(lambda t: followed.advance(t, NAME, done, last))
        return last < head

    def _keep(self, transaction: Transaction, batch: Sequence[tuple[receipts.Receipt, Use]]) -> None:
        for receipt, use in batch:
            keep_use(transaction, receipt, use, self._metrics)


def _by_receipt(logs: Sequence[Log]) -> dict[str, Use]:
    """By the receipt's hash; a split mint has an event for each provider."""
    shares: dict[str, list[tuple[str, int]]] = {}
    places: dict[str, tuple[str, int]] = {}
    try:
        for log in logs:
            topics = [bytes(parse_hash(topic, "topic")) for topic in log.topics]
            values = MINTED_EVENT.decode(topics, parse_hex(log.data, field="data"))
            receipt_hash = to_hex(values["receiptHash"])
            shares.setdefault(receipt_hash, []).append((to_checksum_address(values["provider"]), int(values["units"])))
            places[receipt_hash] = (to_hex(parse_hash(log.transaction_hash)), int(log.block, 16))
    except (Rejected, ValueError, IndexError) as error:
        raise ChainUnclear(f"the node's logs are not the minter's: {error}") from None
    return {
        receipt_hash: Use(*places[receipt_hash], sum(atoms for _, atoms in found), found)
        for receipt_hash, found in shares.items()
    }
