"""The last step of a job, in one unit with all that goes with it: it happens once, whoever tries it again."""

import json
from collections.abc import Mapping
from typing import Any, Final

from hub.attestation.disputes import dispute
from hub.attestation.forms import FEE_FACT
from hub.metrics import HubMetrics
from hub.store import audit, jobs, promises, receipts, results, webhooks
from hub.store.endorsements import MOST_RECEIPTS
from hub.store.jobs import Job, JobState
from hub.store.locks import hold_open_job
from hub.store.transaction import Transaction

CLOSING: Final = "closing"
"""The fact that says how a job that is closed early shall end, once what was delivered of it is attested."""
WEBHOOK: Final = "webhook"
CANARY_FACT: Final = "canary"
"""A job of the hub's own: which earlier one has the same run (`of`), None where its answer is to be found out."""
WITHDRAWN: Final = "withdrawn"
"""The fact that says how many receipts of a job were withdrawn."""
DISPUTED: Final = "disputed"
"""What a job fails for whose receipt the operator disputes."""


class Endings:
    """`hub.attestation.disputes.Endings`, and what the attendant ends by itself."""

    def __init__(self, metrics: HubMetrics) -> None:
        self._metrics = metrics

    def end_attested(self, transaction: Transaction, job_id: str, now_ms: int) -> None:
        """The receipt is attested: done, or how it was to be closed with what there was; nothing where it had ended."""
        job = jobs.get(transaction, job_id)
        if job is None or job.ended_at_ms is not None:
            return
        jobs.set_state(transaction, job_id, JobState.ATTESTED, only_from=(JobState.VERIFYING,), now_ms=now_ms)
        closing = job.facts.get(CLOSING)
        if closing is None:
            self.finish(transaction, job, JobState.DONE, None, None, now_ms)
            return
        self.finish(transaction, job, JobState(closing["state"]), closing["reason"], closing["detail"], now_ms)

    def end_unattested(self, transaction: Transaction, job_id: str, reason: str, detail: str, now_ms: int) -> None:
        """The receipt will never be attested, or there is none."""
        job = jobs.get(transaction, job_id)
        if job is not None and job.ended_at_ms is None:
            self.finish(transaction, job, JobState.FAILED, reason, detail, now_ms)

    def withdraw(
        self,
        transaction: Transaction,
        job_id: str,
        refusals: Mapping[str, str],
        reason: str,
        detail: str,
        now_ms: int,
    ) -> bool:
        """The results of these leases do not count any more, each for its reason, and the receipt goes with them.

        Others make those pictures again; the last time, and where the job is closing, it is attested without them. For
        whoever holds the job's row. False where the receipt has to stay: its signing has begun, or it is the last one
        that other attesters would look at.
        """
        job, receipt = jobs.get(transaction, job_id), receipts.get(transaction, job_id)
        assert job is not None
        count = job.facts.get(WITHDRAWN, 0) + 1
        if receipt is None or count >= MOST_RECEIPTS or not receipts.withdraw(transaction, job_id):
            return False
        facts: dict[str, Any] = {WITHDRAWN: count, FEE_FACT: None}
        is_made_again = CLOSING not in job.facts and CANARY_FACT not in job.facts and count < MOST_RECEIPTS - 1
        if not is_made_again and CLOSING not in job.facts:
            facts[CLOSING] = {"state": str(JobState.FAILED), "reason": reason, "detail": detail}
        jobs.keep_facts(transaction, job_id, **facts)
        for lease_id, word in refusals.items():
            results.refuse(transaction, lease_id, word, now_ms, again=is_made_again)
        told = {"job_id": job_id, "form": receipt.form.value, "reason": reason, "detail": detail}
        audit.append(transaction, "receipt_withdrawn", receipt.receipt_hash, told, now_ms)
        return True

    def dispute(self, transaction: Transaction, job_id: str, detail: str, now_ms: int) -> str | None:
        """The operator's word against a receipt, also while a part of it is being made again: there will be no other.

        None where it was heard; else a sentence that says why it is too early or too late.
        """
        if dispute(transaction, self, job_id, reason=DISPUTED, detail=detail, now_ms=now_ms):
            return None
        job = jobs.get(transaction, job_id) if hold_open_job(transaction, job_id) else None
        if job is None or receipts.get(transaction, job_id) is not None:
            return "there is no such receipt, or it is signed already: that cannot be taken back"
        if not job.facts.get(WITHDRAWN, 0):
            return "this job has no receipt yet, because it is not done; dispute it while its receipt waits"
        told = {"job_id": job_id, "reason": DISPUTED, "detail": detail}
        audit.append(transaction, "attestation_refused", job_id, told, now_ms)
        self.end_unattested(transaction, job_id, DISPUTED, detail, now_ms)
        return None

    def finish(
        self,
        transaction: Transaction,
        job: Job,
        state: JobState,
        reason: str | None,
        detail: str | None,
        now_ms: int,
    ) -> bool:
        """Ends it and has its client told; False where it had ended already."""
        if not jobs.end(transaction, job.job_id, state, reason=reason, detail=detail, now_ms=now_ms):
            return False
        transaction.after_commit(lambda: self._metrics.count_end(state, (now_ms - job.created_at_ms) / 1000))
        if job.is_paid and receipts.get(transaction, job.job_id) is None:
            promises.release(transaction, job.job_id)
        target = job.facts.get(WEBHOOK)
        if "negative_prompt" in job.facts:
            jobs.keep_facts(transaction, job.job_id, negative_prompt="")
        if target is not None:
            body = _told(job, state, reason, detail, now_ms)
            webhooks.add(
                transaction,
                job.job_id,
                url=target["url"],
                secret=target["secret"],
                event=body["event"],
                body=json.dumps(body),
                now_ms=now_ms,
            )
            jobs.keep_facts(transaction, job.job_id, **{WEBHOOK: {"url": target["url"]}})
        return True


def _told(job: Job, state: JobState, reason: str | None, detail: str | None, now_ms: int) -> dict[str, Any]:
    """What the client's server hears: no prompt, no picture."""
    return {
        "event": f"job.{state}",
        "job_id": job.job_id,
        "status": str(state),
        "reason": reason,
        "detail": detail,
        "pictures_done": job.pictures_done,
        "pictures": job.images,
        "created_at_ms": job.created_at_ms,
        "ended_at_ms": now_ms,
    }
