"""From the scheduler's decisions to leases, and from leases to the messages that providers get."""

import secrets
from typing import Final

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.hub_messages import Assignment as AssignmentMessage
from chain.primitives.worker_fields import MAX_SEED, PictureRun
from hub.scheduling.leases import Assignment
from hub.store.jobs import Job
from hub.store.leases import Lease, NewLease
from hub.store.shards import Shard
from hub.workers.desk import WorkerView

MAX_LEASE_S: Final = 86_400.0
_ID_BYTES: Final = 16


def new_id() -> str:
    """A random identifier that receipts and messages take."""
    return secrets.token_hex(_ID_BYTES)


def lease_for(assignment: Assignment, view: WorkerView, now_ms: int) -> NewLease:
    """The lease that the scheduler has decided on, before it is in the database."""
    lease_s = min(assignment.lease_s, MAX_LEASE_S)
    return NewLease(
        lease_id=new_id(),
        job_id=assignment.run.job_id,
        first_picture=assignment.run.first,
        pictures=assignment.count,
        provider=to_checksum_address(assignment.worker),
        session=view.session_id,
        deadline_ms=now_ms + int(lease_s * 1000),
        attributes={"expected_s": assignment.expected_s, "is_warm": assignment.is_warm},
    )


def picture_run(job: Job, first: int, count: int) -> PictureRun:
    """What a provider is to make: `count` pictures of the job from picture `first` on."""
    assert job.prompts is not None
    request = job.request
    prompts = job.prompts if len(job.prompts) == 1 else job.prompts[first : first + count]
    return PictureRun(
        model=job.model or "",
        prompts=tuple(prompts),
        negative_prompt=job.facts.get("negative_prompt", ""),
        steps=request["steps"],
        guidance=request["guidance"],
        width=request["width"],
        height=request["height"],
        seed=(job.seed + first) % (MAX_SEED + 1),
        count=count,
    )


def message_for(job: Job, shard: Shard, lease_id: str, deadline_s: float, most_atoms: int) -> AssignmentMessage:
    """The assignment; `most_atoms` is what the whole job may come to."""
    return AssignmentMessage(
        lease_id=lease_id,
        job_id=job.job_id,
        client=job.client,
        request_hash=job.request_hash,
        client_signature=job.client_signature,
        prompt_salt=job.request_salt,
        run=picture_run(job, shard.first_picture, shard.pictures),
        unit_type=job.facts["unit_type"],
        price_per_unit=str(job.price_per_unit),
        max_amount=str(share_of(most_atoms, shard.pictures, job.images)),
        deadline_s=max(1.0, min(deadline_s, MAX_LEASE_S)),
        preview_every=job.facts.get("preview_every", 0),
    )


def share_of(most_atoms: int, pictures: int, of_pictures: int) -> int:
    """What a shard may come to. The whole is rounded once and the parts each: one atom less, so that it stays below."""
    if pictures == of_pictures:
        return most_atoms
    return max(0, most_atoms * pictures // of_pictures - 1)


def remaining_s(lease: Lease, now_ms: int) -> float:
    """Until it lapses."""
    return max(1.0, (lease.deadline_ms - now_ms) / 1000)
