"""The challenge window: how long a receipt waits before it is signed, and what is said against it meanwhile."""

from collections.abc import Mapping
from typing import Protocol

from hub.store import audit, endorsements, promises, receipts
from hub.store.locks import hold_open_job
from hub.store.transaction import Transaction


class Endings(Protocol):
    """How jobs end (`hub.jobs.ending`), in the unit that brings it about."""

    def end_attested(self, transaction: Transaction, job_id: str, now_ms: int, /) -> object:
        """Its receipt has all signatures: the job is done, or failed or cancelled with what was delivered."""

    def withdraw(
        self,
        transaction: Transaction,
        job_id: str,
        refusals: Mapping[str, str],
        reason: str,
        detail: str,
        now_ms: int,
        /,
    ) -> bool:
        """An open job's receipt is withdrawn, for some of its parts must not be paid: others make those again. False
        where it has to stay, because its signing has begun, or because there were too many."""

    def end_unattested(self, transaction: Transaction, job_id: str, reason: str, detail: str, now_ms: int, /) -> object:
        """There will be no attestation: the job has failed."""


def window_until_ms(window_s: float, now_ms: int) -> int:
    """Until when a receipt kept now waits."""
    return now_ms + round(window_s * 1_000)


def dispute(transaction: Transaction, endings: Endings, job_id: str, *, reason: str, detail: str, now_ms: int) -> bool:
    """Something speaks against a receipt that is not attested: it never will be, and the job fails.

    False where it is too late: the attestation is out, or the job has ended.
    """
    if not hold_open_job(transaction, job_id):
        return False
    receipt = receipts.get(transaction, job_id)
    if receipt is None or receipt.attested_at_ms is not None:
        return False
    refuse(transaction, endings, receipt, reason=reason, detail=detail, now_ms=now_ms)
    return True


def dispute_endorsement(transaction: Transaction, receipt_hash: str, *, detail: str, now_ms: int) -> bool:
    """The same for another hub's receipt, which this attester was asked to sign; False where it is too late."""
    if not endorsements.dispute(transaction, receipt_hash, "disputed"):
        return False
    audit.append(transaction, "endorsement_disputed", receipt_hash, {"detail": detail}, now_ms)
    return True


def refuse(
    transaction: Transaction,
    endings: Endings,
    receipt: receipts.Receipt,
    *,
    reason: str,
    detail: str,
    now_ms: int,
) -> None:
    """Ends a job whose receipt nobody will sign, with an entry in the audit log; for whoever holds the job's row."""
    facts = {"job_id": receipt.job_id, "form": receipt.form.value, "reason": reason, "detail": detail}
    audit.append(transaction, "attestation_refused", receipt.receipt_hash, facts, now_ms)
    promises.release(transaction, receipt.job_id)
    endings.end_unattested(transaction, receipt.job_id, reason, detail, now_ms)
