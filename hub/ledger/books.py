"""What the books say: balances, statements of an account, and the trial balance."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, case, or_, select

from hub.store.column_types import sum_atoms
from hub.store.tables.records import LEDGER_ENTRIES, LEDGER_TRANSFERS
from hub.store.transaction import Reader

_T: Final = LEDGER_TRANSFERS.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A line of an account's statement: `amount` in atoms, above 0 where it was credited, below where debited."""

    sequence: int
    entry_id: str
    kind: str
    reference: str
    memo: str
    at_ms: int
    counterpart: str
    amount: int


_CREDITS: Final = select(sum_atoms(_T.amount)).where(_T.credit == bindparam("the_account"))
_DEBITS: Final = select(sum_atoms(_T.amount)).where(_T.debit == bindparam("the_account"))


def balance(reader: Reader, account: str) -> int:
    """Credits less debits, in atoms."""
    row: Any = reader.execute(
        select(_CREDITS.scalar_subquery(), _DEBITS.scalar_subquery()), {"the_account": account}
    ).one()
    return int(row[0] or 0) - int(row[1] or 0)


def balances(reader: Reader, prefix: str = "") -> dict[str, int]:
    """Of every account whose name begins so, by name."""
    found: dict[str, int] = {}
    for side, sign in ((_T.credit, 1), (_T.debit, -1)):
        query = select(side, sum_atoms(_T.amount)).where(side.startswith(prefix, autoescape=True)).group_by(side)
        for account, amount in reader.execute(query):
            found[account] = found.get(account, 0) + sign * int(amount)
    return dict(sorted(found.items()))


def statement(reader: Reader, account: str, *, before: int | None = None, limit: int = 100) -> list[Posting]:
    """The account's newest postings, those with a sequence number below `before`."""
    query = (
        select(
            _T.sequence,
            _T.entry_id,
            LEDGER_ENTRIES.c.kind,
            LEDGER_ENTRIES.c.reference,
            LEDGER_ENTRIES.c.memo,
            LEDGER_ENTRIES.c.at_ms,
            case((_T.credit == account, _T.debit), else_=_T.credit).label("counterpart"),
            _T.amount,
            _T.credit,
        )
        .join_from(LEDGER_TRANSFERS, LEDGER_ENTRIES, _T.entry_id == LEDGER_ENTRIES.c.entry_id)
        .where(or_(_T.credit == account, _T.debit == account))
        .order_by(_T.sequence.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(_T.sequence < before)
    return [_posting_of(row, account) for row in reader.execute(query)]


def _posting_of(row: Any, account: str) -> Posting:
    return Posting(
        sequence=row.sequence,
        entry_id=row.entry_id,
        kind=row.kind,
        reference=row.reference,
        memo=row.memo,
        at_ms=row.at_ms,
        counterpart=row.counterpart,
        amount=row.amount if row.credit == account else -row.amount,
    )


def trial_balance(reader: Reader) -> int:
    """The sum of all balances: 0, whatever happened."""
    return sum(balances(reader).values())


def incomplete_entries(reader: Reader) -> list[str]:
    """Entries whose lines are not 0, 1, 2 … without gaps: none, as an entry is committed whole."""
    lines: dict[str, list[int]] = {}
    for row in reader.execute(select(_T.entry_id, _T.line).order_by(_T.entry_id, _T.line)):
        lines.setdefault(row.entry_id, []).append(row.line)
    return [entry_id for entry_id, found in lines.items() if found != list(range(len(found)))]
