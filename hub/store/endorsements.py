"""Receipts that others asked this hub's attester to sign: one per job of theirs, one per signed request.

For good from when signing begins. Before that, the hub that brought it may bring another one for its job, a few times:
where a part of the job was found false meanwhile, and made again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import delete, insert, or_, select, update

from hub.store.errors import AlreadyUsed
from hub.store.receipts import Form
from hub.store.records import columns_of, made
from hub.store.tables.attesting import ENDORSEMENTS
from hub.store.transaction import Reader, Transaction


class EndorsementState(StrEnum):
    """How far it has come."""

    WAITING = "waiting"
    """Found true, as far as was shown; its challenge window runs."""
    SIGNING = "signing"
    """It will be signed, or nothing of its job will: the signature has not been kept yet."""
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


MOST_RECEIPTS: Final = 4
"""So many receipts of a job may be brought, one after the other: as many as a hub composes (`hub.jobs.ending`)."""

_ENDORSEMENT: Final = select(*columns_of(ENDORSEMENTS, Endorsement))


_TAKEN: Final = tuple(
    ENDORSEMENTS.c[name] for name in ("receipt_hash", "hub_id", "job_id", "asked_by", "state", "replaced")
)


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
    receipt that it cannot replace, or had this one before, `request_hash` where the client's signed request has another
    job's.
    """
    known = get(transaction, wanted.receipt_hash)
    if known is not None:
        if (known.form, known.digest) != (wanted.form, wanted.digest):
            raise AlreadyUsed("receipt_hash")
        return known
    taken = select(*_TAKEN).where(
        or_(
            (ENDORSEMENTS.c.hub_id == wanted.hub_id) & (ENDORSEMENTS.c.job_id == wanted.job_id),
            (ENDORSEMENTS.c.client == wanted.client)
            & (ENDORSEMENTS.c.request_hash == wanted.request_hash)
            & ENDORSEMENTS.c.is_signed_request
            & wanted.is_signed_request,
        )
    )
    replaced: list[str] = []
    for row in transaction.execute(taken.with_for_update()):
        if (row.hub_id, row.job_id) != (wanted.hub_id, wanted.job_id):
            raise AlreadyUsed("request_hash")
        is_open = row.state == EndorsementState.WAITING and row.asked_by == wanted.asked_by
        replaced = [*row.replaced, row.receipt_hash]
        if not is_open or wanted.receipt_hash in replaced or len(replaced) >= MOST_RECEIPTS:
            raise AlreadyUsed("job_id")
        transaction.execute(delete(ENDORSEMENTS).where(ENDORSEMENTS.c.receipt_hash == row.receipt_hash))
    values = {name: getattr(wanted, name) for name in NewEndorsement.__dataclass_fields__}
    transaction.execute(
        insert(ENDORSEMENTS).values(**values, asked_at_ms=now_ms, state=EndorsementState.WAITING, replaced=replaced)
    )
    kept = get(transaction, wanted.receipt_hash)
    assert kept is not None
    return kept


def begin_signing(transaction: Transaction, receipt_hash: str) -> bool:
    """From here on no other receipt takes its place. False where one has, or it is disputed."""
    ways = (EndorsementState.WAITING, EndorsementState.SIGNING, EndorsementState.SIGNED)
    if _move(transaction, receipt_hash, ways[:1], {"state": EndorsementState.SIGNING}):
        return True
    known = get(transaction, receipt_hash)
    return known is not None and known.state in ways


def sign(transaction: Transaction, receipt_hash: str, signature: str) -> bool:
    """Keeps the signature; False where it was kept before."""
    values = {"state": EndorsementState.SIGNED, "signature": signature}
    return _move(transaction, receipt_hash, (EndorsementState.SIGNING,), values)


def dispute(transaction: Transaction, receipt_hash: str, reason: str) -> bool:
    """It is not to be signed; False where signing has begun."""
    values = {"state": EndorsementState.DISPUTED, "reason": reason}
    return _move(transaction, receipt_hash, (EndorsementState.WAITING,), values)


def _move(
    transaction: Transaction, receipt_hash: str, states: Sequence[EndorsementState], values: dict[str, Any]
) -> bool:
    moved = transaction.execute(
        update(ENDORSEMENTS)
        .where(ENDORSEMENTS.c.receipt_hash == receipt_hash, ENDORSEMENTS.c.state.in_(states))
        .values(**values)
    )
    return moved.rowcount == 1
