"""The books balance at every moment: while many write, in two processes, and after a kill in the middle."""

import asyncio
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.ledger import books, posting
from hub.ledger.posting import Move, NewEntry
from hub.store.store import Store
from hub.store.transaction import Transaction
from tests.hub.store.conftest import IDENTITY, NOW_MS

ACCOUNTS = ("chain:minted", "client:a", "client:b", "provider:c", "provider:d", "hub:fee")
LIMIT_S = 120.0

moves = st.lists(
    st.tuples(st.permutations(ACCOUNTS), st.integers(0, 2**256 - 1)).map(
        lambda drawn: Move(drawn[0][0], drawn[0][1], drawn[1])
    ),
    max_size=5,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.lists(moves, max_size=6))
def test_balances_are_what_was_moved_and_sum_to_zero(store: Store, entries: list[list[Move]]) -> None:
    """All examples write to the same books, so each names its entries after itself and counts from where it began."""
    before = store.read_now(books.balances)
    example = uuid.uuid4()

    for number, entry in enumerate(entries):
        new = NewEntry("test", f"{example}-{number}", entry)
        assert store.write_now(lambda t, it=new: posting.post(t, it, NOW_MS))  # type: ignore[misc]

    after = store.read_now(books.balances)
    for account in ACCOUNTS:
        credited = sum(move.amount for entry in entries for move in entry if move.credit == account)
        debited = sum(move.amount for entry in entries for move in entry if move.debit == account)
        assert after.get(account, 0) == before.get(account, 0) + credited - debited
        assert store.read_now(lambda c, it=account: books.balance(c, it)) == after.get(account, 0)  # type: ignore[misc]
    assert sum(after.values()) == 0


async def test_the_books_balance_at_every_moment_under_concurrent_writers(open_store: Callable[[], Store]) -> None:
    stores = [open_store(), open_store()]
    rng = random.Random(6)
    entries: list[NewEntry] = []
    for number in range(120):
        accounts = rng.sample(ACCOUNTS, 3)
        moves = [Move(accounts[0], accounts[1], rng.getrandbits(200)), Move(accounts[0], accounts[2], number)]
        entries.append(NewEntry("test", str(number // 2), moves if number % 2 == 0 else entries[-1].moves))
    looks: list[int] = []
    writing = True

    async def look() -> None:
        while writing:
            looks.append(await stores[0].read(books.trial_balance))
            assert await stores[0].read(books.incomplete_entries) == []

    async def write(store: Store, entry: NewEntry) -> bool:
        return await store.write(lambda t: posting.post(t, entry, NOW_MS))

    looking = asyncio.create_task(look())
    booked = await asyncio.gather(*(write(stores[place % 2], entry) for place, entry in enumerate(entries)))
    writing = False
    await looking

    assert sum(booked) == 60  # Each was sent twice, by two processes at once.
    assert looks
    assert set(looks) == {0}
    assert stores[1].read_now(books.trial_balance) == 0


WRITER = """
import asyncio, sys
from hub.ledger import posting
from hub.ledger.posting import Move, NewEntry
from hub.store.store import Store
from tests.hub.store.conftest import IDENTITY

store = Store(sys.argv[1], IDENTITY)

def unit(number):
    moves = [Move("client:a", f"provider:{place}", 10**20 + place) for place in range(8)]
    return lambda transaction: posting.post(transaction, NewEntry("test", f"{sys.argv[2]}-{number}", moves), 1)

async def write(first):
    for number in range(first, 10**9, 16):
        assert await store.write(unit(number))
        print(number, flush=True)

async def main():
    await asyncio.gather(*(write(first) for first in range(16)))

asyncio.run(main())
"""


def test_the_books_balance_after_a_kill_in_the_middle(
    url: str, open_store: Callable[[], Store], tmp_path: Path
) -> None:
    """Each time at another place; what a writer was told of is there, whole, and so is whatever else is."""
    store = open_store()
    told: set[str] = set()
    for turn in range(3):
        with (tmp_path / "told").open("wb") as output:
            writer = subprocess.Popen([sys.executable, "-c", WRITER, url, str(turn)], stdout=output, cwd=Path.cwd())
        deadline = time.monotonic() + LIMIT_S
        while (tmp_path / "told").read_bytes().count(b"\n") < 40 + 37 * turn:
            assert writer.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        told |= {f"test/{turn}-{line}" for line in (tmp_path / "told").read_text().split("\n")[:-1]}

        assert store.read_now(books.incomplete_entries) == []
        assert store.read_now(books.trial_balance) == 0
        there = {line.entry_id for line in store.read_now(lambda c: books.statement(c, "provider:7", limit=10**6))}
        assert told <= there
        eighths = [store.read_now(lambda c, it=place: books.balance(c, f"provider:{it}")) for place in range(8)]  # type: ignore[misc]
        assert eighths == [len(there) * (10**20 + place) for place in range(8)]
    assert store.identity == IDENTITY


def test_a_failing_unit_beside_a_posting_leaves_no_half(store: Store) -> None:
    def fails(transaction: Transaction) -> None:
        posting.post(transaction, NewEntry("test", "half", [Move("a", "b", 1)]), NOW_MS)
        transaction.flush()
        raise ZeroDivisionError

    async def both() -> tuple[object, object]:
        whole = NewEntry("test", "whole", [Move("a", "b", 2)])
        return await asyncio.gather(
            store.write(fails), store.write(lambda t: posting.post(t, whole, NOW_MS)), return_exceptions=True
        )

    outcomes = asyncio.run(both())

    assert isinstance(outcomes[0], ZeroDivisionError)
    assert outcomes[1] is True
    assert store.read_now(books.balances) == {"a": -2, "b": 2}
