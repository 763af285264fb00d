"""The JSON that the hub answers with. Amounts are decimal strings of atoms, bytes 0x-hex, times Unix milliseconds."""

import base64
import json
from typing import Any

from pydantic import BaseModel, Field

from chain.primitives.hexadecimal import to_checksum_address
from hub.bench import Bench
from hub.selection import Offer
from hub.tables import JobRow, ReceiptRow


class MintAnswer(BaseModel):
    """Whether the job's receipt has been minted."""

    state: str = Field(description="`none` before the attestation, `pending`, or `minted` (final).")
    transaction_hash: str | None
    height: int | None


class DeliveryAnswer(BaseModel):
    """Whether the provider has the attestation."""

    state: str = Field(description="`none` before the attestation, `pending`, `delivered`, or `given_up`.")
    attempts: int
    error: str | None


class AttemptAnswer(BaseModel):
    """One provider's turn at a job."""

    provider: str
    outcome: str | None = Field(description="`ok`, why it failed, or null while it is under way.")
    detail: str | None
    started_at_ms: int
    ended_at_ms: int | None


class JobAnswer(BaseModel):
    """A job: what became of it, and everything that proves it."""

    job_id: str
    status: str = Field(description="`queued`, `verified` (not attested yet), `done` or `failed`.")
    reason: str | None = Field(description="Why it failed.")
    detail: str | None
    created_at_ms: int
    ended_at_ms: int | None
    client: str
    request: dict[str, Any] = Field(description="The request without its prompt, which the hub does not keep.")
    request_hash: str
    request_salt: str
    seed: int = Field(description="The seed that was used.")
    provider: str | None
    image_url: str | None
    receipt: dict[str, Any] | None
    receipt_hash: str | None
    provider_signature: str | None
    prompt_salt: str | None = Field(description="With it and the prompt, the receipt's prompt_hash can be checked.")
    attestation: str | None
    mint: MintAnswer
    delivery: DeliveryAnswer
    attempts: list[AttemptAnswer]


class FinishedJobAnswer(JobAnswer):
    """A job that is done, with its picture."""

    image_base64: str = Field(description="A data URL of the PNG.")


class JobPage(BaseModel):
    """A part of the list of jobs, newest first."""

    items: list[JobAnswer]
    next_cursor: str | None


class ProviderAnswer(BaseModel):
    """An active provider that this hub may ask."""

    address: str
    endpoint: str
    models: list[str]
    price_per_unit: str
    unit_type: str
    vram_mib: int
    benched: str | None = Field(description="Why the hub leaves it alone at present.")
    benched_for_s: float


class ProviderList(BaseModel):
    """All of them, by address."""

    items: list[ProviderAnswer]


class HubAnswer(BaseModel):
    """Who this hub is: what a client needs to sign a request."""

    hub_id: str
    chain_id: int
    genesis_hash: str
    attester: str
    version: str
    providers: int = Field(description="Active providers that this hub may ask.")
    jobs_running: int
    jobs_waiting: int


def describe_job(job: JobRow) -> JobAnswer:
    """A row as JSON; nothing of a receipt is shown before the job is done."""
    receipt = job.receipt if job.receipt is not None and job.receipt.attestation is not None else None
    return JobAnswer(
        job_id=job.job_id,
        status=str(job.state),
        reason=job.failure_reason,
        detail=job.failure_detail,
        created_at_ms=job.created_at_ms,
        ended_at_ms=job.ended_at_ms,
        client=job.client,
        request=job.request,
        request_hash=job.request_hash,
        request_salt=job.request_salt,
        seed=job.seed,
        provider=None if receipt is None else receipt.provider,
        image_url=None if receipt is None else f"/v1/jobs/{job.job_id}/image",
        receipt=None if receipt is None else json.loads(receipt.receipt_json),
        receipt_hash=None if receipt is None else receipt.receipt_hash,
        provider_signature=None if receipt is None else receipt.provider_signature,
        prompt_salt=None if receipt is None else receipt.prompt_salt,
        attestation=None if receipt is None else receipt.attestation,
        mint=_mint(receipt),
        delivery=_delivery(receipt),
        attempts=[
            AttemptAnswer(
                provider=attempt.provider,
                outcome=attempt.outcome,
                detail=attempt.detail,
                started_at_ms=attempt.started_at_ms,
                ended_at_ms=attempt.ended_at_ms,
            )
            for attempt in job.attempts
        ],
    )


def describe_finished_job(job: JobRow, png: bytes) -> FinishedJobAnswer:
    """The same with the picture."""
    image = "data:image/png;base64," + base64.b64encode(png).decode()
    return FinishedJobAnswer(**describe_job(job).model_dump(), image_base64=image)


def describe_provider(offer: Offer, bench: Bench) -> ProviderAnswer:
    """An offer and how it stands with this hub."""
    seat = bench.seat(offer.address)
    return ProviderAnswer(
        address=to_checksum_address(offer.address),
        endpoint=offer.endpoint,
        models=list(offer.models),
        price_per_unit=str(offer.price_per_unit),
        unit_type=offer.unit_type,
        vram_mib=offer.vram_mib,
        benched=None if seat is None else seat.reason.value,
        benched_for_s=round(bench.remaining_s(offer.address), 1),
    )


def _mint(receipt: ReceiptRow | None) -> MintAnswer:
    if receipt is None:
        return MintAnswer(state="none", transaction_hash=None, height=None)
    state = "pending" if receipt.mint_transaction is None else "minted"
    return MintAnswer(state=state, transaction_hash=receipt.mint_transaction, height=receipt.mint_height)


def _delivery(receipt: ReceiptRow | None) -> DeliveryAnswer:
    if receipt is None:
        return DeliveryAnswer(state="none", attempts=0, error=None)
    if receipt.delivered_at_ms is not None or receipt.mint_transaction is not None:
        state = "delivered"
    else:
        state = "given_up" if receipt.next_delivery_ms is None else "pending"
    return DeliveryAnswer(state=state, attempts=receipt.delivery_attempts, error=receipt.delivery_error)
