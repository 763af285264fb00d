"""Rows as answers. Nothing of a receipt is shown before it is attested."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.receipt import kept_receipt
from chain.primitives.units import MICRO
from hub.http.answers import (
    AttemptAnswer,
    DeliveryAnswer,
    EstimateAnswer,
    JobAnswer,
    JobSummary,
    MintAnswer,
    PayoutAnswer,
    PictureAnswer,
    ShardAnswer,
)
from hub.http.links import Links
from hub.orders.pricing import Offered
from hub.store import jobs, leases, receipts, results, shards
from hub.store.jobs import Job
from hub.store.leases import Lease
from hub.store.receipts import Receipt
from hub.store.results import Picture, Result
from hub.store.shards import Shard
from hub.store.transaction import Reader


@dataclass(frozen=True, slots=True)
class JobView:
    """All rows of a job."""

    job: Job
    shards: Sequence[Shard]
    results: Sequence[Result]
    pictures: Sequence[Picture]
    leases: Sequence[Lease]
    receipt: Receipt | None


def view_of(reader: Reader, job_id: str) -> JobView | None:
    """From one consistent view of the database."""
    job = jobs.get(reader, job_id)
    if job is None:
        return None
    return JobView(
        job=job,
        shards=shards.of_job(reader, job_id),
        results=results.of_job(reader, job_id),
        pictures=results.pictures(reader, job_id),
        leases=leases.of_job(reader, job_id),
        receipt=receipts.get(reader, job_id),
    )


def describe(view: JobView, links: Links, inline: dict[str, bytes] | None = None) -> JobAnswer:
    """`inline`: the pictures' bytes by SHA-256, where they were asked for."""
    job = view.job
    receipt = view.receipt if view.receipt is not None and view.receipt.attestation is not None else None
    return JobAnswer(
        job_id=job.job_id,
        status=str(job.state),
        reason=job.failure_reason,
        detail=job.failure_detail,
        created_at_ms=job.created_at_ms,
        started_at_ms=job.started_at_ms,
        ended_at_ms=job.ended_at_ms,
        deadline_ms=job.deadline_ms,
        client=job.client,
        model=job.model,
        request=job.request,
        request_hash=job.request_hash,
        request_salt=job.request_salt,
        seed=job.seed,
        pictures_asked=job.images,
        pictures_done=job.pictures_done,
        unit_type=job.facts.get("unit_type"),
        price_per_unit=None if job.price_per_unit is None else str(job.price_per_unit),
        pictures=[_picture(job, row, links, inline) for row in view.pictures],
        shards=_shards(view),
        attempts=[_attempt(lease) for lease in view.leases],
        provider=None if receipt is None else receipt.provider,
        payouts=[] if receipt is None else _payouts(receipt),
        receipt=None if receipt is None else json.loads(receipt.receipt_json),
        receipt_hash=None if receipt is None else receipt.receipt_hash,
        provider_signature=None if receipt is None else receipt.provider_signature,
        prompt_salt=None if receipt is None else receipt.prompt_salt,
        attestation=None if receipt is None else receipt.attestation,
        mint=_mint(receipt),
        delivery=_delivery(receipt),
        last_event=job.event_count,
    )


def summarise(job: Job) -> JobSummary:
    """For a list."""
    return JobSummary(
        job_id=job.job_id,
        status=str(job.state),
        reason=job.failure_reason,
        created_at_ms=job.created_at_ms,
        ended_at_ms=job.ended_at_ms,
        model=job.model,
        pictures_asked=job.images,
        pictures_done=job.pictures_done,
    )


def describe_offer(offered: Offered) -> EstimateAnswer:
    """Of a dry run."""
    quote = offered.quote
    return EstimateAnswer(
        model=offered.need.model,
        unit_type=quote.unit_type,
        price_per_unit=str(quote.price_per_unit),
        least_amount=str(quote.least_atoms),
        most_amount=str(quote.most_atoms),
        starts_in_s=round(quote.estimate.starts_s, 1),
        ends_in_s=round(quote.estimate.ends_s, 1),
        ends_late_in_s=round(quote.estimate.ends_late_s, 1),
        providers=quote.estimate.workers,
    )


def _picture(job: Job, row: Picture, links: Links, inline: dict[str, bytes] | None) -> PictureAnswer:
    octets = None if inline is None else inline.get(row.sha256)
    data = None if octets is None else f"data:{row.media_type};base64,{base64.b64encode(octets).decode()}"
    return PictureAnswer(
        number=row.picture,
        seed=job.seed + row.picture,
        sha256=row.sha256,
        media_type=row.media_type,
        width=row.width,
        height=row.height,
        bytes=row.bytes,
        url=links.picture(job.job_id, row.picture),
        image_base64=data,
    )


def _shards(view: JobView) -> list[ShardAnswer]:
    found = {result.lease_id: result for result in view.results}
    answers = []
    for shard in view.shards:
        result = None if shard.lease_id is None else found.get(shard.lease_id)
        answers.append(
            ShardAnswer(
                number=shard.number,
                first_picture=shard.first_picture,
                pictures=shard.pictures,
                state=str(shard.state),
                attempts=shard.attempts,
                provider=None if result is None else result.provider,
                receipt_hash=None if result is None else result.receipt_hash,
                units=None if result is None else f"{result.micro_units / MICRO:f}",
                amount=None if result is None else str(result.amount),
            )
        )
    return answers


def _attempt(lease: Lease) -> AttemptAnswer:
    return AttemptAnswer(
        shard=lease.number,
        provider=lease.provider,
        state=str(lease.state),
        outcome=lease.outcome,
        detail=lease.detail,
        started_at_ms=lease.started_at_ms,
        ended_at_ms=lease.ended_at_ms,
    )


def _payouts(receipt: Receipt) -> list[PayoutAnswer]:
    payouts = kept_receipt(receipt.receipt_json).payouts()
    return [PayoutAnswer(provider=to_checksum_address(who), amount=str(amount)) for who, amount in payouts]


def _mint(receipt: Receipt | None) -> MintAnswer:
    if receipt is None:
        return MintAnswer(form=None, state="none", transaction_hash=None, height=None)
    state = "pending" if receipt.chain_transaction is None else "minted"
    return MintAnswer(
        form=str(receipt.form), state=state, transaction_hash=receipt.chain_transaction, height=receipt.chain_height
    )


def _delivery(receipt: Receipt | None) -> DeliveryAnswer:
    if receipt is None:
        return DeliveryAnswer(state="none", attempts=0, error=None)
    if receipt.delivered_at_ms is not None or receipt.chain_transaction is not None:
        state = "delivered"
    else:
        state = "given_up" if receipt.next_delivery_ms is None else "pending"
    return DeliveryAnswer(state=state, attempts=receipt.delivery_attempts, error=receipt.delivery_error)
