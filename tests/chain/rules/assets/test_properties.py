"""Whatever issuers and holders do, in whatever order: a naive model of two assets says what must come of it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chain.primitives import market
from chain.primitives.market import AssetFlag, asset_address
from chain.primitives.modules import MARKET, TOKEN_APPROVE, TOKEN_TRANSFER, TOKEN_TRANSFER_FROM
from chain.primitives.records import Domain, decode_amount
from chain.primitives.rejection import Rejected
from chain.primitives.types import MAX_UINT256
from chain.rules.assets.holdings import balance_of, issued_asset
from chain.rules.assets.tokens import allowance
from chain.rules.call import Call
from chain.rules.operations import decode_call
from chain.rules.state import State

if TYPE_CHECKING:
    from chain.primitives.abi import Function
    from chain.primitives.types import Address
    from tests.chain.rules.conftest import Chain, MakeChain

ISSUERS = ("issuer", "rival")
PEOPLE = ("alice", "bob", "carol", *ISSUERS)
COINS = (asset_address(1), asset_address(2))  # The first is issuer's, the second rival's.
CAP = 50

people, issuers, coins = st.sampled_from(PEOPLE), st.sampled_from(ISSUERS), st.sampled_from(COINS)
amounts = st.one_of(st.integers(0, 30), st.sampled_from((CAP, CAP + 1, MAX_UINT256)))


class Assets(RuleBasedStateMachine):
    """Both sides of the comparison: the state under the rules, and dictionaries."""

    make_chain: ClassVar[MakeChain]

    def __init__(self) -> None:
        super().__init__()
        self.chain: Chain = self.make_chain()
        self.state = State(self.chain.state)
        self.state.set_issuers(tuple(map(self.chain.address, ISSUERS)))
        self.registered = set(ISSUERS)
        self.flags: dict[Address, int] = {}
        self.balances: dict[tuple[Address, str], int] = defaultdict(int)
        self.allowances: dict[tuple[Address, str, str], int] = defaultdict(int)
        self.authorized: set[tuple[Address, str]] = set()
        self.frozen: set[tuple[Address, str]] = set()

    @initialize(flags=st.tuples(st.integers(0, 7), st.integers(0, 7)))
    def issue(self, flags: tuple[int, int]) -> None:
        for coin, issuer, flag in zip(COINS, ISSUERS, flags, strict=True):
            terms = ("Coin", "COIN", 0, CAP if issuer == "issuer" else 0, flag, bytes(32))
            assert self.call(issuer, MARKET, market.ISSUE_ASSET, *terms)
            self.flags[coin] = flag

    # Doing something, and what must come of it

    def call(self, sender: str, to: Address, function: Function, *arguments: Any) -> bool:
        """Whether it succeeded; a refusal must leave no trace."""
        named = [self.chain.address(each) if each in PEOPLE else each for each in arguments]
        transaction = self.chain.call(sender, to, function, *named, nonce=0)
        module_call = decode_call(transaction)
        assert module_call is not None
        call = Call(self.state, self.chain.next_block, self.chain.address(sender), to)
        before = self.state.changes()
        try:
            plan = module_call.validate(call)
        except Rejected:
            assert self.state.changes() == before
            assert not call.logs
            return False
        assert self.state.changes() == before
        module_call.operation.apply(call, plan)
        return True

    def issuer_of(self, coin: Address) -> str:
        return ISSUERS[COINS.index(coin)]

    def may_act(self, sender: str, coin: Address, power: int = 0) -> bool:
        is_issuer = sender == self.issuer_of(coin) and sender in self.registered
        return is_issuer and (not power or bool(self.flags[coin] & power))

    def may_hold(self, coin: Address, name: str) -> bool:
        if name == self.issuer_of(coin):
            return True
        if self.flags[coin] & AssetFlag.FREEZABLE and (coin, name) in self.frozen:
            return False
        return not self.flags[coin] & AssetFlag.AUTHORIZATION_REQUIRED or (coin, name) in self.authorized

    def supply(self, coin: Address) -> int:
        return sum(amount for (asset, _), amount in self.balances.items() if asset == coin)

    def moved(self, coin: Address, sender: str, recipient: str, amount: int) -> None:
        self.balances[coin, sender] -= amount
        self.balances[coin, recipient] += amount

    @rule(sender=people, coin=coins, recipient=people, amount=amounts)
    def mint(self, sender: str, coin: Address, recipient: str, amount: int) -> None:
        is_allowed = self.may_act(sender, coin) and self.may_hold(coin, recipient) and 0 < amount < MAX_UINT256
        fits = coin == COINS[1] or self.supply(coin) + amount <= CAP
        assert self.call(sender, MARKET, market.MINT_ASSET, coin, recipient, amount) is (is_allowed and fits)
        if is_allowed and fits:
            self.balances[coin, recipient] += amount

    @rule(coin=coins, recipient=people, amount=st.integers(1, 30))
    def mint_well(self, coin: Address, recipient: str, amount: int) -> None:
        self.mint(self.issuer_of(coin), coin, recipient, amount)

    @rule(sender=people, coin=coins, amount=amounts)
    def burn(self, sender: str, coin: Address, amount: int) -> None:
        is_allowed = sender == self.issuer_of(coin) and 0 < amount <= self.balances[coin, sender]
        assert self.call(sender, MARKET, market.BURN_ASSET, coin, amount) is is_allowed
        if is_allowed:
            self.balances[coin, sender] -= amount

    @rule(sender=people, coin=coins, recipient=people, amount=amounts)
    def transfer(self, sender: str, coin: Address, recipient: str, amount: int) -> None:
        holders_may = self.may_hold(coin, sender) and self.may_hold(coin, recipient)
        is_allowed = holders_may and amount <= self.balances[coin, sender]
        assert self.call(sender, coin, TOKEN_TRANSFER, recipient, amount) is is_allowed
        if is_allowed:
            self.moved(coin, sender, recipient, amount)

    @rule(owner=people, coin=coins, spender=people, amount=amounts)
    def approve(self, owner: str, coin: Address, spender: str, amount: int) -> None:
        assert self.call(owner, coin, TOKEN_APPROVE, spender, amount)
        self.allowances[coin, owner, spender] = amount

    @rule(sender=people, coin=coins, owner=people, recipient=people, amount=amounts)
    def take(self, sender: str, coin: Address, owner: str, recipient: str, amount: int) -> None:
        allowed = self.allowances[coin, owner, sender]
        holders_may = self.may_hold(coin, owner) and self.may_hold(coin, recipient)
        is_allowed = holders_may and amount <= min(allowed, self.balances[coin, owner])
        assert self.call(sender, coin, TOKEN_TRANSFER_FROM, owner, recipient, amount) is is_allowed
        if is_allowed:
            self.moved(coin, owner, recipient, amount)
            if allowed < MAX_UINT256:
                self.allowances[coin, owner, sender] -= amount

    @rule(sender=people, coin=coins, holder=people, amount=amounts)
    def claw_back(self, sender: str, coin: Address, holder: str, amount: int) -> None:
        is_allowed = self.may_act(sender, coin, AssetFlag.CLAWBACK) and 0 < amount <= self.balances[coin, holder]
        assert self.call(sender, MARKET, market.CLAW_BACK, coin, holder, amount) is is_allowed
        if is_allowed:
            self.moved(coin, holder, sender, amount)

    @rule(sender=issuers, coin=coins, holder=people, value=st.booleans())
    def set_frozen(self, sender: str, coin: Address, holder: str, value: bool) -> None:
        is_allowed = self.may_act(sender, coin, AssetFlag.FREEZABLE)
        assert self.call(sender, MARKET, market.SET_FROZEN, coin, holder, value) is is_allowed
        if is_allowed:
            (self.frozen.add if value else self.frozen.discard)((coin, holder))

    @rule(sender=issuers, coin=coins, holder=people, value=st.booleans())
    def set_authorized(self, sender: str, coin: Address, holder: str, value: bool) -> None:
        is_allowed = self.may_act(sender, coin, AssetFlag.AUTHORIZATION_REQUIRED)
        assert self.call(sender, MARKET, market.SET_AUTHORIZED, coin, holder, value) is is_allowed
        if is_allowed:
            (self.authorized.add if value else self.authorized.discard)((coin, holder))

    @rule(sender=issuers, coin=coins, flags=st.integers(0, 9))
    def weaken(self, sender: str, coin: Address, flags: int) -> None:
        is_weaker = flags | self.flags[coin] == self.flags[coin] != flags
        is_allowed = self.may_act(sender, coin) and is_weaker
        assert self.call(sender, MARKET, market.WEAKEN_FLAGS, coin, flags) is is_allowed
        if is_allowed:
            self.flags[coin] = flags

    @rule(name=issuers)
    def register_or_remove(self, name: str) -> None:
        self.registered ^= {name}
        self.state.set_issuers(tuple(self.chain.address(each) for each in sorted(self.registered)))

    # What must always hold

    @invariant()
    def both_sides_agree(self) -> None:
        for (coin, name), amount in self.balances.items():
            assert balance_of(self.state, coin, self.chain.address(name)) == amount
        for (coin, owner, spender), amount in self.allowances.items():
            assert allowance(self.state, coin, self.chain.address(owner), self.chain.address(spender)) == amount
        for coin, flags in self.flags.items():
            assert issued_asset(self.state, coin).flags == flags

    @invariant()
    def supply_is_the_sum_of_all_balances(self) -> None:
        """Of the records as they would be kept, whoever holds them."""
        records = {key: record for key, record in self.state.changes().items() if record is not None}
        held: dict[bytes, int] = defaultdict(int)
        for coin in self.flags:
            prefix = bytes((Domain.ASSET_BALANCE,)) + coin
            balances = {key: decode_amount(record) for key, record in records.items() if key.startswith(prefix)}
            assert sum(balances.values()) == issued_asset(self.state, coin).supply == self.supply(coin)
            assert 0 not in balances.values()
            for key in balances:
                held[key[len(prefix) :]] += 1
        prefix = bytes((Domain.ASSETS_HELD,))
        counts = {key[1:]: record[0] for key, record in records.items() if key.startswith(prefix)}
        assert counts == held


def test_assets_as_a_naive_model_has_them(make_chain: MakeChain) -> None:
    class WithChain(Assets):
        pass

    WithChain.make_chain = staticmethod(make_chain)
    run_state_machine_as_test(
        WithChain,
        settings=settings(
            max_examples=60,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
