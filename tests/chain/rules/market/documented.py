"""Plays the examples of docs/market.md: each line is a call in a block of its own, or says what must be so by now.

What a line says is everything: an event, a closed order or an atom that it leaves out is a failure too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from chain.primitives import market as calls
from chain.primitives import modules, swaps
from chain.primitives.hashing import sha256
from chain.primitives.market import CloseReason, MarketStatus, OrderKind, Side, asset_address
from chain.primitives.modules import GOVERNANCE, HTLC, MARKET, REGISTRY, TOKEN, TREASURY
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS, ZERO_HASH, Address
from chain.rules.assets.holdings import balance_of
from chain.rules.compliance import policy_count
from chain.rules.market.amounts import wanted_asset
from chain.rules.market.book import order_count
from chain.rules.market.markets import known_market
from chain.rules.reputation import reputation_of
from tests.chain.rules.market.auditing import audit

if TYPE_CHECKING:
    from chain.primitives.abi import Function
    from chain.primitives.block import Log
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import Chain

PEOPLE: Final = ("alice", "bob", "carol")
DUSD: Final = asset_address(1)
ASSETS: Final = {"AIT": TOKEN, "DUSD": DUSD}
DECIMALS: Final = {TOKEN: 18, DUSD: 6}
HELD: Final = {"AIT": 100 * ATOMS_PER_AIT, "DUSD": 10_000 * 10**6}
LOT_ATOMS: Final = ATOMS_PER_AIT // 100
FEES: Final = (5, 10)
FLAGS: Final = {"authorization required": 1, "freezable": 2, "clawback": 4}
STATUSES: Final = {"open": MarketStatus.OPEN, "close": MarketStatus.CANCEL_ONLY, "halt": MarketStatus.HALTED}
SECRET: Final = sha256(b"documented")
DONE: Final = "done"


def atoms_of(amount: str, asset: str) -> int:
    """Of an amount in words, which must be whole atoms."""
    atoms = Decimal(amount.replace(",", "")).scaleb(DECIMALS[ASSETS[asset]])
    assert atoms == int(atoms), f"{amount} {asset} is not a whole number of atoms"
    return int(atoms)


def flags_of(text: str) -> int:
    """Of an issuer's powers in words."""
    return sum(flag for words, flag in FLAGS.items() if words in text)


def words_of(name: str) -> str:
    """An enum's member as the page writes it."""
    return name.lower().replace("_", " ")


class Story:
    """One example, from its beginning."""

    def __init__(self, chain: Chain, lines: list[str]) -> None:
        self.chain = chain
        self.lines = lines
        self.logs: list[Log] = []
        self._swap = b""
        settings = [line for line in lines if line.startswith(("DUSD is issued with", "the market has tick"))]
        self.steps = lines[len(settings) :]
        self._found("\n".join(settings))

    def _found(self, settings: str) -> None:
        chain, issuer = self.chain, self.chain.address("issuer")
        flags = flags_of(settings)
        cap = re.search(r"cap (\S+) DUSD", settings)
        tick, minimum = re.search(r"tick (\d+)", settings), re.search(r"minimum (\d+) lots", settings)
        chain.give(*PEOPLE)
        chain.govern(GOVERNANCE, modules.ADD_ISSUER.encode(issuer))
        chain.govern(MARKET, calls.ADD_AUTHORITY.encode(chain.address("authority")))
        terms = ("Devnet dollar", "DUSD", 6, atoms_of(cap[1], "DUSD") if cap else 0, flags, ZERO_HASH)
        self._send("issuer", MARKET, calls.ISSUE_ASSET, *terms)
        for name in PEOPLE:
            if flags & FLAGS["authorization required"]:
                self._send("issuer", MARKET, calls.SET_AUTHORIZED, DUSD, chain.address(name), True)
            self._send("issuer", MARKET, calls.MINT_ASSET, DUSD, chain.address(name), HELD["DUSD"])
        terms_of_trade = (LOT_ATOMS, int(tick[1]) if tick else 1, int(minimum[1]) if minimum else 1)
        market = (TOKEN, DUSD, *terms_of_trade, *FEES, 0)
        chain.govern(MARKET, calls.CREATE_MARKET.encode(*market))

    # Playing

    def play(self) -> None:
        """Every line; raises AssertionError with the one that is not so."""
        while self.steps:
            line = self.steps.pop(0)
            following: list[str] = []
            while self.steps and self.steps[0].startswith(" "):
                following.append(self.steps.pop(0).strip())
            self.logs = []
            try:
                answer = self._play(line)
                audit(self.chain.state.records)
                expected = line.partition(" -> ")[2]
                assert answer == expected, f"the answer is: {answer}"
                if not answer.startswith("refused"):
                    self._check_events(following)
            except AssertionError as error:
                raise AssertionError(f"docs/market.md says: {line}\n{error}") from error

    def _play(self, line: str) -> str:
        said = line.partition(" -> ")[0]
        for pattern, method in _LINES:
            found = re.fullmatch(pattern, said)
            if found:
                return method(self, *found.groups())
        raise AssertionError("nobody knows what this means")

    def _send(self, sender: str, to: Address, function: Function, *arguments: Any) -> str:
        return self._try([self.chain.call(sender, to, function, *arguments)])

    def _try(self, transactions: list[Transaction]) -> str:
        failure = self.chain.build(*transactions).outcome.failures[-1]
        if failure is not None:
            self.chain.fail(transactions[-1], failure.reason, after=transactions[:-1])
            return f"refused: {failure.reason}"
        for result in self.chain.add(*transactions).results:
            self.logs += result.logs
        return DONE

    def _call(self, sender: str, function: Function, *arguments: Any) -> str:
        return self._send(sender, MARKET, function, *arguments)

    def _govern(self, target: Address, function: Function, *arguments: Any) -> str:
        self.chain.govern(target, function.encode(*arguments))
        return DONE

    # What happened

    def _events(self, event: Any) -> list[dict[str, Any]]:
        return [
            event.decode(log.topics, log.data)
            for log in self.logs
            if (log.address, log.topics[0]) == (MARKET, event.topic)
        ]

    def _own_ids(self) -> list[int]:
        return [each["orderId"] for each in self._events(calls.ORDER_PLACED_EVENT)]

    def _check_events(self, lines: list[str]) -> None:
        """The lines below a call: the trades in their order, and what else was closed."""
        trades: list[tuple[Any, ...]] = []
        closed: Counter[tuple[Any, ...]] = Counter()
        for line in lines:
            if " with order" in line:
                trades += self._documented_trades(line)
            else:
                closed.update(_documented_closings(line))
        own = self._own_ids()
        emitted = [
            (each["orderId"], words_of(CloseReason(each["reason"]).name), each["lotsLeft"])
            for each in self._events(calls.ORDER_CLOSED_EVENT)
            if each["orderId"] not in own
        ]
        assert trades == [self._trade(each) for each in self._events(calls.TRADE_EVENT)]
        assert closed == Counter(emitted)

    def _trade(self, values: dict[str, Any]) -> tuple[Any, ...]:
        market, taker_side = known_market(self.chain.read(), values["market"]), values["takerSide"]
        maker_side = Side.SELL if taker_side == Side.BUY else Side.BUY
        return (
            values["lots"],
            values["price"],
            values["makerOrderId"],
            values["lots"] * values["price"],
            (values["makerFee"], wanted_asset(market, maker_side)),
            (values["takerFee"], wanted_asset(market, taker_side)),
        )

    def _documented_trades(self, line: str) -> list[tuple[Any, ...]]:
        found = re.fullmatch(
            r"(?:(\d+) times )?(\d+) at (\d+) with orders? (\d+)(?: to (\d+))?: "
            r"value (\S+) DUSD, maker pays (\S+) (AIT|DUSD), taker pays (\S+) (AIT|DUSD)",
            line,
        )
        assert found, line
        count, lots, price, first, last, value, maker_fee, maker_asset, taker_fee, taker_asset = found.groups()
        ids = range(int(first), int(last or first) + 1)
        assert len(ids) == int(count or 1), line
        maker = (atoms_of(maker_fee, maker_asset), ASSETS[maker_asset])
        taker = (atoms_of(taker_fee, taker_asset), ASSETS[taker_asset])
        return [(int(lots), int(price), number, atoms_of(value, "DUSD"), maker, taker) for number in ids]

    # Orders

    def place(self, who: str, times: str | None, side: str, lots: str, price: str, rest: str) -> str:
        """An order, or some alike in one block."""
        kind, expiry_height, client_id = OrderKind.GOOD_TILL_CANCELLED, 0, 0
        for term in filter(None, rest.split(", ")):
            if term.startswith("client id "):
                client_id = int(term.split()[-1])
            else:
                name, _, later = term.partition(" ")
                kind = OrderKind[name.upper().replace("-", "_")]
                expiry_height = self.chain.next_block.height + int(later) if later else 0
        arguments = (1, Side[side.upper()], kind, int(price), int(lots), expiry_height, client_id)
        placed = [
            self.chain.call(who, MARKET, calls.PLACE_ORDER, *arguments, later=later) for later in range(int(times or 1))
        ]
        answer = self._try(placed)
        return self._became() if answer == DONE else answer

    def _became(self) -> str:
        own = self._own_ids()
        assert own[-1] == order_count(self.chain.read())
        if len(own) > 1:
            assert not self._events(calls.ORDER_CLOSED_EVENT)
            return f"orders {own[0]} to {own[-1]} rest"
        closed = [each for each in self._events(calls.ORDER_CLOSED_EVENT) if each["orderId"] == own[0]]
        if not closed:
            return f"order {own[0]} rests"
        left = closed[0]["lotsLeft"]
        return f"order {own[0]} {words_of(CloseReason(closed[0]['reason']).name)}" + (
            f", {left} lots left" if left else ""
        )

    def close_some(self, who: str, function: Function, *arguments: Any) -> str:
        """A call that closes as many orders as it can."""
        answer = self._call(who, function, *arguments)
        return f"{len(self._events(calls.ORDER_CLOSED_EVENT))} closed" if answer == DONE else answer

    # Time, governance, compliance

    def pass_blocks(self, count: str) -> str:
        """Empty ones."""
        for _ in range(int(count)):
            self.chain.add()
        return ""

    def pass_seconds(self, seconds: str) -> str:
        """One block so much later."""
        self.chain.add(time_ms=self.chain.head.time_ms + int(seconds) * 1000)
        return ""

    def define_policy(self, number: str, but: str, countries: str, level: str) -> str:
        """The next one, of one authority: of these countries, or of all but these."""
        codes = [int(code) for code in countries.split(" and ")]
        arguments = ([self.chain.address("authority")], not but, codes, int(level))
        assert policy_count(self.chain.read()) + 1 == int(number)
        return self._govern(MARKET, calls.DEFINE_POLICY, *arguments)

    def certify(self, who: str, subject: str, country: str, level: str, seconds: str) -> str:
        """A credential for so long from the next block on."""
        expiry = self.chain.next_block.time_ms // 1000 + int(seconds)
        address = self.chain.address(subject)
        return self._call(who, calls.GRANT_CREDENTIAL, address, int(country), int(level), expiry, ZERO_HASH)

    # Assets and swaps

    def transfer(self, who: str, amount: str, owner: str | None, recipient: str) -> str:
        """One's own, or by an allowance."""
        address, atoms = self.chain.address, atoms_of(amount, "DUSD")
        if owner is None:
            return self._send(who, DUSD, modules.TOKEN_TRANSFER, address(recipient), atoms)
        return self._send(who, DUSD, modules.TOKEN_TRANSFER_FROM, address(owner), address(recipient), atoms)

    def lock(self, who: str, amount: str, recipient: str, seconds: str) -> str:
        """A swap until so many seconds after the next block."""
        deadline = self.chain.next_block.time_ms // 1000 + int(seconds)
        terms = (sha256(SECRET), self.chain.address(recipient), TOKEN, atoms_of(amount, "AIT"), deadline)
        self._swap = swaps.swap_id(terms[0], self.chain.address(who), *terms[1:])
        return self._send(who, HTLC, swaps.LOCK, *terms)

    def claim(self, who: str, wrong: str | None) -> str:
        """With the secret, or another."""
        return self._send(who, HTLC, swaps.CLAIM, self._swap, ZERO_HASH if wrong else SECRET)

    def mint(self, provider: str, amount: str) -> str:
        """For a receipt that was attested."""
        return self._try([self.chain.mint(provider, provider, atoms_of(amount, "AIT"))])

    # What must be so

    def check_holdings(self, who: str, ait: str, dusd: str) -> str:
        """Differences to the beginning; `market` and `treasury` had nothing."""
        holder = {"market": MARKET, "treasury": TREASURY}.get(who) or self.chain.address(who)
        before = HELD if who in PEOPLE else {"AIT": 0, "DUSD": 0}
        for symbol, change in (("AIT", ait), ("DUSD", dusd)):
            found = balance_of(self.chain.read(), ASSETS[symbol], holder) - before[symbol]
            assert found == atoms_of(change, symbol), f"{who} has {found} atoms of {symbol}"
        return ""

    def check_reputation(self, *expected: str) -> str:
        """Receipts, AIT, failures, disputes, breaches."""
        receipts, atoms, failures, disputes, breaches, _ = reputation_of(
            self.chain.read(), self.chain.address("provider")
        )
        documented = (int(expected[0]), atoms_of(expected[1], "AIT"), *(int(each) for each in expected[2:]))
        assert (receipts, atoms, failures, disputes, breaches) == documented
        return ""

    def issue(self, who: str, symbol: str, decimals: int) -> str:
        """Another asset, without cap and powers."""
        return self._call(who, calls.ISSUE_ASSET, "Another asset", symbol, decimals, 0, 0, ZERO_HASH)

    def by_issuer(self, function: Function, holder: str, *arguments: Any) -> str:
        """An issuer's call about DUSD and somebody."""
        return self._call("issuer", function, DUSD, self.chain.address(holder), *arguments)

    def register(self) -> str:
        """A provider of little."""
        return self._send("provider", REGISTRY, modules.REGISTER, "", ["tiny-sd"], 1, "images", 0, ZERO_ADDRESS)

    def record(self, who: str, function: Function, *arguments: Any) -> str:
        """What an attester saw of the provider; the last argument numbers the evidence."""
        *seen, evidence = arguments
        return self._send(who, REGISTRY, function, self.chain.address("provider"), *seen, _hash(evidence))


def _hash(number: str) -> bytes:
    return sha256(number.encode())


def _ids(text: str) -> list[int]:
    return [int(number) for number in text.split(", ")]


def _documented_closings(line: str) -> list[tuple[Any, ...]]:
    found = re.fullmatch(r"orders? (\d+)(?: to (\d+))? closes?: ([a-z ]+)(?:, (\d+) lots left)?", line)
    assert found, line
    first, last, reason, left = found.groups()
    return [(number, reason, int(left or 0)) for number in range(int(first), int(last or first) + 1)]


_WHO = r"(\w+): "
_LINES: Final[tuple[tuple[str, Callable[..., str]], ...]] = (
    (_WHO + r"(?:(\d+) times )?(buy|sell) (\d+) at (\d+)(?:, )?(.*)", Story.place),
    (_WHO + r"cancel order (\d+)", lambda s, who, n: s._call(who, calls.CANCEL_ORDER, int(n))),
    (_WHO + r"cancel client id (\d+)", lambda s, who, n: s._call(who, calls.CANCEL_BY_CLIENT_ID, 1, int(n))),
    (_WHO + r"cancel all, at most (\d+)", lambda s, who, n: s.close_some(who, calls.CANCEL_ALL, 1, int(n))),
    (_WHO + r"sweep orders ([\d, ]+)", lambda s, who, ids: s.close_some(who, calls.SWEEP_EXPIRED, _ids(ids))),
    (_WHO + r"cancel frozen orders ([\d, ]+)", lambda s, w, ids: s.close_some(w, calls.CANCEL_FROZEN, DUSD, _ids(ids))),
    (r"(\d+) blocks? pass(?:es)?", Story.pass_blocks),
    (r"(\d+) seconds pass", Story.pass_seconds),
    (r"(\w+) has (\S+) AIT, (\S+) DUSD", Story.check_holdings),
    (
        r"governance: (open|close|halt) the market",
        lambda s, status: s._govern(MARKET, calls.SET_MARKET_STATUS, 1, STATUSES[status]),
    ),
    (
        r"governance: set fees (\d+) and (\d+)",
        lambda s, maker, taker: s._govern(MARKET, calls.SET_MARKET_FEES, 1, int(maker), int(taker)),
    ),
    (
        r"governance: policy (\d+) accepts authority, (all )?countries (?:but )?([\d and]+), level (\d+)",
        Story.define_policy,
    ),
    (r"governance: set policy (\d+)", lambda s, number: s._govern(MARKET, calls.SET_MARKET_POLICY, 1, int(number))),
    (
        r"governance: remove authority",
        lambda s: s._govern(MARKET, calls.REMOVE_AUTHORITY, s.chain.address("authority")),
    ),
    (r"governance: remove issuer", lambda s: s._govern(GOVERNANCE, modules.REMOVE_ISSUER, s.chain.address("issuer"))),
    (
        r"governance: pay (\S+) DUSD to (\w+)",
        lambda s, n, who: s._govern(MARKET, calls.SPEND_TREASURY, DUSD, s.chain.address(who), atoms_of(n, "DUSD")),
    ),
    (_WHO + r"certify (\w+), country (\d+), level (\d+), for (\d+) seconds", Story.certify),
    (_WHO + r"revoke (\w+)", lambda s, who, name: s._call(who, calls.REVOKE_CREDENTIAL, s.chain.address(name))),
    (_WHO + r"issue (\S+), (\d+) decimals", lambda s, who, symbol, n: s.issue(who, symbol, int(n))),
    (r"issuer: stand by reserve statement (\d+)", lambda s, n: s._call("issuer", calls.SET_RESERVE, DUSD, _hash(n))),
    (r"issuer: keep only (.+)", lambda s, powers: s._call("issuer", calls.WEAKEN_FLAGS, DUSD, flags_of(powers))),
    (r"issuer: (un)?authorize (\w+)", lambda s, no, who: s.by_issuer(calls.SET_AUTHORIZED, who, not no)),
    (r"issuer: mint (\S+) DUSD to (\w+)", lambda s, n, who: s.by_issuer(calls.MINT_ASSET, who, atoms_of(n, "DUSD"))),
    (r"issuer: burn (\S+) DUSD", lambda s, n: s._call("issuer", calls.BURN_ASSET, DUSD, atoms_of(n, "DUSD"))),
    (r"issuer: (freeze|thaw) (\w+)", lambda s, verb, who: s.by_issuer(calls.SET_FROZEN, who, verb == "freeze")),
    (
        r"issuer: claw back (\S+) DUSD from (\w+)",
        lambda s, n, who: s.by_issuer(calls.CLAW_BACK, who, atoms_of(n, "DUSD")),
    ),
    (_WHO + r"send (\S+) DUSD (?:of (\w+) )?to (\w+)", Story.transfer),
    (
        _WHO + r"approve (\w+) for (\S+) DUSD",
        lambda s, who, to, n: s._send(who, DUSD, modules.TOKEN_APPROVE, s.chain.address(to), atoms_of(n, "DUSD")),
    ),
    (_WHO + r"lock (\S+) AIT for (\w+), (\d+) seconds", Story.lock),
    (_WHO + r"claim( with a wrong secret)?", Story.claim),
    (_WHO + r"refund", lambda s, who: s._send(who, HTLC, swaps.REFUND, s._swap)),
    (r"provider: register", Story.register),
    (
        r"provider: publish statement (\d+)",
        lambda s, number: s._send("provider", REGISTRY, modules.PUBLISH_SLA, _hash(f"statement {number}")),
    ),
    (r"(provider): mint (\S+) AIT", Story.mint),
    (
        _WHO + r"record (\d+) failures and (\d+) disputes, evidence (\d+)",
        lambda s, who, f, d, evidence: s.record(who, modules.RECORD_OUTCOME, int(f), int(d), evidence),
    ),
    (
        _WHO + r"record a breach of statement (\d+), evidence (\d+)",
        lambda s, who, number, evidence: s.record(who, modules.RECORD_BREACH, _hash(f"statement {number}"), evidence),
    ),
    (
        r"provider is known for (\d+) receipts, (\S+) AIT, (\d+) failures, (\d+) disputes, (\d+) breaches",
        Story.check_reputation,
    ),
)
