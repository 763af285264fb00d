"""Journal entries. They are posted in the unit of work that brings about what they tell of, and committed with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select

from hub.ledger.accounts import ESCROW, HUB_FEE, MINTED, client_deposit, provider_earnings
from hub.store.errors import StoreError
from hub.store.tables.records import LEDGER_ENTRIES, LEDGER_TRANSFERS
from hub.store.transaction import Transaction

MAX_MOVES: Final = 256
_MAX_KIND_CHARACTERS: Final = 32
_MAX_REFERENCE_CHARACTERS: Final = 120
_MAX_MEMO_CHARACTERS: Final = 256


class BookedOtherwise(StoreError):
    """This kind and reference stand in the books with other moves."""


@dataclass(frozen=True, slots=True)
class Move:
    """An amount in atoms, from the debited account to the credited one."""

    debit: str
    credit: str
    amount: int


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What happened, once: `reference` tells it from others of its `kind`."""

    kind: str
    reference: str
    moves: Sequence[Move]
    memo: str = ""

    @property
    def entry_id(self) -> str:
        """Its name in the books."""
        return f"{self.kind}/{self.reference}"


_BOOKED: Final = select(LEDGER_ENTRIES.c.entry_id).where(LEDGER_ENTRIES.c.entry_id == bindparam("the_entry"))
_MOVES: Final = (
    select(LEDGER_TRANSFERS.c.debit, LEDGER_TRANSFERS.c.credit, LEDGER_TRANSFERS.c.amount)
    .where(LEDGER_TRANSFERS.c.entry_id == bindparam("the_entry"))
    .order_by(LEDGER_TRANSFERS.c.line)
)


def post(transaction: Transaction, entry: NewEntry, now_ms: int) -> bool:
    """Adds an entry; moves of 0 atoms are left out. False where the same is booked already.

    Raises BookedOtherwise where it is booked with other moves, ValueError for what no entry is.
    """
    _check(entry)
    moves = [move for move in entry.moves if move.amount]
    if not transaction.is_first_try and _is_booked(transaction, entry.entry_id, moves):
        return False
    transaction.insert(
        LEDGER_ENTRIES,
        entry_id=entry.entry_id,
        kind=entry.kind,
        reference=entry.reference,
        memo=entry.memo,
        at_ms=now_ms,
    )
    for line, move in enumerate(moves):
        transaction.insert(
            LEDGER_TRANSFERS,
            entry_id=entry.entry_id,
            line=line,
            debit=move.debit,
            credit=move.credit,
            amount=move.amount,
        )
    return True


def _is_booked(transaction: Transaction, entry_id: str, moves: Sequence[Move]) -> bool:
    """Raises BookedOtherwise."""
    if transaction.execute(_BOOKED, {"the_entry": entry_id}).first() is None:
        return False
    rows = transaction.execute(_MOVES, {"the_entry": entry_id})
    if [Move(row.debit, row.credit, row.amount) for row in rows] != moves:
        raise BookedOtherwise(f"{entry_id} is booked with other moves")
    return True


def _check(entry: NewEntry) -> None:
    if not 0 < len(entry.kind) <= _MAX_KIND_CHARACTERS or "/" in entry.kind:
        raise ValueError(f"an entry's kind is a word of at most {_MAX_KIND_CHARACTERS} characters")
    if not 0 < len(entry.reference) <= _MAX_REFERENCE_CHARACTERS or len(entry.memo) > _MAX_MEMO_CHARACTERS:
        raise ValueError("an entry's reference or memo is too long, or missing")
    if len(entry.moves) > MAX_MOVES:
        raise ValueError(f"an entry has at most {MAX_MOVES} moves")
    for move in entry.moves:
        if move.debit == move.credit:
            raise ValueError("a move is from one account to another")
        if move.amount < 0:
            raise ValueError("a move's amount is not below zero")


# What happens to a hub's money


def book_mint(transaction: Transaction, receipt_hash: str, shares: Sequence[tuple[str, int]], now_ms: int) -> bool:
    """The chain has minted for a receipt: each provider's share in atoms."""
    moves = [Move(MINTED, provider_earnings(provider), amount) for provider, amount in shares]
    return post(transaction, NewEntry("mint", receipt_hash, moves), now_ms)


def deposit_entry(reference: str, client: str, amount: int) -> NewEntry:
    """A client's deposit was seen on the chain; `reference` is its transaction (and event) there."""
    return NewEntry("deposit", reference, [Move(ESCROW, client_deposit(client), amount)])


def settlement_entry(receipt_hash: str, client: str, shares: Sequence[tuple[str, int]], *, fee: int = 0) -> NewEntry:
    """The chain has settled a receipt from the client's deposit: each provider's share in atoms, and the hub's fee."""
    deposit = client_deposit(client)
    moves = [Move(deposit, provider_earnings(provider), amount) for provider, amount in shares]
    return NewEntry("settlement", receipt_hash, [*moves, Move(deposit, HUB_FEE, fee)])


def refund_entry(reference: str, client: str, amount: int) -> NewEntry:
    """What was left of a deposit went back to its client."""
    return NewEntry("refund", reference, [Move(client_deposit(client), ESCROW, amount)])
