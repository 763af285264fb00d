"""What happened once is booked once; rows neither change nor go."""

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from hub.ledger import books, posting
from hub.ledger.accounts import ESCROW, HUB_FEE, MINTED, client_deposit, provider_earnings
from hub.ledger.posting import BookedOtherwise, Move, NewEntry
from hub.store.errors import StoreError, WrongState
from hub.store.store import Store
from hub.store.tables.records import LEDGER_TRANSFERS
from hub.store.transaction import Transaction
from tests.hub.store.conftest import ANNA, BERTA, HASH, NOW_MS

HUGE = 2**256 - 1


def post(store: Store, *moves: Move, reference: str = "1") -> bool:
    return store.write_now(lambda t: posting.post(t, NewEntry("test", reference, moves), NOW_MS))


def test_an_entry_is_booked_once(store: Store) -> None:
    assert post(store, Move("a", "b", HUGE), Move("a", "c", 0), Move("b", "c", 1))
    assert not post(store, Move("a", "b", HUGE), Move("b", "c", 1))
    with pytest.raises(BookedOtherwise):
        post(store, Move("a", "b", HUGE))

    assert store.read_now(books.balances) == {"a": -HUGE, "b": HUGE - 1, "c": 1}
    assert store.read_now(books.trial_balance) == 0
    lines = store.read_now(lambda c: books.statement(c, "b"))
    assert [(line.amount, line.counterpart, line.kind) for line in lines] == [(-1, "c", "test"), (HUGE, "a", "test")]
    assert store.read_now(lambda c: books.statement(c, "b", before=lines[0].sequence)) == lines[1:]


def test_sums_are_exact_beyond_what_a_database_can_count(store: Store) -> None:
    for number in range(5):
        post(store, Move("a", "b", HUGE), reference=str(number))

    assert store.read_now(lambda c: books.balance(c, "b")) == 5 * HUGE
    assert store.read_now(lambda c: books.balance(c, "a")) == -5 * HUGE
    assert store.read_now(lambda c: books.balance(c, "nobody")) == 0


@pytest.mark.parametrize(
    "entry",
    [
        NewEntry("test", "1", [Move("a", "a", 1)]),
        NewEntry("test", "1", [Move("a", "b", -1)]),
        NewEntry("", "1", []),
        NewEntry("a/b", "1", []),
        NewEntry("test", "", []),
        NewEntry("test", "x" * 121, []),
        NewEntry("test", "1", [Move("a", "b", 1)] * 257),
        NewEntry("test", "1", [], "x" * 257),
    ],
)
def test_what_is_no_entry_is_refused(store: Store, entry: NewEntry) -> None:
    with pytest.raises(ValueError, match=r"entry|move"):
        store.write_now(lambda t: posting.post(t, entry, NOW_MS))
    assert store.read_now(books.balances) == {}


@pytest.mark.parametrize("amount", [10**78, -1])
def test_an_amount_that_no_column_holds_is_refused(store: Store, amount: int) -> None:
    with pytest.raises(Exception, match="amount"):
        post(store, Move("a", "b", amount))
    assert store.read_now(books.balances) == {}


def test_the_database_itself_refuses_a_move_to_the_same_account(store: Store) -> None:
    post(store, Move("a", "b", 1))
    row = {"entry_id": "test/1", "line": 9, "debit": "a", "credit": "a", "amount": 1}

    with pytest.raises(IntegrityError, match="two_accounts"):
        store.write_now(lambda t: t.execute(insert(LEDGER_TRANSFERS).values(**row)))


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_transfers"])
@pytest.mark.parametrize("change", ["UPDATE {} SET entry_id = 'x'", "DELETE FROM {}"])
def test_the_database_itself_refuses_to_change_the_books(store: Store, table: str, change: str) -> None:
    post(store, Move("a", "b", 1))

    with pytest.raises((StoreError, DBAPIError), match="neither changed nor dropped"):
        store.write_now(lambda t: t.execute(text(change.format(table))))

    assert store.read_now(books.balances) == {"a": -1, "b": 1}


def test_a_hubs_money(store: Store) -> None:
    entries = [
        posting.deposit_entry("0xd", "0xc", 100),
        posting.settlement_entry(HASH, "0xc", [(ANNA, 50), (BERTA, 19)], fee=1),
        posting.settlement_entry(HASH, "0xc", [(ANNA, 50), (BERTA, 19)], fee=1),
        posting.refund_entry("0xr", "0xc", 30),
    ]

    def unit(transaction: Transaction) -> list[bool]:
        return [
            *(posting.post(transaction, entry, NOW_MS) for entry in entries),
            posting.book_mint(transaction, "0x" + "22" * 32, [(ANNA, 7), (BERTA, 0)], NOW_MS),
        ]

    assert store.write_now(unit) == [True, True, False, True, True]

    assert store.read_now(books.balances) == {
        ESCROW: -70,
        MINTED: -7,
        client_deposit("0xc"): 0,
        HUB_FEE: 1,
        provider_earnings(ANNA): 57,
        provider_earnings(BERTA): 19,
    }
    assert store.read_now(lambda c: books.balances(c, "provider:")).keys() == {
        provider_earnings(ANNA),
        provider_earnings(BERTA),
    }


def test_an_entry_is_not_booked_when_its_unit_fails(store: Store) -> None:
    def unit(transaction: Transaction) -> None:
        posting.book_mint(transaction, HASH, [(ANNA, 7)], NOW_MS)
        raise WrongState("no")

    with pytest.raises(WrongState):
        store.write_now(unit)

    assert store.read_now(books.balances) == {}
