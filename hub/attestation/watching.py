"""What becomes of a receipt that is used up on the chain; and a look at each of those that no event has told of.

`minting` and `following` read the chain's events, one call for a whole stretch of blocks. Whatever escapes them (a hub
whose database was moved to another network's node for a while, say) is asked for by its hash: half a minute after it
was attested, then ever more rarely, a year-old one once an hour.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from hub.attestation.chain import AttestationChain
from hub.attestation.errors import NotYet
from hub.attestation.metrics import AttestationMetrics
from hub.ledger import posting
from hub.store import events, promises, receipts
from hub.store.errors import StoreError
from hub.store.store import Store, now_ms
from hub.store.transaction import Transaction

_BATCH: Final = 64
_CONCURRENT: Final = 16
_PAUSE_S: Final = 5.0
_EVENTS_MS: Final = 30_000
"""So long, events may tell of a receipt before anybody asks for it."""
_SHORTEST_MS: Final = 5_000
_LONGEST_MS: Final = 3_600_000
_SHARE_OF_AGE: Final = 20  # The next look comes after a twentieth of the time waited already.

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.watching")


@dataclass(frozen=True, slots=True)
class Use:
    """How a receipt was used, finally; atoms. `minted` is each provider's share, None where a deposit paid."""

    transaction_hash: str
    height: int
    units: int
    minted: Sequence[tuple[str, int]] | None = None


def keep_use(transaction: Transaction, receipt: receipts.Receipt, use: Use, metrics: AttestationMetrics) -> bool:
    """Keeps it with all that follows: books of a mint, promise, event; False where it was known.

    Settlements are booked by `following`, in the chain's order with the deposits that they are paid from.
    """
    now = now_ms()
    is_news = receipts.keep_on_chain(
        transaction, receipt.job_id, transaction_hash=use.transaction_hash, height=use.height
    )
    if not is_news:
        return False
    if use.minted is not None:
        posting.book_mint(transaction, receipt.receipt_hash, use.minted, now)
        promises.release(transaction, receipt.job_id)
    else:
        promises.settle(transaction, receipt.job_id, use.height)
    facts = {"transaction_hash": use.transaction_hash, "height": use.height, "units": str(use.units)}
    events.append(transaction, receipt.job_id, "on_chain", facts, now)
    transaction.after_commit(lambda: _count(receipt, use, metrics))
    return True


def _count(receipt: receipts.Receipt, use: Use, metrics: AttestationMetrics) -> None:
    form = "settle" if use.minted is None else "mint"
    metrics.on_chain.labels(form).inc()
    metrics.paid_atoms.labels(form).inc(float(use.units))
    _log.info("on_chain", job_id=receipt.job_id, transaction_hash=use.transaction_hash, height=use.height)


class ChainWatch:
    """The loop."""

    def __init__(self, *, store: Store, chain: AttestationChain, metrics: AttestationMetrics) -> None:
        self._store = store
        self._chain = chain
        self._metrics = metrics

    async def run(self) -> None:
        """Until cancelled."""
        turns = asyncio.Semaphore(_CONCURRENT)

        async def look(receipt: receipts.Receipt) -> None:
            async with turns:
                try:
                    await self.look(receipt)
                except StoreError:
                    raise
                except Exception:  # noqa: BLE001 - one receipt that cannot be booked must not stop all others
                    _log.exception("watching_failed", job_id=receipt.job_id)
                    await self._postpone(receipt)

        while True:
            try:
                due = await self._store.read(
                    lambda c: receipts.due_chain_checks(c, now_ms() - _EVENTS_MS, limit=_BATCH)
                )
                await asyncio.gather(*(look(receipt) for receipt in due))
            except StoreError as error:
                _log.warning("watching_paused", detail=str(error))
                due = []
            if len(due) < _BATCH:
                await asyncio.sleep(_PAUSE_S)

    async def look(self, receipt: receipts.Receipt) -> bool:
        """Asks the node once and keeps what it says; whether it is final there."""
        try:
            use = await self._chain.use_of(receipt.receipt_hash)
        except NotYet as later:
            _log.debug("chain_check_failed", job_id=receipt.job_id, detail=later.detail)
            use = None
        if use is None or not use.finalized:
            await self._postpone(receipt)
            return False
        minted = [(share.provider, int(share.units)) for share in use.shares]
        found = Use(use.transaction_hash, use.height, int(use.units), minted if use.settlement is None else None)
        await self._store.write(lambda t: keep_use(t, receipt, found, self._metrics))
        return True

    async def _postpone(self, receipt: receipts.Receipt) -> None:
        now = now_ms()
        assert receipt.attested_at_ms is not None
        next_ms = now + chain_check_pause_ms(now - receipt.attested_at_ms)
        await self._store.write(lambda t: receipts.postpone_chain_check(t, receipt.job_id, next_ms))


def chain_check_pause_ms(age_ms: int) -> int:
    """How long after an unsuccessful look the next one comes, for a receipt attested so long ago."""
    return min(_LONGEST_MS, max(_SHORTEST_MS, age_ms // _SHARE_OF_AGE))
