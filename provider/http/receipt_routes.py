"""Receipts of an API key's jobs, and the attestations that are brought for them."""

import asyncio
import json
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from chain.primitives.hexadecimal import parse_hash, parse_hex, to_hex
from chain.web.application import create_router
from chain.web.problems import not_found
from provider.api_keys import Caller
from provider.http.guard import Guard
from provider.http.parts import ProviderParts
from provider.http.problems import problem_responses
from provider.http.schemas import AttestationAnswer, AttestationRequest, ReceiptEntry, ReceiptPage
from provider.storage.outbox import MAX_PAGE
from provider.storage.rows import StoredReceipt


def create_receipt_router(parts: ProviderParts, guard: Guard) -> APIRouter:
    """The routes under /v1/attestations and /v1/receipts."""
    router = create_router(prefix="/v1", tag="receipts")
    by_bearer = Depends(guard.by_bearer)

    @router.post(
        "/attestations",
        summary="Bring an attestation; the provider then mints",
        responses=problem_responses(400, 401, 404, 413, 415, 422, 429, 503, 507),
    )
    async def attest(body: AttestationRequest, _caller: Annotated[Caller, by_bearer]) -> AttestationAnswer:
        receipt_hash = parse_hash(body.receipt_hash, "receipt_hash")
        state = await parts.attestations.accept(receipt_hash, parse_hex(body.attestation, field="attestation"))
        return AttestationAnswer(receipt_hash=to_hex(receipt_hash), state=state)

    @router.get(
        "/receipts",
        summary="Receipts of the jobs that this API key brought",
        responses=problem_responses(401, 422, 429),
    )
    async def receipts(
        caller: Annotated[Caller, by_bearer],
        cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    ) -> ReceiptPage:
        before = None if cursor is None else int(cursor)
        page = await asyncio.to_thread(parts.outbox.page, caller.name, before=before, limit=limit)
        next_cursor = str(page[-1].sequence) if len(page) == limit else None
        return ReceiptPage(items=[_entry(stored) for stored in page], next_cursor=next_cursor)

    @router.get("/receipts/{receipt_hash}", summary="One receipt", responses=problem_responses(400, 401, 404, 422, 429))
    async def receipt(receipt_hash: str, caller: Annotated[Caller, by_bearer]) -> ReceiptEntry:
        stored = await asyncio.to_thread(parts.outbox.get, parse_hash(receipt_hash, "receipt_hash"))
        if stored is None or stored.key_name != caller.name:
            raise not_found("no receipt of this API key's jobs has this hash", "receipt_hash")
        return _entry(stored)

    return router


def _entry(stored: StoredReceipt) -> ReceiptEntry:
    return ReceiptEntry(
        receipt_hash=to_hex(stored.receipt_hash),
        hub_id=stored.hub_id,
        job_id=stored.job_id,
        state=stored.state,
        reason=stored.reason,
        attestation=None if stored.attestation is None else to_hex(stored.attestation),
        transaction_hash=None if stored.transaction_hash is None else to_hex(stored.transaction_hash),
        height=stored.height,
        provider_signature=to_hex(stored.provider_signature),
        receipt=json.loads(stored.receipt_json),
        created_at_ms=stored.created_ms,
        updated_at_ms=stored.updated_ms,
    )
