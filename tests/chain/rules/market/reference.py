"""The market's rules once more, as naively as they can be said: plain lists, sorted whenever an order comes in.

Written from the rules' description (docs/market.md), to compare `chain.rules.market` with; it shares no code with it.
Whoever calls names people and assets by strings. Each operation returns None, or the reason for which it is refused.
"""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

BUY, SELL = 0, 1
GTC, GTH, IOC, FOK, POST_ONLY, MARKET = range(6)
OPEN, CANCEL_ONLY, HALTED = range(3)
FILLED, CANCELLED, EXPIRED, REST_CANCELLED, FILL_BOUND, SELF_TRADE, NOT_ELIGIBLE, ISSUER = range(8)
AUTHORIZATION_REQUIRED, FREEZABLE, CLAWBACK = 1, 2, 4

Event = tuple[object, ...]


@dataclass
class Asset:
    """What an issuer may do."""

    issuer: str
    flags: int = 0
    authorized: set[str] = field(default_factory=set)
    frozen: set[str] = field(default_factory=set)


@dataclass
class Book:
    """A market."""

    base: str
    quote: str
    lot: int
    tick: int
    minimum_lots: int
    maker_fee: int
    taker_fee: int
    policy: int = 0
    status: int = OPEN


@dataclass
class Resting:
    """An open order; its price is in quote atoms per lot."""

    number: int
    owner: str
    market: int
    side: int
    price: int
    open_lots: int
    expiry_height: int
    client_id: int


def _limit(book: Book, side: int, price: int) -> int:
    """The worst price of the grid that is no worse than this one."""
    return (ceil(Fraction(price, book.tick)) if side == SELL else price // book.tick) * book.tick


class Reference:
    """Everybody's balances and all open orders."""

    def __init__(self, assets: dict[str, Asset], markets: list[Book], accepted_countries: set[int]) -> None:
        self.assets = assets
        self.markets = dict(enumerate(markets, 1))
        self.accepted_countries = accepted_countries
        self.balances: Counter[tuple[str, str]] = Counter()
        self.orders: list[Resting] = []
        self.issuers = {asset.issuer for asset in assets.values()}
        self.credentials: dict[str, tuple[int, int]] = {}
        """Country and expiry, in seconds, by subject."""
        self.height = self.time_s = 0
        self.order_count = 0
        self.events: list[Event] = []

    # Placing

    def place(
        self, owner: str, market: int, side: int, kind: int, price: int, lots: int, expiry_height: int, client_id: int
    ) -> str | None:
        """placeOrder."""
        book = self.markets.get(market)
        if book is None:
            return "unknown_market"
        refusal = self._refusal_of_terms(book, side, kind, price, lots, expiry_height)
        if refusal is not None:
            return refusal
        limit = _limit(book, side, price)
        own = [order for order in self.orders if order.owner == owner and order.market == market]
        if len(own) >= 200 and kind in (GTC, GTH, POST_ONLY):
            return "too_many_open_orders"
        if client_id and client_id in [order.client_id for order in own]:
            return "duplicate_client_id"
        refusal = self._refusal_of_owner(book, owner)
        if refusal is not None:
            return refusal
        offered, escrow = (book.quote, lots * limit) if side == BUY else (book.base, lots * book.lot)
        if self.balances[offered, owner] < escrow:
            return "insufficient_funds"
        met, left, is_bounded = self._meet(owner, market, side, limit, lots)
        if kind == POST_ONLY and any(traded for _, traded, _ in met):
            return "would_take"
        if kind == FOK and left:
            return "would_not_fill"
        rests = left > 0 and kind in (GTC, GTH, POST_ONLY) and not is_bounded
        if rests and self._lots_at(market, side, limit) + left > 2**63 - 1:
            return "level_full"

        self.order_count += 1
        number = self.order_count
        self.balances[offered, owner] -= escrow
        self.balances[offered, "market"] += escrow
        self.events.append(("OrderPlaced", market, number, owner, side, kind, limit, lots, expiry_height, client_id))
        for order, traded, reason in met:
            if traded:
                self._trade(order, number, owner, side, limit, traded)
            else:
                self._close(order, reason)
        if rests:
            self.orders.append(Resting(number, owner, market, side, limit, left, expiry_height, client_id))
        else:
            self._move(offered, "market", owner, left * limit if side == BUY else left * book.lot)
            reason = FILLED if not left else FILL_BOUND if is_bounded else REST_CANCELLED
            self.events.append(("OrderClosed", market, number, owner, reason, left))
        return None

    def _refusal_of_terms(
        self, book: Book, side: int, kind: int, price: int, lots: int, expiry_height: int
    ) -> str | None:
        if book.status != OPEN:
            return "market_closing" if book.status == CANCEL_ONLY else "market_halted"
        if side not in (BUY, SELL) or kind not in range(6):
            return "out_of_range"
        if price % book.tick and kind != MARKET:
            return "off_tick"
        limit = _limit(book, side, price)
        if not book.tick <= limit <= (2**32 - 1) * book.tick:
            return "out_of_range"
        if not 1 <= lots <= 2**48 - 1:
            return "out_of_range"
        if lots < book.minimum_lots:
            return "below_minimum_lots"
        if lots * limit >= 2**200 or lots * book.lot >= 2**200:
            return "out_of_range"
        if kind == GTH:
            return "expired_on_arrival" if expiry_height < self.height else None
        return "out_of_range" if expiry_height else None

    def _refusal_of_owner(self, book: Book, owner: str) -> str | None:
        for name in (book.base, book.quote):
            asset = self.assets.get(name)
            if asset is None or owner == asset.issuer:
                continue
            if asset.flags & FREEZABLE and owner in asset.frozen:
                return "asset_frozen"
            if asset.flags & AUTHORIZATION_REQUIRED and owner not in asset.authorized:
                return "not_authorized"
        if book.policy:
            country, expires_at = self.credentials.get(owner, (0, 0))
            if country not in self.accepted_countries or expires_at <= self.time_s:
                return "not_eligible"
        return None

    def _meet(
        self, owner: str, market: int, side: int, limit: int, lots: int
    ) -> tuple[list[tuple[Resting, int, int]], int, bool]:
        """(order, lots traded, why it goes otherwise) of each that is met; lots left; whether the bound was met."""
        if side == BUY:
            facing = [o for o in self.orders if o.market == market and o.side == SELL and o.price <= limit]
            facing.sort(key=lambda order: (order.price, order.number))
        else:
            facing = [o for o in self.orders if o.market == market and o.side == BUY and o.price >= limit]
            facing.sort(key=lambda order: (-order.price, order.number))
        met: list[tuple[Resting, int, int]] = []
        for order in facing:
            if not lots:
                break
            if len(met) == 64:
                return met, lots, True
            if order.expiry_height and order.expiry_height < self.height:
                met.append((order, 0, EXPIRED))
            elif order.owner == owner:
                met.append((order, 0, SELF_TRADE))
            elif self._refusal_of_owner(self.markets[market], order.owner) is not None:
                met.append((order, 0, NOT_ELIGIBLE))
            else:
                traded = min(lots, order.open_lots)
                lots -= traded
                met.append((order, traded, FILLED))
        return met, lots, False

    def _lots_at(self, market: int, side: int, price: int) -> int:
        return sum(o.open_lots for o in self.orders if (o.market, o.side, o.price) == (market, side, price))

    def _trade(self, maker: Resting, number: int, taker: str, side: int, limit: int, lots: int) -> None:
        book = self.markets[maker.market]
        base, quote = lots * book.lot, lots * maker.price
        buyer, seller = (taker, maker.owner) if side == BUY else (maker.owner, taker)
        of_buyer, of_seller = (book.taker_fee, book.maker_fee) if side == BUY else (book.maker_fee, book.taker_fee)
        buyer_fee = min(base, ceil(Fraction(base * of_buyer, 10_000)))
        seller_fee = min(quote, ceil(Fraction(quote * of_seller, 10_000)))
        self._move(book.base, "market", buyer, base - buyer_fee)
        self._move(book.base, "market", "treasury", buyer_fee)
        self._move(book.quote, "market", seller, quote - seller_fee)
        self._move(book.quote, "market", "treasury", seller_fee)
        if side == BUY:
            self._move(book.quote, "market", taker, lots * (limit - maker.price))
        maker_fee, taker_fee = (seller_fee, buyer_fee) if side == BUY else (buyer_fee, seller_fee)
        parties = (maker.market, maker.owner, taker, maker.number, number, side)
        self.events.append(("Trade", *parties, maker.price, lots, maker_fee, taker_fee))
        maker.open_lots -= lots
        if not maker.open_lots:
            self._close(maker, FILLED)

    # Closing

    def _close(self, order: Resting, reason: int) -> None:
        book = self.markets[order.market]
        self.orders.remove(order)
        if order.side == BUY:
            self._move(book.quote, "market", order.owner, order.open_lots * order.price)
        else:
            self._move(book.base, "market", order.owner, order.open_lots * book.lot)
        self.events.append(("OrderClosed", order.market, order.number, order.owner, reason, order.open_lots))

    def cancel(self, owner: str, number: int) -> str | None:
        """cancelOrder."""
        for order in self.orders:
            if order.number == number:
                if order.owner != owner:
                    return "not_your_order"
                self._close(order, CANCELLED)
                return None
        return "unknown_order"

    def cancel_by_client_id(self, owner: str, market: int, client_id: int) -> str | None:
        """cancelByClientId."""
        if market not in self.markets:
            return "unknown_market"
        for order in self.orders:
            if client_id and (order.owner, order.market, order.client_id) == (owner, market, client_id):
                self._close(order, CANCELLED)
                return None
        return "unknown_order"

    def cancel_all(self, owner: str, market: int, limit: int) -> str | None:
        """cancelAll."""
        if market not in self.markets:
            return "unknown_market"
        if not 1 <= limit <= 100:
            return "out_of_range"
        for order in [order for order in self.orders if (order.owner, order.market) == (owner, market)][:limit]:
            self._close(order, CANCELLED)
        return None

    def sweep(self, numbers: list[int]) -> str | None:
        """sweepExpired."""
        if len(numbers) > 64:
            return "too_large"
        for number in numbers:
            for order in list(self.orders):
                if order.number == number and order.expiry_height and order.expiry_height < self.height:
                    self._close(order, EXPIRED)
        return None

    def cancel_frozen(self, sender: str, asset_name: str, numbers: list[int]) -> str | None:
        """cancelFrozen."""
        refusal = self._refusal_of_issuer(sender, asset_name, FREEZABLE)
        if refusal is not None:
            return refusal
        if len(numbers) > 64:
            return "too_large"
        asset = self.assets[asset_name]
        for number in numbers:
            for order in list(self.orders):
                book = self.markets[order.market]
                is_frozen = order.owner in asset.frozen and order.owner != asset.issuer
                if order.number == number and asset_name in (book.base, book.quote) and is_frozen:
                    self._close(order, ISSUER)
        return None

    # Around the market

    def _refusal_of_issuer(self, sender: str, asset_name: str, power: int) -> str | None:
        asset = self.assets.get(asset_name)
        if asset is None:
            return "unknown_asset"
        if asset.issuer != sender:
            return "not_the_issuer"
        if sender not in self.issuers:
            return "not_an_issuer"
        return None if asset.flags & power else "asset_power"

    def set_frozen(self, sender: str, asset_name: str, holder: str, frozen: bool) -> str | None:
        """setFrozen."""
        refusal = self._refusal_of_issuer(sender, asset_name, FREEZABLE)
        if refusal is None:
            frozen_ones = self.assets[asset_name].frozen
            (frozen_ones.add if frozen else frozen_ones.discard)(holder)
        return refusal

    def set_authorized(self, sender: str, asset_name: str, holder: str, authorized: bool) -> str | None:
        """setAuthorized."""
        refusal = self._refusal_of_issuer(sender, asset_name, AUTHORIZATION_REQUIRED)
        if refusal is None:
            authorized_ones = self.assets[asset_name].authorized
            (authorized_ones.add if authorized else authorized_ones.discard)(holder)
        return refusal

    def claw_back(self, sender: str, asset_name: str, holder: str, atoms: int) -> str | None:
        """clawBack."""
        refusal = self._refusal_of_issuer(sender, asset_name, CLAWBACK)
        if refusal is None and not atoms:
            refusal = "out_of_range"
        if refusal is None and self.balances[asset_name, holder] < atoms:
            refusal = "insufficient_funds"
        if refusal is None:
            self._move(asset_name, holder, sender, atoms)
        return refusal

    def _move(self, asset: str, sender: str, recipient: str, atoms: int) -> None:
        assert 0 <= atoms <= self.balances[asset, sender]
        self.balances[asset, sender] -= atoms
        self.balances[asset, recipient] += atoms
