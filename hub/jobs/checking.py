"""Second looks, as far as units of the database go: which results are sampled, and what follows from a verdict.

The rules are `hub.verification`'s; `examining` brings a check to its verdict.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chain.primitives.hexadecimal import parse_hash, to_hex
from hub.attestation.disputes import dispute
from hub.jobs.ending import CANARY_FACT, CLOSING, Endings
from hub.metrics import HubMetrics
from hub.reputation.noting import note
from hub.reputation.rules import Outcome
from hub.store import audit, checks, jobs, providers, receipts, results
from hub.store.checks import Check, NewCheck, Verdict
from hub.store.jobs import Job
from hub.store.leases import Lease
from hub.store.locks import hold_open_job
from hub.store.results import NewResult, Result, ResultState
from hub.store.shards import Shard
from hub.store.transaction import Transaction
from hub.verification import sampling
from hub.verification.errors import FaultReason
from hub.verification.suspicion import Suspicion

EXAMINATION: Final = "examination"
CANARY: Final = "canary"
_MOST_LOOKED_AGAIN: Final = 1_000
_COMMITMENT: Final = "sampling_key"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a second look came to."""

    verdict: Verdict
    fault: str | None = None
    detail: str = ""
    wrong_checkers: tuple[str, ...] = ()
    """Addresses of those whom two others contradict, or who are alone with their objection."""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome | None:
        """What it says of the provider; None: nothing."""
        if self.verdict == Verdict.FAILED:
            return Outcome.UNOPENED if self.fault == FaultReason.NO_OPENING else Outcome.DISPUTED
        if self.fault == FaultReason.COPIED_PICTURE:  # Whoever asked may have asked for one picture in two ways.
            return None
        return {Verdict.PASSED: Outcome.PASSED, Verdict.DISPUTED: Outcome.DOUBTED}.get(self.verdict)


class Checking:
    """In units of others."""

    def __init__(
        self, key: sampling.SamplingKey, rates: Mapping[str, float], endings: Endings, metrics: HubMetrics
    ) -> None:
        sampling.check_rates(rates)
        self.key = key
        self._rates = rates
        self._endings = endings
        self._metrics = metrics

    def commit_to_key(self, transaction: Transaction, now: int) -> None:
        """Says in the audit log which key draws from here on, before anything is drawn with it."""
        commitment = to_hex(self.key.commitment)
        known = audit.of_subject(transaction, _COMMITMENT)
        if not known or known[-1].data["commitment"] != commitment:
            audit.append(transaction, "sampling_key_committed", _COMMITMENT, {"commitment": commitment}, now)

    def plan(
        self,
        transaction: Transaction,
        job: Job,
        shard: Shard,
        result: NewResult,
        provider: str,
        suspicions: Sequence[Suspicion],
        now: int,
    ) -> None:
        """Adds a check where this result is drawn, or suspicious. Its receipt's hash is the commitment drawn from."""
        record = providers.get(transaction, provider)
        standing = providers.Standing.NEW if record is None else record.standing
        draws = self.key.draws(parse_hash(result.receipt_hash))
        own = job.facts.get(CANARY_FACT)
        is_drawn = own is not None or sampling.is_sampled(draws, self._rates[str(standing)], suspicions)
        transaction.after_commit(lambda: self._metrics.sampled.labels("yes" if is_drawn else "no").inc())
        if not is_drawn:
            return
        evidence = {"standing": str(standing), **_suspected(suspicions)}
        kind = EXAMINATION if own is None or own["of"] is None else CANARY
        check = _check(job.job_id, shard.number, result.lease_id, provider, kind, evidence)
        checks.add(transaction, check, now)

    def conclude(self, transaction: Transaction, check: Check, found: Finding, now: int) -> bool:
        """The verdict with all that follows from it; False where there was one already."""
        word = str(found.fault or found.verdict)
        told = {**found.evidence, "reason": word, "detail": found.detail}
        if not checks.decide(transaction, check.check_id, found.verdict, told, now):
            return False
        if found.verdict in (Verdict.FAILED, Verdict.DISPUTED):
            self._refuse(transaction, check, word, found.detail, now)
        shown = {"job_id": check.job_id, "lease_id": check.lease_id, "reason": word}
        if found.outcome is not None:
            note(transaction, check.provider, found.outcome, now, detail=f"{word}: {found.detail}", evidence=shown)
        for checker in found.wrong_checkers:
            note(transaction, checker, Outcome.DOUBTED, now, detail="others contradict its check", evidence=shown)
        if found.outcome == Outcome.DISPUTED:
            others = results.unchecked_of_provider(transaction, check.provider, limit=_MOST_LOOKED_AGAIN)
            self.look_again(transaction, others, "provider_caught", now)
        transaction.after_commit(lambda: self._metrics.checks.labels(check.kind, str(found.verdict)).inc())
        return True

    def _refuse(self, transaction: Transaction, check: Check, word: str, detail: str, now: int) -> None:
        """Another makes its pictures, also where the receipt waits out its window already: then there will be another
        receipt, as long as this one is not being signed. Else the whole job has failed."""
        if not hold_open_job(transaction, check.job_id):
            return
        job, result = jobs.get(transaction, check.job_id), results.get(transaction, check.lease_id)
        assert job is not None
        if (
            result is None or result.state == ResultState.REFUSED
        ):  # For another reason, meanwhile: the receipt is of what has come since.
            return
        has_receipt = receipts.get(transaction, check.job_id) is not None
        told = f"{word}: {detail}" if detail else word
        if has_receipt and self._endings.withdraw(
            transaction, check.job_id, {check.lease_id: word}, "check_failed", told, now
        ):
            return
        is_made_again = not has_receipt and CLOSING not in job.facts and CANARY_FACT not in job.facts
        results.refuse(transaction, check.lease_id, word, now, again=is_made_again)
        if has_receipt:
            dispute(transaction, self._endings, check.job_id, reason="check_failed", detail=detail or word, now_ms=now)

    def look_again(
        self,
        transaction: Transaction,
        doubtful: Iterable[Result],
        suspicion: str,
        now: int,
        *,
        picture: int | None = None,
    ) -> None:
        """At results of open jobs, whether they were drawn or not; each is looked at once. `picture` is which of a
        result's own is suspicious; None: all of them."""
        for result in sorted(doubtful, key=lambda each: (each.job_id, each.number)):
            # Held to the commit, so that nobody attests it meanwhile, who has not seen this check.
            is_open = hold_open_job(transaction, result.job_id)
            if not is_open or checks.get(transaction, result.lease_id) is not None:
                continue
            evidence = _suspected([Suspicion(suspicion, "", picture)])
            check = _check(result.job_id, result.number, result.lease_id, result.provider, EXAMINATION, evidence)
            checks.add(transaction, check, now)

    def note_lie(self, transaction: Transaction, lease: Lease, reason: str, detail: str, now: int) -> None:
        """An answer that no honest provider gives."""
        shown = {"job_id": lease.job_id, "lease_id": lease.lease_id, "reason": reason}
        note(transaction, lease.provider, Outcome.LIED, now, detail=f"{reason}: {detail}", evidence=shown)

    def note_failure(self, transaction: Transaction, lease: Lease, outcome: Outcome, reason: str, now: int) -> None:
        """No answer, or none in time."""
        shown = {"job_id": lease.job_id, "lease_id": lease.lease_id, "reason": reason}
        note(transaction, lease.provider, outcome, now, detail=reason, evidence=shown)


def _suspected(suspicions: Sequence[Suspicion]) -> dict[str, Any]:
    """For a check's evidence."""
    return {
        "suspicions": list(dict.fromkeys(str(each.reason) for each in suspicions)),
        "suspected": sorted({each.picture for each in suspicions if each.picture is not None}),
    }


def _check(job_id: str, shard: int, lease_id: str, provider: str, kind: str, evidence: dict[str, Any]) -> NewCheck:
    """One look at each result."""
    return NewCheck(
        check_id=lease_id,
        job_id=job_id,
        shard=shard,
        lease_id=lease_id,
        provider=provider,
        kind=kind,
        evidence=evidence,
    )
