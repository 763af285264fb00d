"""Brings attested receipts to the chain: one call each (`payment`), sent again and again until it is final.

Every transaction is written to the outbox before it is sent, so a restart sends the same bytes again and no nonce is
spent twice. The chain uses a receipt once, whoever sends the mint, so trying too often costs nothing and trying too
rarely would cost the provider its pay.
"""

import asyncio
import time
from typing import Final

import structlog

from chain.answers import AccountView, TransactionView
from chain.client import NodeError, NodeRefused
from chain.primitives.hexadecimal import parse_hash, to_checksum_address, to_hex
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import RejectionReason
from provider.errors import StorageError
from provider.minting.chain_account import ChainAccount
from provider.minting.chain_identity import ChainIdentity
from provider.minting.payment import Payment
from provider.monitoring.metrics import ProviderMetrics
from provider.storage.outbox import Outbox
from provider.storage.rows import StoredReceipt

MAX_IN_FLIGHT: Final = 8
"""Mints that wait in the node's mempool at once, one per nonce: well below what a node keeps for one sender."""

_POLL_INTERVAL_S: Final = 0.5
_IDLE_INTERVAL_S: Final = 5.0
_FIRST_RETRY_MS: Final = 1_000
_LONGEST_RETRY_MS: Final = 600_000
_LONGEST_NODE_RETRY_S: Final = 30.0
_MAX_REASON_CHARACTERS: Final = 500

_NEVER: Final = frozenset(
    {
        RejectionReason.MALFORMED,
        RejectionReason.NON_CANONICAL,
        RejectionReason.TOO_LARGE,
        RejectionReason.OUT_OF_RANGE,
        RejectionReason.BAD_SIGNATURE,
        RejectionReason.HIGH_S,
        RejectionReason.INVALID_RECIPIENT,
        RejectionReason.UNKNOWN_CALL,
        RejectionReason.SIGNATURE_COUNT,
        RejectionReason.SIGNATURE_ORDER,
        RejectionReason.NOT_AN_ATTESTER,
        RejectionReason.RECEIPT_CEILING,
        RejectionReason.INVALID_SPLIT,
        RejectionReason.REQUEST_EXPIRED,
        RejectionReason.PRICE_LIMIT,
    }
)
"""Refusals that time does not heal; a new attestation may (`Outbox.accept_attestation`).

Not among them: wrong_chain_id, for what is signed here is of the right network; then it is the node that is not.
"""

_NONCE_REASONS: Final = frozenset({RejectionReason.NONCE_TOO_LOW, RejectionReason.NONCE_TOO_HIGH})
_MOST_TRIES_SETTLED: Final = 8
"""So often, over some minutes, a request that is settled already is asked for again: what settles it may be in no block
yet. If it was this receipt, somebody else has brought it there, and all is well."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.minter")


class Minter:
    """The background task between outbox and node. One per provider key."""

    def __init__(
        self,
        outbox: Outbox,
        account: ChainAccount,
        chain: ChainIdentity,
        metrics: ProviderMetrics,
    ) -> None:
        self._outbox = outbox
        self._account = account
        self._client = account.client
        self._chain = chain
        self._metrics = metrics
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Says that a receipt was attested; call it on the event loop."""
        self._news.set()

    async def run(self) -> None:
        """Mints for ever; a node that does not answer is asked again, ever more slowly."""
        delay_s = _POLL_INTERVAL_S
        while True:
            try:
                is_busy = await self.step()
                delay_s = _POLL_INTERVAL_S if is_busy else _IDLE_INTERVAL_S
            except NodeError as error:
                delay_s = min(max(delay_s, _POLL_INTERVAL_S) * 2, _LONGEST_NODE_RETRY_S)
                _log.warning("node_unreachable", detail=str(error), retry_s=delay_s)
            except StorageError as error:
                # A full disk passes; every step is written down before it is taken, so it can be taken again.
                delay_s = min(max(delay_s, _POLL_INTERVAL_S) * 2, _LONGEST_NODE_RETRY_S)
                _log.error("minting_postponed", reason=error.reason, detail=error.message, retry_s=delay_s)
            try:
                await asyncio.wait_for(self._news.wait(), timeout=delay_s)
            except TimeoutError:
                continue
            self._news.clear()

    async def step(self) -> bool:
        """Looks after what is in flight, then sends what is due; whether anything is under way.

        Raises NodeError and StorageError; whatever was done by then is written down.
        """
        if self._chain.chain_id is None:
            return True
        if await asyncio.to_thread(self._outbox.in_flight):
            await self._follow_all()
        due = await asyncio.to_thread(self._outbox.due, _now_ms(), MAX_IN_FLIGHT)
        if due:
            async with self._account.lock:
                await self._send_due(due, self._chain.chain_id)
        return await asyncio.to_thread(self._outbox.has_unsettled)

    # What is in flight

    async def _follow_all(self) -> None:
        # Read before the transactions: then a nonce that is used up without ours being found was used by another.
        account = await self._account.view()
        for stored in await asyncio.to_thread(self._outbox.in_flight):
            await self._follow(stored, account)

    async def _follow(self, stored: StoredReceipt, account: AccountView) -> None:
        assert stored.transaction_hash is not None
        assert stored.transaction_nonce is not None
        view = await self._find_transaction(stored)
        if view is None:
            if account.nonce > stored.transaction_nonce:
                await self._judge(stored, RejectionReason.NONCE_TOO_LOW, "another transaction used this nonce")
            else:
                await self._send(stored)
        elif view.status == "success" and view.finalized:
            await self._finish(stored, view.hash, view.height)
        elif view.status == "failed" and view.finalized:
            # In a block the chain keeps the reason as `name: message`.
            reason, _, detail = (view.reason or "failed").partition(": ")
            await self._judge(stored, reason, detail or "included in a block, but without effect")

    async def _find_transaction(self, stored: StoredReceipt) -> TransactionView | None:
        assert stored.transaction_hash is not None
        try:
            return await self._client.transaction(stored.transaction_hash)
        except NodeRefused as error:
            if error.status != 404:
                raise
            return None

    # What is due

    async def _send_due(self, due: list[StoredReceipt], chain_id: int) -> None:
        """Signs and sends with consecutive nonces, as far as there is room."""
        in_flight = await asyncio.to_thread(self._outbox.in_flight)
        nonce = (await self._account.view()).pending_nonce
        if in_flight:
            last = in_flight[-1].transaction_nonce
            assert last is not None
            if nonce <= last:
                return  # The node has not taken all of them back yet; a later nonce would wait for ever.
        max_fee_atoms = await self._account.max_fee_atoms()
        for stored in due[: MAX_IN_FLIGHT - len(in_flight)]:
            assert stored.attestation is not None
            module, call = Payment.of_stored(stored).call(stored.attestation)
            signed = self._account.sign(
                chain_id=chain_id, nonce=nonce, to=module, call=call, max_fee_atoms=max_fee_atoms
            )
            await asyncio.to_thread(
                self._outbox.mark_submitted,
                stored.receipt_hash,
                nonce=nonce,
                raw=signed.raw,
                transaction_hash=signed.hash,
            )
            submitted = await asyncio.to_thread(self._outbox.get, stored.receipt_hash)
            assert submitted is not None
            if await self._send(submitted):
                nonce += 1

    async def _send(self, stored: StoredReceipt) -> bool:
        """Whether the node has the transaction now; a refusal changes the receipt's state. Raises NodeError."""
        assert stored.transaction_raw is not None
        try:
            await self._client.send_transaction(stored.transaction_raw)
        except NodeRefused as error:
            if error.reason == RejectionReason.ALREADY_KNOWN:
                return True
            self._metrics.count_mint(error.reason)
            await self._judge(stored, error.reason, error.message)
            return False
        self._metrics.count_mint("accepted")
        _log.info(
            "mint_sent",
            job_id=stored.job_id,
            transaction_hash=to_hex(stored.transaction_hash or b""),
            nonce=stored.transaction_nonce,
        )
        return True

    # What a refusal means

    async def _judge(self, stored: StoredReceipt, reason: str, detail: str) -> None:
        """Final if the receipt was minted for us by whatever transaction, refused if it never can be, else later."""
        is_settled = reason == RejectionReason.REQUEST_SETTLED
        is_used = reason in _NONCE_REASONS or reason == RejectionReason.RECEIPT_USED
        is_over = reason in _NEVER or (is_settled and stored.attempts >= _MOST_TRIES_SETTLED)
        if (is_settled or is_used or is_over) and await self._is_minted_elsewhere(stored):
            return
        if is_used:
            await self._wait(stored, reason, _FIRST_RETRY_MS)
        elif is_over:
            await self._refuse(stored, reason, detail)
        else:
            delay_ms = min(_FIRST_RETRY_MS * 2 ** min(stored.attempts, 20), _LONGEST_RETRY_MS)
            await self._wait(stored, reason, delay_ms)

    async def _is_minted_elsewhere(self, stored: StoredReceipt) -> bool:
        """Settles the receipt if the chain has used it for good: by somebody's mint for us, or by another use."""
        try:
            use = await self._client.receipt(stored.receipt_hash)
        except NodeRefused as error:
            if error.status != 404:
                raise
            return False
        if not use.finalized:
            return False
        receipt = Receipt.from_json(stored.receipt_json)
        paid = sorted((share.provider, int(share.units)) for share in use.shares)
        if paid == sorted((to_checksum_address(provider), amount) for provider, amount in receipt.payouts()):
            await self._finish(stored, use.transaction_hash, use.height)
        else:
            detail = "the chain has this receipt hash for another provider or amount"
            await self._refuse(stored, RejectionReason.RECEIPT_USED, detail)
        return True

    async def _refuse(self, stored: StoredReceipt, reason: str, detail: str) -> None:
        text = f"{reason}: {detail}"[:_MAX_REASON_CHARACTERS]
        await asyncio.to_thread(self._outbox.mark_refused, stored.receipt_hash, reason=text)
        _log.error("receipt_refused", job_id=stored.job_id, reason=str(reason), detail=detail)

    async def _finish(self, stored: StoredReceipt, transaction_hash: str | None, height: int | None) -> None:
        found = None if transaction_hash is None else parse_hash(transaction_hash, "transaction_hash")
        await asyncio.to_thread(self._outbox.mark_final, stored.receipt_hash, transaction_hash=found, height=height)
        receipt = Receipt.from_json(stored.receipt_json)
        for part in receipt.shards or ():
            if part.receipt_hash is not None:  # Ours, or not in this outbox at all.
                await asyncio.to_thread(
                    self._outbox.mark_final, part.receipt_hash, transaction_hash=found, height=height
                )
        self._metrics.count_mint("final")
        self._metrics.count_minted(sum(amount for payee, amount in receipt.payouts() if payee == self._account.address))
        _log.info("receipt_minted", job_id=stored.job_id, transaction_hash=transaction_hash, height=height)

    async def _wait(self, stored: StoredReceipt, reason: str, delay_ms: int) -> None:
        await asyncio.to_thread(
            self._outbox.mark_waiting, stored.receipt_hash, reason=reason, next_attempt_ms=_now_ms() + delay_ms
        )
        _log.warning("mint_postponed", job_id=stored.job_id, reason=reason, retry_ms=delay_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
