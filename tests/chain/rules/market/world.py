"""A market played twice over: by the rules on a state in memory, and by the naive reference beside them.

Calls go the way that a block's go, from their ABI encoding on, but nobody signs them: so millions can be played. After
each, both must have said the same, and nothing may be wrong with the book.
"""

from collections import Counter
from functools import cache
from typing import Any, Final

from chain.primitives import market as calls
from chain.primitives.abi import Function
from chain.primitives.block import Log
from chain.primitives.hashing import keccak256
from chain.primitives.keys import recover_address
from chain.primitives.market import (
    ORDER_CLOSED_EVENT,
    ORDER_PLACED_EVENT,
    TRADE_EVENT,
    CloseReason,
    Side,
    asset_address,
)
from chain.primitives.modules import ADD_ISSUER, GOVERNANCE, MARKET, REMOVE_ISSUER, TOKEN, TRANSFER_EVENT, TREASURY
from chain.primitives.network import AttesterAllowance, Network, Validator
from chain.primitives.records import Supply
from chain.primitives.transaction import DYNAMIC_FEE, Transaction
from chain.primitives.types import ZERO_ADDRESS, ZERO_HASH, Address
from chain.rules import compliance, governed
from chain.rules.admission import Admission, Lane
from chain.rules.call import BlockContext, Call
from chain.rules.execution import execute
from chain.rules.genesis import genesis_changes
from chain.rules.market import markets
from chain.rules.market.book import levels
from chain.rules.operations import decode_call
from chain.rules.state import State
from tests.chain.rules.market.auditing import BOOK_DOMAINS, audit, balances_in
from tests.chain.rules.market.reference import AUTHORIZATION_REQUIRED, CLAWBACK, FREEZABLE, Asset, Book, Reference

Step = tuple[Any, ...]
"""An operation's name and its arguments, people and assets by name."""

TRADERS: Final = ("alice", "bob", "carol", "dave", "erin", "frank")
ISSUER: Final = "issuer"
AUTHORITY: Final = "authority"
ACCEPTED: Final = (276, 756)
"""The countries that the policy of the last market accepts."""
ASSETS: Final = {"AIT": TOKEN, "PLAIN": asset_address(1), "STRICT": asset_address(2)}
HOLDING: Final = 10**12
_CHAIN_ID: Final = 7
_START_S: Final = 1_700_000_000
_GOVERNED: Final = {
    operation.function: operation
    for operation in (*markets.OPERATIONS, *compliance.OPERATIONS, *governed.OPERATIONS)
    if operation.is_governed
}


@cache
def address_of(name: str) -> Address:
    """Where somebody's balance is."""
    known = {"market": MARKET, "treasury": TREASURY, "nobody": ZERO_ADDRESS}
    return known.get(name) or Address(keccak256(name.encode())[:20])


_NAMES: Final[dict[bytes, str]] = {
    address_of(name): name for name in (*TRADERS, ISSUER, AUTHORITY, "market", "treasury")
}


class Disagreement(AssertionError):
    """The rules and the reference have said different things, or a property is broken."""


class _Records:
    """A state in a dictionary."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}

    def get(self, state_key: bytes) -> bytes | None:
        return self.records.get(state_key)

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        for key, record in changes.items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record


class World:
    """Three assets, three markets (one of them of flagged assets and with a policy), and everybody rich."""

    def __init__(self) -> None:
        self.reference = _new_reference()
        self.reader = _Records()
        self.state = State(self.reader)
        self.block = BlockContext(_CHAIN_ID, 1, _START_S * 1000, recover_address)
        self.indexed: Counter[tuple[bytes, bytes]] = Counter()
        """Balances as Transfer events alone tell them."""
        self.limits: dict[int, tuple[int, int]] = {}
        """Side and worst price of every order ever placed."""
        self.verdicts: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self._begin()

    def _begin(self) -> None:
        network = Network(
            chain_id=_CHAIN_ID,
            name="world",
            validators=(Validator(address_of("validator"), bytes(33)),),
            attesters=(AttesterAllowance(address_of("attester"), 1, 1),),
        )
        self.reader.apply(genesis_changes(network))
        for name in TRADERS:
            self.state.credit(address_of(name), HOLDING)
            self.indexed[TOKEN, address_of(name)] = HOLDING
        self.state.set_supply(Supply(len(TRADERS) * HOLDING, 0))
        self.govern(ADD_ISSUER, address_of(ISSUER))
        self.govern(calls.ADD_AUTHORITY, address_of(AUTHORITY))
        self.govern(calls.DEFINE_POLICY, [address_of(AUTHORITY)], True, list(ACCEPTED), 1)
        for name, flags in (("PLAIN", 0), ("STRICT", AUTHORIZATION_REQUIRED | FREEZABLE | CLAWBACK)):
            self.send(ISSUER, calls.ISSUE_ASSET, f"{name} is worth nothing", name, 6, 0, flags, ZERO_HASH)
        for name in TRADERS:
            self.send(ISSUER, calls.SET_AUTHORIZED, ASSETS["STRICT"], address_of(name), True)
            for asset in ("PLAIN", "STRICT"):
                self.send(ISSUER, calls.MINT_ASSET, ASSETS[asset], address_of(name), HOLDING)
        for book in self.reference.markets.values():
            terms = (book.lot, book.tick, book.minimum_lots, book.maker_fee, book.taker_fee, book.policy)
            self.govern(calls.CREATE_MARKET, ASSETS[book.base], ASSETS[book.quote], *terms)
        self.next_block(1, 1)

    # Playing

    def play(self, step: Step) -> str | None:
        """One operation, on both; why it was refused, or None."""
        name, *arguments = step
        if name == "block":
            self.next_block(*arguments)
            return None
        self.reference.events.clear()
        expected: str | None = _REFERENCE[name](self.reference, *arguments)
        refused: str | None
        logs: list[Log]
        refused, logs = _RULES[name](self, *arguments)
        if refused != expected:
            raise Disagreement(f"{step}: the rules say {refused}, the reference {expected}")
        events = [event for log in logs if (event := _event_of(log)) is not None]
        if sorted(events, key=repr) != sorted(self.reference.events, key=repr):
            raise Disagreement(f"{step}: the rules emit {events}, the reference {self.reference.events}")
        self._index(logs)
        self._check_fills(events)
        if name == "place":
            self._check_spread(arguments[1])
        self.verdicts[f"{name} {refused or 'done'}"] += 1
        return refused

    def next_block(self, heights: int, seconds: int) -> None:
        """Adopts the changes, so many blocks and seconds pass, and everything is audited."""
        self.reader.apply(self.state.changes())
        self.state = State(self.reader)
        height, time_ms = self.block.height + heights, self.block.time_ms + seconds * 1000
        self.block = BlockContext(_CHAIN_ID, height, time_ms, recover_address)
        self.reference.height, self.reference.time_s = height, time_ms // 1000
        self.audit()

    def audit(self) -> None:
        """Balances to the atom, by the state, by events and by the reference; and the state in itself."""
        audit(self.reader.records)
        found = balances_in(self.reader.records)
        expected: Counter[tuple[bytes, bytes]] = Counter()
        for (asset, name), atoms in self.reference.balances.items():
            expected[ASSETS[asset], address_of(name)] = atoms
        if found != +expected:
            raise Disagreement(f"balances differ: {found - expected} {expected - found}")
        if found != +self.indexed:
            raise Disagreement("Transfer events do not add up to the balances")

    def cancel_everything(self) -> None:
        """Whatever has come to pass, everybody gets everything back, and nothing is left of the books."""
        self.next_block(1, 1)
        for market in self.reference.markets:
            self.govern_both("status", market, 1)
        self.play(("remove_issuer",))
        for name in (*TRADERS, ISSUER):
            for market in self.reference.markets:
                while any((order.owner, order.market) == (name, market) for order in self.reference.orders):
                    self.play(("cancel_all", name, market, 100))
        self.next_block(1, 1)
        left = [key for key in self.reader.records if key[0] in BOOK_DOMAINS]
        if left:
            raise Disagreement(f"something is left of the books: {left}")
        held = [key for key, atoms in self.reference.balances.items() if key[1] == "market" and atoms]
        if held:
            raise Disagreement(f"something is left of the escrows: {held}")

    def _index(self, logs: list[Log]) -> None:
        for log in logs:
            if log.topics[0] == TRANSFER_EVENT.topic:
                transfer = TRANSFER_EVENT.decode(log.topics, log.data)
                for who, sign in (("from", -1), ("to", 1)):
                    if transfer[who] != ZERO_ADDRESS:
                        self.indexed[log.address, transfer[who]] += sign * transfer["value"]

    def _check_fills(self, events: list[tuple[Any, ...]]) -> None:
        """No order trades at a price worse than its own."""
        for event in events:
            self.met[CloseReason(event[4]).name if event[0] == "OrderClosed" else event[0]] += 1
            if event[0] == "OrderPlaced":
                self.limits[event[2]] = event[4], event[6]
        for event in events:
            if event[0] == "Trade":
                for order_id in event[4:6]:
                    side, limit = self.limits[order_id]
                    if event[7] > limit if side == Side.BUY else event[7] < limit:
                        raise Disagreement(f"order {order_id} traded at {event[7]}, worse than {limit}")

    def _check_spread(self, market: int) -> None:
        bids, asks = (levels(self.state, market, side, 1) for side in (Side.BUY, Side.SELL))
        if bids and asks and bids[0].ticks >= asks[0].ticks:
            raise Disagreement(f"market {market} is crossed")

    # The rules' side

    def send(self, sender: str, function: Function, *arguments: Any) -> tuple[str | None, list[Log]]:
        """A call of the market module: the reason of its failure, and its events."""
        transaction = _unsigned(function.encode(*arguments))
        admission = Admission(address_of(sender), Lane.MEMBER, decode_call(transaction), 0)
        executed = execute(self.state, self.block, transaction, admission)
        logs = list(executed.result.logs)
        if executed.surplus_work >= 100:
            raise Disagreement(f"{function.name} has met {executed.surplus_work + 1} orders")
        if self.block.height == 1:
            self._index(logs)
        return (None if executed.failure is None else str(executed.failure.reason)), logs

    def govern(self, function: Function, *arguments: Any) -> None:
        """What governance decides; it must be possible."""
        operation = _GOVERNED[function]
        call = Call(self.state, self.block, GOVERNANCE, operation.module)
        operation.apply(call, operation.validate(call, *function.decode(function.encode(*arguments))))

    def govern_both(self, what: str, market: int, *values: int) -> None:
        """A change of a market, on both sides, unless nothing would change, or it has closed for good."""
        book = self.reference.markets[market]
        if what == "status":
            if book.status == 1 or book.status == values[0]:
                return
            self.govern(calls.SET_MARKET_STATUS, market, *values)
            (book.status,) = values
        elif what == "fees":
            self.govern(calls.SET_MARKET_FEES, market, *values)
            book.maker_fee, book.taker_fee = values
        else:
            self.govern(calls.SET_MARKET_POLICY, market, *values)
            (book.policy,) = values

    def grant(self, subject: str, country: int, lasting_s: int) -> tuple[None, list[Log]]:
        """The authority writes a credential."""
        expires_at = self.reference.time_s + lasting_s
        arguments = (address_of(subject), country, 1, expires_at, keccak256(subject.encode()))
        refused, _ = self.send(AUTHORITY, calls.GRANT_CREDENTIAL, *arguments)
        assert refused is None
        return None, []

    def remove_issuer(self) -> tuple[None, list[Log]]:
        """Governance removes the issuer, once."""
        if address_of(ISSUER) in self.state.issuers():
            self.govern(REMOVE_ISSUER, address_of(ISSUER))
        return None, []

    def govern_rules(self, what: str, market: int, *values: int) -> tuple[None, list[Log]]:
        """`govern_both`, as a step; the reference's half is in it."""
        self.govern_both(what, market, *values)
        return None, []


def _new_reference() -> Reference:
    strict = Asset(ISSUER, AUTHORIZATION_REQUIRED | FREEZABLE | CLAWBACK, authorized=set(TRADERS))
    books = [
        Book("AIT", "PLAIN", lot=1_000, tick=7, minimum_lots=1, maker_fee=5, taker_fee=30),
        Book("STRICT", "PLAIN", lot=1, tick=1, minimum_lots=2, maker_fee=0, taker_fee=1_000),
        Book("AIT", "STRICT", lot=3, tick=10, minimum_lots=1, maker_fee=1, taker_fee=0, policy=1),
    ]
    reference = Reference({"PLAIN": Asset(ISSUER), "STRICT": strict}, books, set(ACCEPTED))
    for name in TRADERS:
        for asset in ASSETS:
            reference.balances[asset, name] = HOLDING
    return reference


def _grant_in_reference(reference: Reference, subject: str, country: int, lasting_s: int) -> None:
    reference.credentials[subject] = country, reference.time_s + lasting_s


def _remove_issuer_in_reference(reference: Reference) -> None:
    reference.issuers.clear()


_REFERENCE: Final[dict[str, Any]] = {
    "place": Reference.place,
    "cancel": Reference.cancel,
    "cancel_by_client_id": Reference.cancel_by_client_id,
    "cancel_all": Reference.cancel_all,
    "sweep": lambda reference, _sender, numbers: reference.sweep(numbers),
    "cancel_frozen": Reference.cancel_frozen,
    "set_frozen": Reference.set_frozen,
    "set_authorized": Reference.set_authorized,
    "claw_back": Reference.claw_back,
    "grant": _grant_in_reference,
    "remove_issuer": _remove_issuer_in_reference,
    "govern": lambda reference, *_: None,
}

_RULES: Final[dict[str, Any]] = {
    "place": lambda world, who, *rest: world.send(who, calls.PLACE_ORDER, *rest),
    "cancel": lambda world, who, *rest: world.send(who, calls.CANCEL_ORDER, *rest),
    "cancel_by_client_id": lambda world, who, *rest: world.send(who, calls.CANCEL_BY_CLIENT_ID, *rest),
    "cancel_all": lambda world, who, *rest: world.send(who, calls.CANCEL_ALL, *rest),
    "sweep": lambda world, who, *rest: world.send(who, calls.SWEEP_EXPIRED, *rest),
    "cancel_frozen": lambda world, who, asset, numbers: world.send(who, calls.CANCEL_FROZEN, ASSETS[asset], numbers),
    "set_frozen": lambda world, who, asset, holder, value: world.send(
        who, calls.SET_FROZEN, ASSETS[asset], address_of(holder), value
    ),
    "set_authorized": lambda world, who, asset, holder, value: world.send(
        who, calls.SET_AUTHORIZED, ASSETS[asset], address_of(holder), value
    ),
    "claw_back": lambda world, who, asset, holder, value: world.send(
        who, calls.CLAW_BACK, ASSETS[asset], address_of(holder), value
    ),
    "grant": World.grant,
    "remove_issuer": World.remove_issuer,
    "govern": World.govern_rules,
}


def _event_of(log: Log) -> tuple[Any, ...] | None:
    """An order's event with the people's names; None for any other."""
    for event in (ORDER_PLACED_EVENT, TRADE_EVENT, ORDER_CLOSED_EVENT):
        if log.topics[0] == event.topic and log.address == MARKET:
            values = event.decode(log.topics, log.data).values()
            return (event.name, *(_NAMES[value] if isinstance(value, bytes) else value for value in values))
    return None


def _unsigned(call_data: bytes) -> Transaction:
    """A call of the market module as a block would hold it, but for the signature."""
    return Transaction(
        type=DYNAMIC_FEE,
        chain_id=_CHAIN_ID,
        nonce=0,
        max_priority_fee=0,
        max_fee=0,
        gas_limit=0,
        to=MARKET,
        value=0,
        data=call_data,
        signature=b"",
        raw=b"",
        hash=ZERO_HASH,
        signing_hash=ZERO_HASH,
    )
