"""The books of clients' deposits: each event of the escrow module that is this hub's, once, in the chain's order.

Only final blocks are read. What a stretch of blocks says is booked in one unit, with the height up to which that was
done: so a crash books nothing twice, and two processes book it once. Deposits come before what is paid from them, as
the chain had it, so no account of a client's is ever below zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from chain.client import AsyncNodeClient
from chain.primitives.escrow import (
    DEPOSIT_REFUNDED_EVENT,
    DEPOSITED_EVENT,
    PAID_EVENT,
    SETTLED_EVENT,
    WITHDRAWN_EVENT,
    audience_hash,
)
from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.modules import ESCROW
from chain.primitives.rejection import Rejected
from chain.primitives.types import Hash32
from hub.attestation.logs import ChainLogs, ChainUnclear, Log, keep_following
from hub.attestation.metrics import AttestationMetrics
from hub.attestation.watching import Use, keep_use
from hub.ledger import posting
from hub.store import followed, receipts
from hub.store.store import Store, now_ms
from hub.store.transaction import Transaction

NAME: Final = "escrow"
_MOST_BLOCKS: Final = 2_000
_HEADS: Final = (DEPOSITED_EVENT, SETTLED_EVENT, WITHDRAWN_EVENT, DEPOSIT_REFUNDED_EVENT)

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.following")


@dataclass(frozen=True, slots=True)
class _Booked:
    """What an event comes to: a journal entry, and of a settlement the receipt that it used up."""

    entry: posting.NewEntry
    receipt_hash: str | None = None
    use: Use | None = None


class EscrowFollower:
    """The loop; `follow` books what is new."""

    def __init__(
        self, *, store: Store, node: AsyncNodeClient, logs: ChainLogs, hub_id: str, metrics: AttestationMetrics
    ) -> None:
        self._store = store
        self._node = node
        self._logs = logs
        self._hub = audience_hash(hub_id)
        self._metrics = metrics

    async def run(self) -> None:
        """Until cancelled."""
        await keep_following(self.follow, _log)

    async def follow(self) -> bool:
        """Books the next stretch of final blocks; whether there are more."""
        done = await self._store.read(lambda c: followed.height(c, NAME))
        head = (await self._node.status()).finalized.height
        first = 0 if done is None else done + 1
        if first > head:
            return False
        last = min(head, first + _MOST_BLOCKS - 1)
        topics = [[to_hex(event.topic) for event in _HEADS], None, to_hex(self._hub)]
        heads = await self._logs.between(first, last, ESCROW, topics)
        entries = await self._entries(heads)
        await self._store.write(lambda t: self._book(t, done, last, entries))
        return last < head

    def _book(self, transaction: Transaction, done: int | None, last: int, booked: Sequence[_Booked]) -> None:
        if not followed.advance(transaction, NAME, done, last):
            return
        for each in booked:
            posting.post(transaction, each.entry, now_ms())
            if each.receipt_hash is not None and each.use is not None:
                receipt = receipts.of_hash(transaction, each.receipt_hash)
                if receipt is not None:
                    keep_use(transaction, receipt, each.use, self._metrics)

    async def _entries(self, heads: Sequence[Log]) -> list[_Booked]:
        """What each event comes to, in the chain's order."""
        try:
            return [await self._entry(log) for log in heads]
        except (Rejected, ValueError, IndexError) as error:
            raise ChainUnclear(f"the node's logs are not the escrow module's: {error}") from None

    async def _entry(self, log: Log) -> _Booked:
        topics = [bytes(parse_hash(topic, "topic")) for topic in log.topics]
        octets = parse_hex(log.data, field="data")
        reference = f"{parse_hash(log.transaction_hash).hex()}:{int(log.log_index, 16)}"
        for event in _HEADS:
            if topics[0] == event.topic:
                values = event.decode(topics, octets)
                if event is SETTLED_EVENT:
                    return await self._settlement(values, log)
                return _Booked(_change(event.name, reference, values))
        raise ChainUnclear("a log of another event than was asked for")

    async def _settlement(self, values: dict[str, Any], log: Log) -> _Booked:
        """With each provider's share, from the events beside it."""
        receipt_hash = Hash32(values["receiptHash"])
        height = int(log.block, 16)
        paid = await self._logs.between(height, height, ESCROW, [to_hex(PAID_EVENT.topic)])
        shares: list[tuple[str, int]] = []
        for other in paid:
            if other.transaction_hash != log.transaction_hash:
                continue
            topics = [bytes(parse_hash(topic, "topic")) for topic in other.topics]
            share = PAID_EVENT.decode(topics, parse_hex(other.data, field="data"))
            if share["receiptHash"] == receipt_hash:
                shares.append((to_checksum_address(share["provider"]), int(share["units"])))
        if sum(amount for _, amount in shares) + values["fee"] != values["total"]:
            raise ChainUnclear("a settlement's shares do not come to what was taken")
        client = to_checksum_address(values["client"])
        entry = posting.settlement_entry(to_hex(receipt_hash), client, shares, fee=values["fee"])
        units = sum(amount for _, amount in shares)
        return _Booked(entry, to_hex(receipt_hash), Use(log.transaction_hash, height, units))


def _change(name: str, reference: str, values: dict[str, Any]) -> posting.NewEntry:
    """A deposit, or what went back to its client: withdrawn, or refunded after the deadline."""
    client, amount = to_checksum_address(values["client"]), int(values["value"])
    if name == DEPOSITED_EVENT.name:
        return posting.deposit_entry(reference, client, amount)
    return posting.refund_entry(reference, client, amount)
