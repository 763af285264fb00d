"""Whatever is sent, valid or not, in any order: the rules agree with a naive model, and no value comes from nowhere."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.primitives import modules
from chain.primitives.block import Block, decode_block
from chain.primitives.hashing import keccak256
from chain.primitives.modules import GOVERNANCE, REGISTRY, TOKEN
from chain.primitives.records import Account, Domain, Registration
from chain.primitives.transaction import Transaction
from chain.primitives.types import ZERO_ADDRESS

if TYPE_CHECKING:
    from tests.chain.rules.conftest import Chain, MakeChain

PEOPLE = ("alice", "bob", "carol", "dave")
EVERYBODY = (*PEOPLE, "validator-0", "attester")
ROLES = ("validator-0", "attester")
UNIT = 10**6  # A fee of one atom per gas is a fraction of this.
BOUNDS = {
    "receipt_ceiling_atoms": 10 * UNIT,
    "provider_cap_atoms": 20 * UNIT,
    "period_cap_atoms": 50 * UNIT,
    "period_ms": 10_000,
    "min_holding_atoms": UNIT,
    "registration_quota": 2,
}
ATTESTER_ATOMS, ATTESTER_RECEIPTS = 40 * UNIT, 9
MAX_OPEN_PROPOSALS = 16
ALL, ALL_AND_ONE = -1, -2  # Amounts that depend on what the sender has.
OFFER = ("", ["m"], 1, "images", 0)

Operation = tuple[Any, ...]
Verdict = str  # "refused": not in the block; "failed": in it with status 0; "done".


@dataclass
class Model:
    """Balances and bounds as one would keep them on paper. It knows names and numbers, no records and no signatures."""

    balances: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EVERYBODY, 0))
    nonces: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EVERYBODY, 0))
    allowances: dict[tuple[str, str], int] = field(default_factory=dict)
    payouts: dict[str, str] = field(default_factory=dict)
    active: set[str] = field(default_factory=set)
    used: set[int] = field(default_factory=set)
    authorizations: set[tuple[str, int]] = field(default_factory=set)
    counters: dict[tuple[str, int], int] = field(default_factory=dict)
    minted: int = 0
    burned: int = 0
    paused: bool = False
    base_fee: int = 0
    proposals: int = 0
    open_proposals: int = 0
    # Of the block at hand
    parent: dict[str, int] = field(default_factory=dict)
    fee_per_gas: int = 0
    period: int = 0
    seconds: int = 0

    def begin(self, time_ms: int) -> None:
        """A new block."""
        self.parent, self.fee_per_gas, self.period = dict(self.balances), self.base_fee, time_ms // BOUNDS["period_ms"]
        self.seconds = time_ms // 1_000

    def judge(self, operation: Operation, transaction: Transaction) -> Verdict:
        """What must become of it; where it is done, or costs something, that is entered."""
        kind, sender, *arguments = operation
        data_bytes = len(transaction.data)
        fee = (21_000 + 16 * data_bytes + (79_000 if data_bytes else 0)) * self.fee_per_gas
        if transaction.nonce != self.nonces[sender]:
            return "refused"
        newcomer = self.parent[sender] < max(BOUNDS["min_holding_atoms"], fee)
        if newcomer and sender not in ROLES and kind not in ("mint", "split", "register", "withdraw"):
            return "refused"
        if newcomer:
            fee = 0
        value = arguments[1] if kind == "transfer" else 0
        if self.balances[sender] < value + fee:
            return "refused"
        must_succeed = newcomer and sender not in ROLES
        if must_succeed and kind in ("register", "withdraw") and self.counters.get(("registered", self.period), 0) >= 2:
            return "refused"
        self.balances[sender] -= fee
        done = getattr(self, "_" + kind)(sender, *arguments)
        if not done and must_succeed:
            self.balances[sender] += fee
            return "refused"
        self.nonces[sender] += 1
        self.burned += fee
        if must_succeed and kind in ("register", "withdraw"):
            self._count("registered", 1)
        return "done" if done else "failed"

    def _move(self, sender: str, recipient: str, amount: int) -> bool:
        if self.balances[sender] < amount:
            return False
        self.balances[sender] -= amount
        self.balances[recipient] += amount
        return True

    def _transfer(self, sender: str, recipient: str, amount: int) -> bool:
        return self._move(sender, recipient, amount)

    def _token_transfer(self, sender: str, recipient: str, amount: int) -> bool:
        return self._move(sender, recipient, amount)

    def _approve(self, sender: str, spender: str, amount: int) -> bool:
        self.allowances[sender, spender] = amount
        return True

    def _take(self, sender: str, owner: str, recipient: str, amount: int) -> bool:
        allowed = self.allowances.get((owner, sender), 0)
        if allowed < amount or not self._move(owner, recipient, amount):
            return False
        if allowed != 2**256 - 1:
            self.allowances[owner, sender] = allowed - amount
        return True

    def _relay(self, sender: str, owner: str, number: int, recipient: str, amount: int) -> bool:
        """They hold after second 0."""
        if not self.seconds or (owner, number) in self.authorizations or not self._move(owner, recipient, amount):
            return False
        self.authorizations.add((owner, number))
        return True

    def _cancel(self, sender: str, owner: str, number: int) -> bool:
        if (owner, number) in self.authorizations:
            return False
        self.authorizations.add((owner, number))
        return True

    def _mint(self, sender: str, provider: str, amount: int, receipt: int, signer: str) -> bool:
        return self._split(sender, [(provider, amount)], receipt, signer)

    def _split(self, sender: str, shares: list[tuple[str, int]], receipt: int, signer: str) -> bool:
        total = sum(amount for _, amount in shares)
        providers = [provider for provider, _ in shares]
        if (
            self.paused
            or signer != "attester"
            or receipt in self.used
            or len(set(providers)) != len(providers)
            or total > BOUNDS["receipt_ceiling_atoms"]
            or self._used("all") + total > BOUNDS["period_cap_atoms"]
            or self._used("attested") + total > ATTESTER_ATOMS
            or self._used("receipts") >= ATTESTER_RECEIPTS
            or any(self._used(name) + amount > BOUNDS["provider_cap_atoms"] for name, amount in shares)
        ):
            return False
        self.used.add(receipt)
        self.minted += total
        for counter, amount in (("all", total), ("attested", total), ("receipts", 1), *shares):
            self._count(counter, amount)
        for provider, amount in shares:
            self.balances[self.payouts.get(provider, provider)] += amount
        return True

    def _used(self, counter: str) -> int:
        return self.counters.get((counter, self.period), 0)

    def _count(self, counter: str, amount: int) -> None:
        self.counters[counter, self.period] = self._used(counter) + amount

    def _register(self, sender: str, payout: str) -> bool:
        if sender in self.active or self.payouts.get(sender, payout) != payout:
            return False
        self.active.add(sender)
        self.payouts[sender] = payout
        return True

    def _withdraw(self, sender: str) -> bool:
        if sender not in self.active:
            return False
        self.active.remove(sender)
        return True

    def _set_payout(self, sender: str, provider: str, payout: str) -> bool:
        if self.payouts.get(provider) != sender:
            return False
        self.payouts[provider] = payout
        return True

    def _propose(self, sender: str, kind: str, value: int) -> bool:
        if self.open_proposals >= MAX_OPEN_PROPOSALS:
            return False
        self.proposals += 1
        self.open_proposals += 1
        return True

    def _govern(self, sender: str, kind: str, value: int) -> bool:
        """Executes the proposal that was made just before, where the sender made it."""
        if kind == "fee":
            self.base_fee = value
        elif self.paused == (kind == "pause"):
            return False
        else:
            self.paused = kind == "pause"
        self.open_proposals -= 1
        return True


def sign(chain: Chain, operation: Operation, nonce: int) -> Transaction:
    """The transaction that an operation stands for, with the highest fee offered."""
    kind, sender, *arguments = operation
    fields: dict[str, int] = {"nonce": nonce, "max_fee": 10**18}
    if kind == "transfer":
        return chain.transfer(sender, arguments[0], arguments[1], **fields)
    if kind == "mint":
        provider, amount, receipt, signer = arguments
        return chain.mint(sender, provider, amount, keccak256(b"%d" % receipt), signers=[signer], **fields)
    if kind == "split":
        shares, receipt, signer = arguments
        return chain.split(sender, shares, keccak256(b"%d" % receipt), signers=[signer], **fields)
    if kind == "relay":
        owner, number, recipient, amount = arguments
        authorization = chain.authorization(owner, recipient, amount, number=number)
        return chain.relay(sender, owner, authorization, in_parts=bool(number % 2), **fields)
    if kind == "cancel":
        owner, number = arguments
        return chain.cancel(sender, owner, owner, number, in_parts=bool(number % 2), **fields)
    plain = [chain.address(argument) if isinstance(argument, str) else argument for argument in arguments]
    module, function, values = {
        "token_transfer": (TOKEN, modules.TOKEN_TRANSFER, plain),
        "approve": (TOKEN, modules.TOKEN_APPROVE, plain),
        "take": (TOKEN, modules.TOKEN_TRANSFER_FROM, plain),
        "register": (REGISTRY, modules.REGISTER, [*OFFER, *plain]),
        "withdraw": (REGISTRY, modules.WITHDRAW, []),
        "set_payout": (REGISTRY, modules.SET_PAYOUT, plain),
    }[kind]
    return chain.call(sender, module, function, *values, **fields)


def sign_decision(chain: Chain, kind: str, value: int, number: int, nonce: int) -> list[Transaction]:
    """The only validator proposes a change, and executes it."""
    call_data = {
        "fee": modules.SET_PARAMETER.encode("base_fee_atoms", value),
        "pause": modules.PAUSE.encode(),
        "unpause": modules.UNPAUSE.encode(),
    }[kind]
    fields: dict[str, int] = {"max_fee": 10**18}
    return [
        chain.call("validator-0", GOVERNANCE, modules.PROPOSE, GOVERNANCE, call_data, nonce=nonce, **fields),
        chain.call("validator-0", GOVERNANCE, modules.EXECUTE, number, nonce=nonce + 1, **fields),
    ]


people = st.sampled_from(EVERYBODY)
edges = [0, 1, UNIT - 1, UNIT, 4 * UNIT, 10 * UNIT, 10 * UNIT + 1, 2**200, 2**256 - 1]
minted = st.sampled_from(edges) | st.integers(UNIT, 9 * UNIT)
amounts = st.sampled_from([*edges, ALL, ALL_AND_ONE]) | st.integers(0, 3 * UNIT)
receipts = st.integers(0, 40)
numbers = st.integers(0, 3)
signers = st.sampled_from(["attester"] * 9 + ["alice", "validator-0"])
shares = st.lists(st.tuples(people, st.integers(0, 5 * UNIT)), min_size=1, max_size=3)
mints = st.tuples(st.just("mint"), people, people, minted, receipts, signers)
operations = st.one_of(
    mints,
    mints,
    st.tuples(st.just("split"), people, shares, receipts, signers),
    st.tuples(st.just("transfer"), people, people, amounts),
    st.tuples(st.just("token_transfer"), people, people, amounts),
    st.tuples(st.just("approve"), people, people, amounts),
    st.tuples(st.just("take"), people, people, people, amounts),
    st.tuples(st.just("relay"), people, people, numbers, people, amounts),
    st.tuples(st.just("cancel"), people, people, numbers),
    st.tuples(st.just("register"), people, people),
    st.tuples(st.just("withdraw"), people),
    st.tuples(st.just("set_payout"), people, people, people),
)
decisions = st.tuples(st.just("decide"), st.sampled_from(["pause", "unpause", "unpause"]), st.just(0)) | st.tuples(
    st.just("decide"), st.just("fee"), st.sampled_from([0, 0, 1, 10**18])
)
nonce_shifts = st.sampled_from([0] * 12 + [-1, 1])
steps = st.tuples(nonce_shifts, operations | decisions)
blocks = st.lists(
    st.tuples(st.sampled_from([1, 500, 4_000]), st.lists(steps, min_size=6, max_size=24)), min_size=1, max_size=4
)
FIRST_EARNINGS = [(0, ("mint", name, name, 6 * UNIT, index, "attester")) for index, name in enumerate(PEOPLE[:3])]


def resolve(operation: Operation, model: Model) -> Operation:
    """The operation with an amount for one that depends on what the sender has."""
    if operation[-1] not in (ALL, ALL_AND_ONE):
        return operation
    return (*operation[:-1], model.balances[operation[1]] + (operation[-1] == ALL_AND_ONE))


def balances_in(records: Mapping[bytes, bytes]) -> dict[bytes, int]:
    """Every balance that the state holds, by address."""
    accounts = {key[1:]: Account.decode(record) for key, record in records.items() if key[0] == Domain.ACCOUNT}
    assert Account() not in accounts.values()  # A default is absent.
    return {address: account.balance for address, account in accounts.items() if account.balance}


def assert_agree(chain: Chain, model: Model) -> None:
    """State and model say the same, and every atom is accounted for."""
    state = chain.read()
    expected = {chain.address(name): balance for name, balance in model.balances.items() if balance}
    assert balances_in(chain.state.records) == expected
    assert (state.supply().minted, state.supply().burned) == (model.minted, model.burned)
    assert sum(expected.values()) == model.minted - model.burned == state.supply().circulating
    for name in EVERYBODY:
        assert chain.nonce(name) == model.nonces[name]
        registration: Registration | None = state.registration(chain.address(name))
        assert (registration is not None) == (name in model.payouts)
        if registration is not None:
            assert registration.payout == chain.address(model.payouts[name])
            assert registration.active == (name in model.active)
    for (owner, spender), amount in model.allowances.items():
        assert state.allowance(chain.address(owner), chain.address(spender)) == amount
    used = [key for key in chain.state.records if key[0] == Domain.RECEIPT]
    assert len(used) == len(model.used)
    assert sum(key[0] == Domain.AUTHORIZATION for key in chain.state.records) == len(model.authorizations)


def play_block(chain: Chain, model: Model, time_ms: int, plan: list[tuple[int, Operation]]) -> Block:
    """Proposes a block of the planned operations, compares every verdict with the model's, and adopts it."""
    model.begin(time_ms)
    sent: list[Transaction] = []
    verdicts: list[Verdict] = []
    for shift, planned in plan:
        if planned[0] == "decide":
            _, kind, value = planned
            made, executed = sign_decision(chain, kind, value, model.proposals + 1, model.nonces["validator-0"])
            first = model.judge(("propose", "validator-0", kind, value), made)
            sent.append(made)
            verdicts.append(first)
            if first == "done":
                sent.append(executed)
                verdicts.append(model.judge(("govern", "validator-0", kind, value), executed))
            continue
        operation = resolve(planned, model)
        transaction = sign(chain, operation, max(0, model.nonces[operation[1]] + shift))
        sent.append(transaction)
        verdicts.append(model.judge(operation, transaction))
    proposal = chain.build(*sent, time_ms=time_ms)
    statuses = iter([result.status for result in proposal.outcome.results])
    refused = iter([transaction.hash for transaction, _ in proposal.rejected] + [None])
    next_refused = next(refused)
    for transaction, verdict in zip(sent, verdicts, strict=True):
        if transaction.hash == next_refused and verdict == "refused":
            next_refused = next(refused)
        else:
            assert verdict == ("done" if next(statuses) else "failed")
    assert next_refused is None
    # Those that were refused have left no trace: without them the block is the same.
    assert chain.build(*proposal.outcome.transactions, time_ms=time_ms).block == proposal.block
    chain.adopt(proposal)
    return proposal.block


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(plan=blocks)
def test_no_sequence_of_operations_disagrees_with_the_naive_model(make_chain: MakeChain, plan: Any) -> None:
    chain = make_chain(attesters={"attester": (ATTESTER_ATOMS, ATTESTER_RECEIPTS)}, **BOUNDS)
    model = Model()
    history = [play_block(chain, model, 1, FIRST_EARNINGS)]
    for step_ms, steps_of_block in plan:
        history.append(play_block(chain, model, chain.head.time_ms + step_ms, steps_of_block))
        assert_agree(chain, model)
    # The same blocks from the same genesis come to the same roots.
    again = make_chain(attesters={"attester": (ATTESTER_ATOMS, ATTESTER_RECEIPTS)}, **BOUNDS)
    for block in history:
        again.follow(decode_block(block.encode()))
    assert again.head == chain.head
    assert again.state.records == chain.state.records


def _draw(chance: random.Random) -> tuple[int, Operation]:
    """One step of a long history; most of them could succeed."""
    one, two, three = (chance.choice(EVERYBODY) for _ in range(3))
    amount = chance.choice([chance.randrange(UNIT), chance.randrange(UNIT), ALL, ALL_AND_ONE, 2**256 - 1])
    minted, receipt = chance.randrange(5 * UNIT), chance.randrange(400)
    operation: Operation = chance.choice(
        [
            ("transfer", one, two, amount),
            ("token_transfer", one, two, amount),
            ("approve", one, two, amount),
            ("take", one, two, three, amount),
            ("relay", one, two, chance.randrange(8), three, amount),
            ("cancel", one, two, chance.randrange(8)),
            ("mint", one, two, minted, receipt, chance.choice(["attester"] * 5 + ["alice"])),
            ("split", one, [(two, minted), (three, minted // 3)], receipt, "attester"),
            ("register", one, two),
            ("withdraw", one),
            ("set_payout", one, two, three),
            ("decide", chance.choice(["pause", "unpause", "unpause", "unpause"]), 0),
            ("decide", "fee", chance.choice([0, 0, 0, 1, 10**18])),
        ]
    )
    return chance.choice([0] * 9 + [1]), operation


@pytest.mark.parametrize("seed", range(4))
def test_long_histories_agree_with_the_naive_model(make_chain: MakeChain, seed: int) -> None:
    chance = random.Random(seed)
    chain = make_chain(attesters={"attester": (ATTESTER_ATOMS, ATTESTER_RECEIPTS)}, **BOUNDS)
    model = Model()
    play_block(chain, model, 1, FIRST_EARNINGS)
    for _ in range(25):
        play_block(chain, model, chain.head.time_ms + 2_500, [_draw(chance) for _ in range(25)])
        assert_agree(chain, model)
    assert model.burned
    assert len(model.used) > 20


def test_fees_quota_and_failures_in_one_story(make_chain: MakeChain) -> None:
    """What random plans meet seldom: each kind of verdict, and a fee that somebody can pay."""
    chain = make_chain(attesters={"attester": (ATTESTER_ATOMS, ATTESTER_RECEIPTS)}, **BOUNDS)
    model = Model()
    mint = ("mint", "alice", "alice", 10 * UNIT, 1, "attester")
    play_block(chain, model, 1_000, [(0, mint), (0, mint), (0, ("mint", "bob", "bob", UNIT - 1, 2, "attester"))])
    play_block(
        chain,
        model,
        2_000,
        [
            (0, ("transfer", "alice", "bob", UNIT)),
            (0, ("transfer", "bob", "alice", 1)),
            (0, ("token_transfer", "alice", "carol", ALL_AND_ONE)),
            (0, ("approve", "alice", "bob", 7)),
            (1, ("approve", "alice", "bob", 8)),
            (0, ("register", "carol", "dave")),
            (0, ("withdraw", "carol")),
            (0, ("register", "bob", "bob")),
            (0, ("decide", "fee", 1)),
            (0, ("decide", "unpause", 0)),
        ],
    )
    assert_agree(chain, model)
    assert (model.base_fee, model.active, model.payouts) == (1, set(), {"carol": "dave"})
    failing = ("token_transfer", "bob", "carol", ALL_AND_ONE)
    play_block(
        chain,
        model,
        3_000,
        [(0, ("transfer", "alice", "bob", ALL)), (0, ("transfer", "alice", "bob", UNIT)), (0, failing)],
    )
    assert_agree(chain, model)
    assert model.burned == 21_000 + chain.call("bob", TOKEN, modules.TOKEN_TRANSFER, ZERO_ADDRESS, 0).gas_used
    play_block(chain, model, 4_000, [(0, ("decide", "fee", 10**18)), (0, ("decide", "pause", 0))])
    play_block(chain, model, 5_000, [(0, ("transfer", "bob", "alice", 0)), (0, ("decide", "unpause", 0))])
    play_block(chain, model, 6_000, [(0, ("mint", "dave", "carol", UNIT, 3, "attester"))])
    assert_agree(chain, model)
    assert model.balances["dave"] == UNIT
