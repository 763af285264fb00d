"""Whatever is sent, in any order: deposits, settlements, mints and withdrawals agree with a model on paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chain.primitives.client_request import MAX_VALIDITY_S
from chain.primitives.escrow import NOTICE_S, SETTLE_WINDOW_S
from chain.primitives.hashing import keccak256
from chain.primitives.records import Domain
from chain.primitives.types import Hash32
from chain.rules.escrow.deposits import read_deposit
from tests.chain.rules.escrow import paid_jobs
from tests.chain.rules.escrow.paid_jobs import held

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import Chain, MakeChain

CLIENTS = ("alice", "bob")
AUDIENCES = ("hub-1", "hub-2")
PEOPLE = (*CLIENTS, "one", "two", "hub", "carol")
BEGINNING = 1_000
MIN_HOLDING = 5


@dataclass
class Paper:
    """A deposit as one would note it down."""

    balance: int
    deadline: int
    asked: int = 0
    from_s: int = 0


class Paying(RuleBasedStateMachine):
    """Against a model that knows names and numbers, no records and no signatures."""

    make_chain: MakeChain

    def __init__(self) -> None:
        super().__init__()
        self.chain: Chain = self.make_chain(min_holding_atoms=MIN_HOLDING)
        self.chain.give(*CLIENTS, amount=BEGINNING)
        self.balances = {**dict.fromkeys(PEOPLE, 0), **dict.fromkeys(CLIENTS, BEGINNING)}
        self.minted = BEGINNING * len(CLIENTS)
        self.deposits: dict[tuple[str, str], Paper] = {}
        self.settled: dict[tuple[str, int, str], int] = {}
        self.used: set[int] = set()
        self.time_ms = self.chain.next_block.time_ms
        for client in CLIENTS:
            self.deposit(client, "hub-1", 300, 10**6)

    @property
    def now_s(self) -> int:
        return self.time_ms // 1_000

    def send(self, sender: str, transaction: Transaction, valid: bool, open_to_newcomers: bool) -> bool:
        """Whether it was done, as the model says: refused where the sender has no standing, else failed."""
        is_member = self.balances[sender] >= MIN_HOLDING
        done = valid and (is_member or open_to_newcomers)
        proposal = self.chain.build(transaction, time_ms=self.time_ms)
        statuses = [result.status for result in proposal.outcome.results]
        assert statuses == ([int(done)] if done or is_member else [])
        self.chain.adopt(proposal)
        self.time_ms = max(self.time_ms, self.chain.next_block.time_ms)
        return done

    def less(self, place: tuple[str, str], atoms: int) -> None:
        paper = self.deposits[place]
        paper.balance -= atoms
        paper.asked = min(paper.asked, paper.balance)
        if not paper.balance:
            del self.deposits[place]

    @rule(
        seconds=st.sampled_from([1, 1, 1, 50, 50, 86_400, SETTLE_WINDOW_S, NOTICE_S]),
        milliseconds=st.sampled_from([0, 999]),
    )
    def wait(self, seconds: int, milliseconds: int) -> None:
        self.time_ms += 1_000 * seconds + milliseconds

    @rule(
        client=st.sampled_from(PEOPLE[:3]),
        audience=st.sampled_from(AUDIENCES),
        value=st.sampled_from([0, 1, 5, 300, 1_000]),
        ahead_s=st.sampled_from([0, 1, 100, 10**6]),
    )
    def deposit(self, client: str, audience: str, value: int, ahead_s: int) -> None:
        deadline, paper = self.now_s + ahead_s, self.deposits.get((client, audience))
        valid = ahead_s > 0 and value <= self.balances[client]
        valid = valid and (value > 0 if paper is None else deadline >= paper.deadline)
        call = paid_jobs.deposit(self.chain, client, value, audience=audience, deadline=deadline)
        if self.send(client, call, valid, open_to_newcomers=False):
            self.balances[client] -= value
            paper = self.deposits.setdefault((client, audience), Paper(0, 0))
            paper.balance, paper.deadline = paper.balance + value, deadline

    @rule(
        sender=st.sampled_from(PEOPLE),
        client=st.sampled_from(CLIENTS),
        audience=st.sampled_from(AUDIENCES),
        number=st.integers(0, 1),
        receipt=st.integers(0, 9),
        amounts=st.tuples(st.sampled_from([0, 1, 40, 400]), st.sampled_from([0, 1, 40])),
        fee=st.sampled_from([0, 1, 20]),
        # From now, or else always the same, so that a request comes again.
        expiry_s=st.sampled_from(
            [None, None, None, -SETTLE_WINDOW_S - 1, -SETTLE_WINDOW_S, 0, MAX_VALIDITY_S, MAX_VALIDITY_S + 1]
        ),
        right=st.sampled_from([True, True, True, False]),
    )
    def settle(
        self,
        sender: str,
        client: str,
        audience: str,
        number: int,
        receipt: int,
        amounts: tuple[int, int],
        fee: int,
        expiry_s: int | None,
        right: bool,
    ) -> None:
        expiry = paid_jobs.EXPIRY if expiry_s is None else self.now_s + expiry_s
        total, place = sum(amounts) + fee, (client, audience)
        if expiry < 0:
            return
        asked = paid_jobs.request(self.chain, number, audience=audience, max_price=440, expiry=expiry)
        settlement = paid_jobs.settlement(
            self.chain,
            asked,
            [("one", amounts[0]), ("two", amounts[1])],
            client=client,
            signer=client if right else "carol",
            fee=("hub", fee) if fee else None,
            receipt_hash=keccak256(b"%d" % receipt),
        )
        paper, key = self.deposits.get(place), (client, expiry, asked.hash.hex())
        valid = (
            right
            and -SETTLE_WINDOW_S <= expiry - self.now_s <= MAX_VALIDITY_S
            and total <= 440
            and receipt not in self.used
            and key not in self.settled
            and paper is not None
            and self.now_s < paper.deadline
            and total <= paper.balance
        )
        if self.send(sender, paid_jobs.send(self.chain, sender, settlement), valid, open_to_newcomers=True):
            self.used.add(receipt)
            self.settled[key] = total
            self.less(place, total)
            for name, atoms in (("one", amounts[0]), ("two", amounts[1]), ("hub", fee)):
                self.balances[name] += atoms

    @rule(sender=st.sampled_from(PEOPLE), receipt=st.integers(0, 5))
    def mint(self, sender: str, receipt: int) -> None:
        call = self.chain.mint(sender, "one", 3, keccak256(b"%d" % receipt))
        if self.send(sender, call, receipt not in self.used, open_to_newcomers=True):
            self.used.add(receipt)
            self.balances["one"] += 3
            self.minted += 3

    @rule(
        client=st.sampled_from(PEOPLE[:3]),
        audience=st.sampled_from(AUDIENCES),
        value=st.sampled_from([0, 1, 100, 1_000, 2**256 - 1]),
    )
    def ask(self, client: str, audience: str, value: int) -> None:
        paper = self.deposits.get((client, audience))
        valid = paper is not None and value <= paper.balance
        free = paper is not None and not paper.asked and value > 0
        call = paid_jobs.ask(self.chain, client, value, audience=audience)
        asked_s = self.now_s
        if self.send(client, call, valid, open_to_newcomers=free):
            assert paper is not None
            paper.asked, paper.from_s = value, asked_s + NOTICE_S

    @rule(client=st.sampled_from(PEOPLE[:3]), audience=st.sampled_from(AUDIENCES))
    def withdraw(self, client: str, audience: str) -> None:
        paper = self.deposits.get((client, audience))
        valid = paper is not None and paper.asked > 0 and self.now_s >= paper.from_s
        call = paid_jobs.withdraw(self.chain, client, audience=audience)
        if self.send(client, call, valid, open_to_newcomers=paper is not None):
            assert paper is not None
            atoms, paper.asked = paper.asked, 0
            self.balances[client] += atoms
            self.less((client, audience), atoms)

    @rule(sender=st.sampled_from(PEOPLE), client=st.sampled_from(CLIENTS), audience=st.sampled_from(AUDIENCES))
    def refund(self, sender: str, client: str, audience: str) -> None:
        paper = self.deposits.get((client, audience))
        valid = paper is not None and self.now_s >= paper.deadline
        call = paid_jobs.refund(self.chain, sender, client, audience=audience)
        if self.send(sender, call, valid, open_to_newcomers=sender == client):
            assert paper is not None
            self.balances[client] += paper.balance
            self.less((client, audience), paper.balance)

    @invariant()
    def every_atom_is_where_the_paper_says(self) -> None:
        state = self.chain.read()
        assert {name: self.chain.balance(name) for name in PEOPLE} == self.balances
        assert held(self.chain) == sum(paper.balance for paper in self.deposits.values())
        assert state.supply().circulating == self.minted == held(self.chain) + sum(self.balances.values())
        for client in PEOPLE:
            for audience in AUDIENCES:
                deposit = read_deposit(state, self.chain.address(client), audience)
                paper = self.deposits.get((client, audience))
                assert (deposit is None) == (paper is None)
                if deposit is not None and paper is not None:
                    assert 0 <= deposit.withdrawal <= deposit.balance == paper.balance > 0
                    assert (deposit.deadline, deposit.withdrawal) == (paper.deadline, paper.asked)

    @invariant()
    def each_request_and_receipt_was_used_once(self) -> None:
        domains = [key[0] for key in self.chain.state.records]
        assert domains.count(Domain.SETTLED_REQUEST) == len(self.settled)
        of_receipts = {Hash32(key[1:]) for key in self.chain.state.records if key[0] == Domain.RECEIPT}
        assert {keccak256(b"%d" % receipt) for receipt in self.used} <= of_receipts
        assert len(of_receipts) == len(self.used) + len(CLIENTS)  # Those that the clients began with.
        assert all(total <= 440 for total in self.settled.values())


def test_whatever_is_sent_every_atom_is_accounted_for(make_chain: MakeChain) -> None:
    class Machine(Paying):
        pass

    Machine.make_chain = staticmethod(make_chain)
    Machine.TestCase.settings = settings(
        max_examples=40,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    Machine.TestCase("runTest").debug()
