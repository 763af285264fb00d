"""A finished computation, its pictures stored, becomes a signed receipt and an answer: both durable, or neither."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import Signer
from chain.primitives.profiles import profile_object
from chain.primitives.types import Hash32
from provider.engine.record import FinishedJob as ComputedJob
from provider.generation import ReproducibilityProfile
from provider.jobs.answers import FinishedAnswer
from provider.jobs.commission import Commission
from provider.jobs.errors import OrderRefused
from provider.monitoring.tracing import JobSpans
from provider.receipts.issuing import ServedWork, SignedReceipt, issue_receipt, trajectory_context
from provider.receipts.trajectories import Trajectories
from provider.storage.job_log import JobLog
from provider.storage.outbox import DuplicateJobError
from provider.storage.rows import FinishedJob, JobRecord, NewReceipt


@dataclass(frozen=True)
class CompletionTools:
    """Where receipts and latents go, and who signs."""

    key: Signer
    job_log: JobLog
    trajectories: Trajectories


class Completion:
    """The end of every job that was computed. All of it blocks."""

    def __init__(self, tools: CompletionTools) -> None:
        self._tools = tools

    def complete(
        self,
        commission: Commission,
        job_id: str,
        computed: ComputedJob,
        *,
        artifacts: tuple[str, ...],
        spans: JobSpans,
    ) -> tuple[FinishedAnswer, JobRecord]:
        """The answer, once receipt, answer and the job's end are on disk together.

        `artifacts` are the names under which the pictures are kept already. Raises StorageError and OrderRefused; then
        there is no receipt.
        """
        with spans.part("sign"):
            root, signed = self._sign(commission, job_id, computed)
        try:
            answer = _answer(commission, job_id, computed, signed, artifacts)
            record = self._commit(commission, answer, signed)
        except BaseException:
            self._discard(root)
            raise
        return answer, record

    def _sign(self, commission: Commission, job_id: str, computed: ComputedJob) -> tuple[Hash32 | None, SignedReceipt]:
        """The receipt, and the root of the latents that are kept for its challenge window."""
        work = ServedWork(
            picture_digests=tuple(hashlib.sha256(row.picture).digest() for row in computed.pictures),
            compute_microseconds=computed.compute_microseconds,
            started_at=computed.started_at,
            finished_at=computed.finished_at,
        )
        origin = commission.origin(job_id)
        root: Hash32 | None = None
        rows = [row.trajectory for row in computed.pictures if row.trajectory is not None]
        if len(rows) == len(computed.pictures):
            profiles = _profiles(computed)
            context = trajectory_context(commission.provider, commission.offer, origin, work, profiles)
            root = self._tools.trajectories.keep(context, rows, profiles)
        try:
            signed = issue_receipt(
                self._tools.key,
                commission.offer,
                origin,
                work,
                prompt_hash=commission.prompt_hash,
                trajectory_root=root,
                max_price=commission.max_price,
            )
        except BaseException:
            self._discard(root)
            raise
        return root, signed

    def _discard(self, root: Hash32 | None) -> None:
        """Latents without a receipt are nobody's, and would push out those of others."""
        if root is not None:
            self._tools.trajectories.discard(root)

    def _commit(self, commission: Commission, answer: FinishedAnswer, signed: SignedReceipt) -> JobRecord:
        finished = FinishedJob(
            duration_ms=answer.duration_ms,
            compute_microseconds=answer.compute_microseconds,
            bytes_out=answer.bytes_out,
            prompt_hash=commission.prompt_hash,
            artifacts=answer.artifacts,
        )
        receipt = NewReceipt(
            receipt_hash=signed.receipt_hash,
            hub_id=signed.receipt.hub_id,
            job_id=signed.receipt.job_id,
            key_name=commission.order.caller.name,
            request_fingerprint=hashlib.sha256(commission.salt + commission.order.asked).digest(),
            receipt_json=signed.receipt.canonical_bytes(),
            provider_signature=signed.signature,
            prompt_salt=commission.salt,
            answer_json=answer.stored_json(),
            lease_id="" if commission.order.lease is None else commission.order.lease.lease_id,
        )
        try:
            return self._tools.job_log.finish_with_receipt(answer.provider_job_id, finished, receipt)
        except DuplicateJobError as error:
            raise OrderRefused(str(error), reason="duplicate_job", field="job") from None


def _profiles(computed: ComputedJob) -> Sequence[ReproducibilityProfile]:
    """One per picture."""
    return tuple(computed.profiles[index] for index in computed.profile_of)


def _answer(
    commission: Commission,
    job_id: str,
    computed: ComputedJob,
    signed: SignedReceipt,
    artifacts: tuple[str, ...],
) -> FinishedAnswer:
    request = commission.order.request
    receipt = signed.receipt.to_object()
    has_root = "trajectory_root" in receipt
    return FinishedAnswer(
        job_id=signed.receipt.job_id,
        provider_job_id=job_id,
        created_at_s=int(computed.finished_at),
        seeds=tuple(request.seed_of(index) for index in range(request.count)),
        steps=request.steps,
        width=request.width,
        height=request.height,
        scheduler=request.scheduler,
        format=request.encoding.format,
        model=request.model,
        duration_ms=(time.monotonic_ns() - commission.received_ns) // 1_000_000,
        compute_microseconds=computed.compute_microseconds,
        device=computed.device.kind,
        gpu=computed.device.name,
        receipt=msgspec.to_builtins(receipt),
        receipt_hash=to_hex(signed.receipt_hash),
        provider_signature=to_hex(signed.signature),
        prompt_salt=to_hex(commission.salt),
        profiles=tuple(profile_object(profile) for profile in _profiles(computed)) if has_root else (),
        artifacts=artifacts,
        pictures=tuple(row.picture for row in computed.pictures),
    )
