"""A whole job's results accepted and its receipt kept, in one unit: from then on it is `hub.attestation`'s."""

from collections.abc import Sequence
from typing import Final

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.receipt import Receipt
from hub.attestation.disputes import window_until_ms
from hub.attestation.forms import form_of
from hub.jobs.composing import is_whole
from hub.jobs.ending import CLOSING
from hub.metrics import HubMetrics
from hub.reputation.noting import note
from hub.reputation.rules import Outcome, is_late
from hub.store import checks, jobs, receipts, results
from hub.store.jobs import Job, JobState
from hub.store.receipts import NewReceipt
from hub.store.results import Result, ResultState
from hub.store.transaction import Transaction

BEFORE_CHECKS: Final = (JobState.QUEUED, JobState.RUNNING)
_JITTER_S: Final = 1.0
"""Of networks and queues, which says nothing about a provider: pictures of a few milliseconds are never late by it."""


class Keeping:
    """In units of others."""

    def __init__(self, metrics: HubMetrics, *, challenge_window_s: float, asks_others: bool) -> None:
        """`asks_others`: whether other hubs' attesters are asked, who may refuse a part of a receipt."""
        self._metrics = metrics
        self._challenge_window_s = challenge_window_s
        self._is_withdrawable = asks_others or challenge_window_s > 0

    def keep(
        self,
        transaction: Transaction,
        job: Job,
        found: Sequence[Result],
        receipt: Receipt,
        signature: str,
        now_ms: int,
    ) -> None:
        """For whoever holds the job's row, and has seen that nothing of it is looked at."""
        accept(transaction, job.job_id, found, now_ms)
        form = form_of(receipt, is_paid=job.is_paid)
        row = NewReceipt(
            job_id=job.job_id,
            receipt_hash=to_hex(receipt.hash),
            provider=to_checksum_address(receipt.provider),
            receipt_json=receipt.canonical_bytes().decode(),
            provider_signature=signature,
            prompt_salt=job.request_salt,
            micro_units=receipt.micro_units,
            amount=receipt.amount,
            artifact_sha256=receipt.artifact_sha256,
            form=form,
            window_until_ms=window_until_ms(self._challenge_window_s, now_ms),
            is_withdrawable=self._is_withdrawable,
        )
        receipts.keep(transaction, row, now_ms)
        transaction.after_commit(lambda: self._metrics.composed.labels(str(form)).inc())

    def keep_whole(self, transaction: Transaction, job_id: str, receipt: Receipt, now_ms: int) -> bool:
        """In the unit that delivers this receipt's result, where that is all of its job. False where the attendant has
        to look: something of it is checked, or its client has cancelled, or there are other parts."""
        job = jobs.get(transaction, job_id)
        if job is None or job.ended_at_ms is not None or job.pictures_done < job.images:
            return False
        if job.cancel_requested_at_ms is not None or CLOSING in job.facts or not is_whole(job, [receipt]):
            return False
        if checks.open_of_job(transaction, job_id) or receipts.get(transaction, job_id) is not None:
            return False
        found = results.of_job(transaction, job_id)
        if [result.receipt_hash for result in found] != [to_hex(receipt.hash)]:
            return False
        self.keep(transaction, job, found, receipt, found[0].provider_signature, now_ms)
        return True


def set_verifying(transaction: Transaction, job_id: str, now_ms: int) -> None:
    """All of it is there."""
    jobs.set_state(transaction, job_id, JobState.VERIFYING, only_from=BEFORE_CHECKS, now_ms=now_ms)


def accept(transaction: Transaction, job_id: str, found: Sequence[Result], now_ms: int) -> None:
    """All checks are over; what was accepted before stays so."""
    set_verifying(transaction, job_id, now_ms)
    for result in found:
        if result.state == ResultState.DELIVERED and results.accept(transaction, result.lease_id, now_ms):
            note(transaction, result.provider, _outcome_of(result), now_ms, micro_units=result.micro_units)


def _outcome_of(result: Result) -> Outcome:
    """Whether it came in the time that its provider has shown to need for such pictures."""
    took_s, expected_s = (float(result.facts.get(name) or 0.0) for name in ("wall_s", "expected_s"))
    return Outcome.LATE if is_late(took_s - _JITTER_S, expected_s) else Outcome.SERVED
