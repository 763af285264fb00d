"""Receipts that others asked this hub's attester to sign: one per job of theirs, one per signed request, for good."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import insert, or_, select, update

from hub.store.errors import AlreadyUsed
from hub.store.receipts import Form
from hub.store.records import columns_of, made
from hub.store.tables.attesting import ENDORSEMENTS
from hub.store.transaction import Reader, Transaction


class EndorsementState(StrEnum):
    """How far it has come."""

    WAITING = "waiting"
    """Found true; its challenge window runs, or its signature has not been kept yet."""
    SIGNED = "signed"
    DISPUTED = "disputed"
    """Something spoke against it before it was signed: it never will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndorsement:
    """What was asked, and by whom."""

    receipt_hash: str
    hub_id: str
    """Of the receipt."""
    job_id: str
    asked_by: str
    form: Form
    digest: str
    client: str
    request_hash: str
    is_signed_request: bool
    window_until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsement(NewEndorsement):
    """As it is."""

    asked_at_ms: int
    state: EndorsementState
    reason: str | None
    signature: str | None


_ENDORSEMENT: Final = select(*columns_of(ENDORSEMENTS, Endorsement))


def _endorsement_of(row: Any) -> Endorsement:
    return made(Endorsement, {**row, "form": Form(row["form"]), "state": EndorsementState(row["state"])})


def get(reader: Reader, receipt_hash: str) -> Endorsement | None:
    """Of the receipt with this hash."""
    row = reader.execute(_ENDORSEMENT.where(ENDORSEMENTS.c.receipt_hash == receipt_hash)).mappings().one_or_none()
    return None if row is None else _endorsement_of(row)


def signed(reader: Reader, *, limit: int, offset: int) -> list[Endorsement]:
    """Those with this attester's signature, the newest first."""
    query = (
        _ENDORSEMENT.where(ENDORSEMENTS.c.state == EndorsementState.SIGNED)
        .order_by(ENDORSEMENTS.c.asked_at_ms.desc(), ENDORSEMENTS.c.receipt_hash)
        .limit(limit)
        .offset(offset)
    )
    return [_endorsement_of(row) for row in reader.execute(query).mappings()]


def begin(transaction: Transaction, wanted: NewEndorsement, now_ms: int) -> Endorsement:
    """Keeps what is asked for; the same again gives what is kept.

    Raises AlreadyUsed: `receipt_hash` where it was asked for in another form, `job_id` where the job has another
    receipt, `request_hash` where the client's signed request has.
    """
    known = get(transaction, wanted.receipt_hash)
    if known is not None:
        if (known.form, known.digest) != (wanted.form, wanted.digest):
            raise AlreadyUsed("receipt_hash")
        return known
    taken = select(ENDORSEMENTS.c.hub_id, ENDORSEMENTS.c.job_id).where(
        or_(
            (ENDORSEMENTS.c.hub_id == wanted.hub_id) & (ENDORSEMENTS.c.job_id == wanted.job_id),
            (ENDORSEMENTS.c.client == wanted.client)
            & (ENDORSEMENTS.c.request_hash == wanted.request_hash)
            & ENDORSEMENTS.c.is_signed_request
            & wanted.is_signed_request,
        )
    )
    for row in transaction.execute(taken):
        raise AlreadyUsed("job_id" if (row.hub_id, row.job_id) == (wanted.hub_id, wanted.job_id) else "request_hash")
    values = {name: getattr(wanted, name) for name in NewEndorsement.__dataclass_fields__}
    transaction.execute(insert(ENDORSEMENTS).values(**values, asked_at_ms=now_ms, state=EndorsementState.WAITING))
    kept = get(transaction, wanted.receipt_hash)
    assert kept is not None
    return kept


def sign(transaction: Transaction, receipt_hash: str, signature: str) -> bool:
    """Keeps the signature; False where the receipt is disputed meanwhile, or signed."""
    return _move(transaction, receipt_hash, {"state": EndorsementState.SIGNED, "signature": signature})


def dispute(transaction: Transaction, receipt_hash: str, reason: str) -> bool:
    """It is not to be signed; False where it was signed already."""
    return _move(transaction, receipt_hash, {"state": EndorsementState.DISPUTED, "reason": reason})


def _move(transaction: Transaction, receipt_hash: str, values: dict[str, Any]) -> bool:
    moved = transaction.execute(
        update(ENDORSEMENTS)
        .where(ENDORSEMENTS.c.receipt_hash == receipt_hash, ENDORSEMENTS.c.state == EndorsementState.WAITING)
        .values(**values)
    )
    return moved.rowcount == 1
