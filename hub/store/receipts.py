"""The receipt of each whole job, attestations of it, and how far both have come: to the provider, and on the chain."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, bindparam, case, delete, exists, func, select, update

from hub.store.errors import AlreadyUsed
from hub.store.records import columns_of, made
from hub.store.statements import Prepared
from hub.store.tables.jobs import JOBS
from hub.store.tables.providers import CHECKS
from hub.store.tables.receipts import ATTESTATIONS, RECEIPTS
from hub.store.transaction import Reader, Transaction

ATTESTATION_TOPIC: Final = "attestation"
"""Announced when a receipt was kept, signed, or sent on."""


class Form(StrEnum):
    """What the attestation is good for: a receipt is used once, whichever way."""

    MINT = "mint"
    MINT_SPLIT = "mint_split"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReceipt:
    """A job's receipt, signed by its provider; `amount` in atoms."""

    job_id: str
    receipt_hash: str
    provider: str
    receipt_json: str
    provider_signature: str
    prompt_salt: str
    micro_units: int
    amount: int
    artifact_sha256: str
    form: Form
    window_until_ms: int = 0
    """Until when it may be challenged: it is attested or minted later."""
    is_withdrawable: bool = False
    """Whether another may take its place. Not any more once this hub's attester signs it (`begin_signing`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(NewReceipt):
    """A receipt as it is."""

    kept_at_ms: int
    attestation: str | None
    """As it goes on chain, several attesters' one after the other."""
    attested_at_ms: int | None
    delivered_at_ms: int | None
    delivery_attempts: int
    delivery_error: str | None
    next_delivery_ms: int | None
    """When to try next; None when there is nothing to deliver (any more)."""
    chain_transaction: str | None
    chain_height: int | None
    next_chain_check_ms: int | None
    """When to look for it on the chain next; None before the attestation, and once it is final there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """One attester's signature."""

    receipt_hash: str
    attester: str
    form: Form
    signature: str
    at_ms: int


_RECEIPT: Final = select(*columns_of(RECEIPTS, Receipt))
_MOST_NAMED: Final = 500
"""Values that one statement names."""


def _receipt_of(row: Any) -> Receipt:
    return made(Receipt, {**row, "form": Form(row["form"])})


def keep(transaction: Transaction, receipt: NewReceipt, now_ms: int, *, attestation: str | None = None) -> None:
    """One per job, until it is withdrawn; `attestation` where it is signed already (`attested` otherwise, later).

    The same again is fine; another raises AlreadyUsed (`job_id`).
    """
    kept = None if transaction.is_first_try else get(transaction, receipt.job_id)
    if kept is not None:
        if kept.receipt_hash != receipt.receipt_hash:
            raise AlreadyUsed("job_id")
        if attestation is not None:
            attested(transaction, receipt.job_id, receipt.receipt_hash, attestation, now_ms)
        return
    due_ms = None if attestation is None else now_ms
    transaction.insert(
        RECEIPTS,
        job_id=receipt.job_id,
        receipt_hash=receipt.receipt_hash,
        provider=receipt.provider,
        receipt_json=receipt.receipt_json,
        provider_signature=receipt.provider_signature,
        prompt_salt=receipt.prompt_salt,
        micro_units=receipt.micro_units,
        amount=receipt.amount,
        artifact_sha256=receipt.artifact_sha256,
        form=receipt.form,
        window_until_ms=receipt.window_until_ms,
        is_withdrawable=receipt.is_withdrawable,
        kept_at_ms=now_ms,
        attestation=attestation,
        attested_at_ms=due_ms,
        next_delivery_ms=due_ms,
        next_chain_check_ms=due_ms,
    )
    transaction.announce(ATTESTATION_TOPIC)


_BY_JOB: Final = Prepared(_RECEIPT.where(RECEIPTS.c.job_id == bindparam("the_job")))
_BY_HASH: Final = Prepared(_RECEIPT.where(RECEIPTS.c.receipt_hash == bindparam("the_hash")))


def get(reader: Reader, job_id: str) -> Receipt | None:
    """The job's."""
    row = reader.execute(_BY_JOB, {"the_job": job_id}).mappings().one_or_none()
    return None if row is None else _receipt_of(row)


def of_hash(reader: Reader, receipt_hash: str) -> Receipt | None:
    """The one with this hash."""
    row = reader.execute(_BY_HASH, {"the_hash": receipt_hash}).mappings().one_or_none()
    return None if row is None else _receipt_of(row)


def withdraw(transaction: Transaction, job_id: str) -> bool:
    """Forgets it, and what others have signed of it, so that the job may have another; False where it must stay."""
    transaction.flush()  # What is signed at the same moment is forgotten, too.
    gone = delete(RECEIPTS).where(
        RECEIPTS.c.job_id == job_id, RECEIPTS.c.is_withdrawable, RECEIPTS.c.attested_at_ms.is_(None)
    )
    receipt_hash = transaction.execute(gone.returning(RECEIPTS.c.receipt_hash)).scalar_one_or_none()
    if receipt_hash is None:
        return False
    transaction.execute(delete(ATTESTATIONS).where(ATTESTATIONS.c.receipt_hash == receipt_hash))
    return True


# Attestations

_SIGNATURE: Final = Prepared(
    select(ATTESTATIONS.c.form, ATTESTATIONS.c.signature).where(
        ATTESTATIONS.c.receipt_hash == bindparam("the_hash"), ATTESTATIONS.c.attester == bindparam("the_attester")
    )
)
_SIGNATURES: Final = Prepared(
    select(*columns_of(ATTESTATIONS, Attestation)).where(ATTESTATIONS.c.receipt_hash == bindparam("the_hash"))
)
_ATTESTED: Final = Prepared(
    update(RECEIPTS)
    .where(
        RECEIPTS.c.job_id == bindparam("the_job"),
        RECEIPTS.c.receipt_hash == bindparam("the_hash"),
        RECEIPTS.c.attested_at_ms.is_(None),
    )
    .values(
        attestation=bindparam("signatures"),
        attested_at_ms=bindparam("now"),
        next_delivery_ms=bindparam("now"),
        next_chain_check_ms=bindparam("now"),
    )
)
_DUE: Final = Prepared(
    _RECEIPT.join_from(RECEIPTS, JOBS, RECEIPTS.c.job_id == JOBS.c.job_id)
    .where(
        RECEIPTS.c.attested_at_ms.is_(None),
        RECEIPTS.c.window_until_ms <= bindparam("now"),
        JOBS.c.ended_at_ms.is_(None),
        ~exists().where(CHECKS.c.job_id == RECEIPTS.c.job_id, CHECKS.c.verdict.is_(None)),
    )
    .order_by(RECEIPTS.c.window_until_ms)
    .limit(bindparam("most"))
)
_NEXT_WINDOW: Final = Prepared(
    select(RECEIPTS.c.window_until_ms)
    .join_from(RECEIPTS, JOBS, RECEIPTS.c.job_id == JOBS.c.job_id)
    .where(
        RECEIPTS.c.attested_at_ms.is_(None),
        RECEIPTS.c.window_until_ms > bindparam("now"),
        JOBS.c.ended_at_ms.is_(None),
    )
    .order_by(RECEIPTS.c.window_until_ms)
    .limit(1)
)


def begin_signing(transaction: Transaction, receipt_hash: str) -> bool:
    """This hub's attester signs it: it stays. False where it was withdrawn."""
    change = update(RECEIPTS).where(RECEIPTS.c.receipt_hash == receipt_hash).values(is_withdrawable=False)
    return transaction.execute(change).rowcount == 1


def add_attestation(
    transaction: Transaction, receipt_hash: str, *, attester: str, form: Form, signature: str, now_ms: int
) -> None:
    """One attester signs a receipt once. The same again is fine; another raises AlreadyUsed (`attester`)."""
    which = {"the_hash": receipt_hash, "the_attester": attester}
    row = transaction.execute(_SIGNATURE, which).one_or_none()
    if row is not None:
        if (row.form, row.signature) != (form, signature):
            raise AlreadyUsed("attester")
        return
    transaction.insert(
        ATTESTATIONS, receipt_hash=receipt_hash, attester=attester, form=form, signature=signature, at_ms=now_ms
    )
    transaction.announce(ATTESTATION_TOPIC)


def attestations(reader: Reader, receipt_hash: str) -> list[Attestation]:
    """Ascending by the attester's address, as the chain wants the signatures."""
    rows = reader.execute(_SIGNATURES, {"the_hash": receipt_hash}).mappings()
    found = [made(Attestation, {**row, "form": Form(row["form"])}) for row in rows]
    return sorted(found, key=lambda item: item.attester.lower())


def signed_by(reader: Reader, attester: str, *, limit: int, offset: int) -> list[Receipt]:
    """Receipts with this attester's signature, the newest signature first."""
    query = (
        _RECEIPT.join_from(RECEIPTS, ATTESTATIONS, RECEIPTS.c.receipt_hash == ATTESTATIONS.c.receipt_hash)
        .where(ATTESTATIONS.c.attester == attester)
        .order_by(ATTESTATIONS.c.at_ms.desc(), RECEIPTS.c.receipt_hash)
        .limit(limit)
        .offset(offset)
    )
    return [_receipt_of(row) for row in reader.execute(query).mappings()]


def attested(transaction: Transaction, job_id: str, receipt_hash: str, attestation: str, now_ms: int) -> bool:
    """The bytes that go on chain are complete: delivery and the look-out for the chain are due at once. False where
    they were before, or where the job's receipt is not this one (any more)."""
    step = {"the_job": job_id, "the_hash": receipt_hash, "signatures": attestation, "now": now_ms}
    done = transaction.execute(_ATTESTED, step)
    transaction.announce(ATTESTATION_TOPIC)
    return done.rowcount == 1


def due_for_attestation(reader: Reader, now_ms: int, *, limit: int) -> list[Receipt]:
    """Not attested, their window over, their job open, no look at any of it under way; the longest waiting first."""
    return [_receipt_of(row) for row in reader.execute(_DUE, {"now": now_ms, "most": limit}).mappings()]


def next_window_ms(reader: Reader, now_ms: int) -> int | None:
    """When the next window of an open job's receipt is over; None where none is open."""
    next_ms: int | None = reader.execute(_NEXT_WINDOW, {"now": now_ms}).scalar_one_or_none()
    return next_ms


# To the provider, and on the chain

_TO_DELIVER: Final = (
    _RECEIPT.where(
        RECEIPTS.c.next_delivery_ms.is_not(None),
        RECEIPTS.c.next_delivery_ms <= bindparam("now"),
        RECEIPTS.c.provider.not_in(bindparam("but_providers", expanding=True)),
        RECEIPTS.c.job_id.not_in(bindparam("but_jobs", expanding=True)),
    )
    .order_by(RECEIPTS.c.next_delivery_ms)
    .limit(bindparam("most"))
)
_TRIED: Final = Prepared(
    update(RECEIPTS)
    .where(RECEIPTS.c.job_id == bindparam("the_job"))
    .values(
        delivery_attempts=RECEIPTS.c.delivery_attempts + 1,
        delivery_error=bindparam("error"),
        delivered_at_ms=func.coalesce(bindparam("done_ms", type_=BigInteger), RECEIPTS.c.delivered_at_ms),
        # What was seen on the chain meanwhile has ended the attempts.
        next_delivery_ms=case(
            (RECEIPTS.c.chain_transaction.is_(None), bindparam("next_ms", type_=BigInteger)),
            else_=RECEIPTS.c.next_delivery_ms,
        ),
    )
)
_POSTPONED: Final = Prepared(
    update(RECEIPTS)
    .where(RECEIPTS.c.job_id == bindparam("the_job"), RECEIPTS.c.chain_transaction.is_(None))
    .values(next_chain_check_ms=bindparam("next_ms"))
)


def due_deliveries(
    reader: Reader, now_ms: int, *, limit: int, without: Collection[str] = (), under_way: Collection[str] = ()
) -> list[Receipt]:
    """Attested receipts whose next delivery is due, the longest waiting first; `without` these providers' and those
    jobs whose delivery is under way."""
    step = {"now": now_ms, "most": limit, "but_providers": sorted(without), "but_jobs": sorted(under_way)}
    return [_receipt_of(row) for row in reader.execute(_TO_DELIVER, step).mappings()]


def note_delivery(
    transaction: Transaction, job_id: str, *, error: str | None, next_ms: int | None, now_ms: int
) -> None:
    """The outcome of one delivery: no error means that the provider has it; `next_ms` None ends the attempts."""
    done_ms = now_ms if error is None else None
    transaction.execute(_TRIED, {"the_job": job_id, "error": error, "done_ms": done_ms, "next_ms": next_ms})


def deliver_again(transaction: Transaction, provider: str, now_ms: int) -> int:
    """The provider is back: what it does not have yet is due now; how many that are."""
    due = RECEIPTS.c.next_delivery_ms
    woken = transaction.execute(
        update(RECEIPTS).where(due.is_not(None), RECEIPTS.c.provider == provider).values(next_delivery_ms=now_ms)
    )
    if woken.rowcount:
        transaction.announce(ATTESTATION_TOPIC)
    return woken.rowcount


def not_on_chain(reader: Reader, receipt_hashes: Sequence[str]) -> list[Receipt]:
    """Those of these hashes that are this hub's, and that it has not seen on the chain yet."""
    found: list[Receipt] = []
    for start in range(0, len(receipt_hashes), _MOST_NAMED):
        some = receipt_hashes[start : start + _MOST_NAMED]
        query = _RECEIPT.where(RECEIPTS.c.receipt_hash.in_(some), RECEIPTS.c.chain_transaction.is_(None))
        found += [_receipt_of(row) for row in reader.execute(query).mappings()]
    return found


def due_chain_checks(reader: Reader, now_ms: int, *, limit: int) -> list[Receipt]:
    """Attested receipts that have not been seen on the chain, and that are due for a look."""
    due = RECEIPTS.c.next_chain_check_ms
    query = _RECEIPT.where(due.is_not(None), due <= now_ms).order_by(due).limit(limit)
    return [_receipt_of(row) for row in reader.execute(query).mappings()]


def postpone_chain_check(transaction: Transaction, job_id: str, next_ms: int) -> None:
    """Nothing final was found; look again then."""
    transaction.execute(_POSTPONED, {"the_job": job_id, "next_ms": next_ms})


def keep_on_chain(transaction: Transaction, job_id: str, *, transaction_hash: str, height: int) -> bool:
    """It is used up on the chain for good, whoever sent it, and needs no delivery any more. False where known."""
    seen = transaction.execute(
        update(RECEIPTS)
        .where(RECEIPTS.c.job_id == job_id, RECEIPTS.c.chain_transaction.is_(None))
        .values(
            chain_transaction=transaction_hash, chain_height=height, next_chain_check_ms=None, next_delivery_ms=None
        )
    )
    return seen.rowcount == 1


def attested_hashes(reader: Reader) -> list[str]:
    """Of every receipt that was ever attested, oldest first: for audits."""
    query = (
        select(RECEIPTS.c.receipt_hash)
        .where(RECEIPTS.c.attested_at_ms.is_not(None))
        .order_by(RECEIPTS.c.attested_at_ms, RECEIPTS.c.receipt_hash)
    )
    return list(reader.execute(query).scalars())
