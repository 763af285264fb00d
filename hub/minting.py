"""Looks for the mint of every attested receipt on the chain, whoever sent it, until it is final.

A young receipt is looked for every half second, an old one ever more rarely, a year-old one once an hour.
"""

import asyncio
from typing import Final

import structlog

from chain.client import AsyncNodeClient, NodeError, NodeRefused
from hub.metrics import HubMetrics
from hub.store import Store, now_ms
from hub.tables import ReceiptRow

_BATCH: Final = 32
_PAUSE_S: Final = 0.25
_SHORTEST_MS: Final = 500
_LONGEST_MS: Final = 3_600_000
_SHARE_OF_AGE: Final = 20  # The next look comes after a twentieth of the time waited already.

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.minting")


class MintWatch:
    """The loop; `run` it as a task. `look` is also for whoever wants to know at once."""

    def __init__(self, *, store: Store, node: AsyncNodeClient, metrics: HubMetrics) -> None:
        self._store = store
        self._node = node
        self._metrics = metrics

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            due = await asyncio.to_thread(self._store.due_mint_checks, _BATCH)
            await asyncio.gather(*(self.look(receipt) for receipt in due))
            if len(due) < _BATCH:
                await asyncio.sleep(_PAUSE_S)

    async def look(self, receipt: ReceiptRow) -> None:
        """Asks the node once and keeps what it says; a silent node or a missing mint means: later again."""
        try:
            mint = await self._node.receipt(receipt.receipt_hash)
        except NodeRefused as error:
            if error.status != 404:
                _log.warning("mint_check_refused", job_id=receipt.job_id, detail=str(error))
            await self._postpone(receipt)
        except NodeError as error:
            _log.debug("mint_check_failed", job_id=receipt.job_id, detail=str(error))
            await self._postpone(receipt)
        else:
            if not mint.finalized:
                await self._postpone(receipt)
                return
            await asyncio.to_thread(
                self._store.keep_mint, receipt.job_id, transaction_hash=mint.transaction_hash, height=mint.height
            )
            self._metrics.mints.inc()
            _log.info("minted", job_id=receipt.job_id, transaction_hash=mint.transaction_hash, height=mint.height)

    async def _postpone(self, receipt: ReceiptRow) -> None:
        now = now_ms()
        assert receipt.attested_at_ms is not None
        next_ms = now + mint_check_pause_ms(now - receipt.attested_at_ms)
        await asyncio.to_thread(self._store.postpone_mint_check, receipt.job_id, next_ms)


def mint_check_pause_ms(age_ms: int) -> int:
    """How long after an unsuccessful look the next one comes, for a receipt attested so long ago."""
    return min(_LONGEST_MS, max(_SHORTEST_MS, age_ms // _SHARE_OF_AGE))
