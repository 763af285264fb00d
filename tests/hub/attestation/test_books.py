"""Deposits, settlements, refunds and mints in any order, read again after a crash: the books balance at each moment."""

import secrets
import uuid
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.types import Address
from hub.ledger import books, posting
from hub.ledger.accounts import ESCROW, HUB_FEE, MINTED, client_deposit, provider_earnings
from hub.store import followed
from hub.store.store import HubIdentity, Store, now_ms
from hub.store.transaction import Transaction

IDENTITY = HubIdentity("east", 5, "0x" + "ab" * 32)
PROVIDERS = [to_checksum_address(Address(bytes([number]) * 20)) for number in (1, 2)]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["deposit", "settlement", "refund", "mint", "crash"]),
        st.integers(0, 1),
        st.integers(0, 2**90),
        st.integers(0, 2**90),
    ),
    max_size=14,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One for all examples: each has clients of its own."""
    opened = Store(f"sqlite:///{tmp_path_factory.mktemp('books') / 'hub.sqlite3'}", IDENTITY)
    yield opened
    opened.close_now()


class Chain:
    """What a chain says that only lets a client's deposit pay what is in it: an entry for each event, in its order."""

    def __init__(self) -> None:
        self.clients = [to_checksum_address(Address(secrets.token_bytes(20))) for _ in range(2)]
        self.deposits = [0, 0]
        self.entries: list[posting.NewEntry] = []

    def happen(self, kind: str, client: int, first: int, second: int) -> None:
        """One event; nothing where the deposit does not have it."""
        reference, name, held = uuid.uuid4().hex, self.clients[client], self.deposits[client]
        if kind == "deposit":
            self.deposits[client] += first
            self.entries.append(posting.deposit_entry(reference, name, first))
        elif kind == "mint":
            shares = [(PROVIDERS[0], first), (PROVIDERS[1], second)]
            moves = [posting.Move(MINTED, provider_earnings(who), atoms) for who, atoms in shares]
            self.entries.append(posting.NewEntry("mint", reference, moves))
        elif kind == "settlement":
            total = min(held, first + second)
            fee = total // 20
            shares = [(PROVIDERS[0], (total - fee) // 3), (PROVIDERS[1], total - fee - (total - fee) // 3)]
            self.deposits[client] -= total
            self.entries.append(posting.settlement_entry(reference, name, shares, fee=fee))
        elif kind == "refund":
            taken = min(held, first)
            self.deposits[client] -= taken
            self.entries.append(posting.refund_entry(reference, name, taken))


def follow(store: Store, chain: Chain, name: str, last: int, *, until: int) -> int:
    """As `EscrowFollower` books a stretch: the entries and the height in one unit, or neither; the new height."""

    def unit(transaction: Transaction) -> None:
        if followed.advance(transaction, name, None if last == 0 else last, until):
            for entry in chain.entries[last:until]:
                posting.post(transaction, entry, now_ms())

    store.write_now(unit)
    return until


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_every_atom_is_accounted_for(store: Store, steps: list[tuple[str, int, int, int]]) -> None:
    chain, name, height = Chain(), uuid.uuid4().hex, 0
    before = store.read_now(books.balances)
    for kind, client, first, second in steps:
        chain.happen(kind, client, first, second)
        if kind == "crash":  # What was booked before it is read again, by a process that knows nothing of it.
            for entry in chain.entries[:height]:
                assert not store.write_now(partial(posting.post, entry=entry, now_ms=now_ms()))
            continue
        height = follow(store, chain, name, height, until=len(chain.entries))
        follow(store, chain, name, max(0, height - 1), until=height)  # A second process, too late.

        balances = store.read_now(books.balances)
        assert store.read_now(books.trial_balance) == 0
        for who, held in zip(chain.clients, chain.deposits, strict=True):
            assert balances.get(client_deposit(who), 0) == held
        inside = [HUB_FEE, *map(client_deposit, chain.clients), *map(provider_earnings, PROVIDERS)]
        outside = [ESCROW, MINTED]
        moved = [
            sum(balances.get(each, 0) - before.get(each, 0) for each in accounts) for accounts in (inside, outside)
        ]
        assert moved[0] == -moved[1] >= 0
