"""Receipts of split jobs, signed after this provider has found its own parts in them; and what pays for receipts.

A part is in a receipt exactly, or the receipt is not signed: units, pictures, price and hash are those of the receipt
that this provider signed for the part. What stands in it of others is for the attesters to judge.
"""

import asyncio
from typing import Final

from chain.primitives.hexadecimal import parse_hash, to_hex
from chain.primitives.hub_messages import Attested, SignReceipt
from chain.primitives.provider_messages import AttestationTaken, ReceiptSigned
from chain.primitives.receipt import Receipt, recover_provider, sign_receipt
from chain.primitives.worker_fields import octets_of
from chain.web.problems import Problem
from provider.hub_link.errors import HubRefused
from provider.hub_link.offering import LinkTools
from provider.hub_link.orders import caller_of
from provider.storage.outbox import DuplicateJobError
from provider.storage.rows import NewReceipt, ReceiptForm, ReceiptState, StoredReceipt

OTHERS_TURN_MS: Final = 120_000
"""How long the provider that signed the whole is left to bring it to the chain, before the others do."""
_RETRY_S: Final = 10.0
_OPEN: Final = (ReceiptState.SIGNED, ReceiptState.REFUSED)
_SAME_IN_ALL: Final = (
    "client",
    "client_signature",
    "request_hash",
    "unit_type",
    "price_per_unit",
    "model",
    "hub_id",
    "job_id",
    "chain_id",
)


class HubReceipts:
    """Of one hub."""

    def __init__(self, tools: LinkTools, hub_id: str) -> None:
        self._tools = tools
        self._hub_id = hub_id

    async def sign(self, order: SignReceipt) -> ReceiptSigned:
        """Raises HubRefused, and Rejected for what is no receipt."""
        receipt = Receipt.from_json(bytes(order.receipt))
        if receipt.provider != self._tools.key.address:
            raise HubRefused("another provider is to sign this receipt", reason="wrong_provider")
        stored = await self._check_parts(receipt)
        signature = await asyncio.to_thread(sign_receipt, self._tools.key, receipt)
        await self._keep(receipt, signature, stored)
        return ReceiptSigned(order_id=order.order_id, signature=to_hex(signature))

    async def take(self, attested: Attested) -> AttestationTaken:
        """Writes the attestation down; the minter does the rest. Raises HubRefused and Rejected."""
        receipt_hash = parse_hash(attested.receipt_hash)
        delay_ms = 0
        if attested.has_receipt:
            receipt = Receipt.from_json(bytes(attested.receipt))
            assert attested.receipt_signature is not None, "the message's own check has seen to it"
            signature = octets_of(attested.receipt_signature)
            if receipt.hash != receipt_hash or recover_provider(receipt, signature) != receipt.provider:
                raise HubRefused("the receipt is not the one that is attested, or not signed", reason="bad_receipt")
            if receipt.shards is not None:
                await self._keep(receipt, signature, await self._check_parts(receipt))
            if receipt.provider != self._tools.key.address:
                delay_ms = OTHERS_TURN_MS
        try:
            state = await self._tools.attestations.accept(
                receipt_hash,
                octets_of(attested.signatures),
                form=ReceiptForm(attested.form),
                terms=attested.settlement,
                delay_ms=delay_ms,
            )
        except Problem as problem:
            retry_after_s = _RETRY_S if problem.status == 503 else None
            raise HubRefused(problem.detail, reason=problem.reason, retry_after_s=retry_after_s) from None
        return AttestationTaken(receipt_hash=attested.receipt_hash, state=state.value)

    async def _check_parts(self, receipt: Receipt) -> list[StoredReceipt]:
        """This provider's receipts of the job; raises HubRefused unless its parts stand in the whole exactly."""
        if receipt.shards is None:
            raise HubRefused("this receipt has no shards", reason="no_shards")
        if receipt.hub_id != self._hub_id:
            raise HubRefused("the receipt of another hub", reason="wrong_hub")
        stored = await asyncio.to_thread(self._tools.outbox.of_job, receipt.hub_id, receipt.job_id)
        own = {each.receipt_hash: each for each in stored}
        mine = [shard for shard in receipt.shards if shard.provider == self._tools.key.address]
        if not mine:
            raise HubRefused("no part in this receipt is this provider's", reason="wrong_shards")
        for shard in mine:
            known = None if shard.receipt_hash is None else own.get(shard.receipt_hash)
            if known is None:
                raise HubRefused("a part for which this provider has signed no receipt", reason="wrong_shards")
            part = Receipt.from_json(known.receipt_json)
            if (part.micro_units, part.artifact_sha256) != (shard.micro_units, shard.artifact_sha256):
                raise HubRefused("a part is not as this provider has signed it", reason="wrong_shards")
            if any(getattr(part, name) != getattr(receipt, name) for name in _SAME_IN_ALL):
                raise HubRefused("the whole is not of the same job and price as the part", reason="wrong_shards")
            if not receipt.started_at <= part.started_at <= part.finished_at <= receipt.finished_at:
                raise HubRefused("the whole ends before the part, or begins after it", reason="wrong_shards")
        self._check_first(receipt, stored)
        return stored

    def _check_first(self, receipt: Receipt, stored: list[StoredReceipt]) -> None:
        """One whole is paid for; another one may only stand in its place before that."""
        if any(each.receipt_hash == receipt.hash for each in stored):
            return
        for each in stored:
            if each.state not in _OPEN:
                raise HubRefused("another receipt of this job is attested already", reason="already_attested")

    async def _keep(self, receipt: Receipt, signature: bytes, stored: list[StoredReceipt]) -> None:
        if any(each.receipt_hash == receipt.hash for each in stored):
            return
        whole = NewReceipt(
            receipt_hash=receipt.hash,
            hub_id=receipt.hub_id,
            job_id=receipt.job_id,
            lease_id=receipt.nonce,
            key_name=caller_of(self._hub_id).name,
            request_fingerprint=b"",
            receipt_json=receipt.canonical_bytes(),
            provider_signature=signature,
            prompt_salt=b"",
            answer_json="",
        )
        try:
            await asyncio.to_thread(self._tools.outbox.add, whole)
        except DuplicateJobError:
            raise HubRefused("its nonce is that of another receipt of this job", reason="wrong_nonce") from None
