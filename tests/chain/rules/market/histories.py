"""Long random histories of a market: who does what next, drawn from a seed alone."""

import random
from collections.abc import Iterator

from tests.chain.rules.market.reference import BUY, GTC, GTH, HALTED, MARKET, OPEN
from tests.chain.rules.market.world import ISSUER, TRADERS, Step, World

_KINDS = [0, 0, 0, 0, 1, 1, 2, 3, 4, 5]


class History:
    """Steps that depend on what the world has come to. Seeds differ in temper: some crowd few prices with one-lot
    orders, so that pages fill and fill bounds are met, others trade all over the place."""

    def __init__(self, seed: int, world: World) -> None:
        self._chance = random.Random(seed)
        self._world = world
        self._spread = self._chance.choice([1, 2, 4, 12])
        self._largest = self._chance.choice([1, 3, 20])
        self._trouble = self._chance.choice([0.0, 0.02, 0.1])
        self._crowding = self._chance.choice([0.0, 0.01, 0.03])

    def steps(self, count: int) -> Iterator[Step]:
        """So many, each drawn when the one before has been played."""
        yield from (("grant", name, 276, 10_000) for name in TRADERS)
        done = 0
        while done < count:
            for step in self._draw():
                yield step
                done += 1

    def _draw(self) -> list[Step]:
        chance = self._chance
        draw = chance.random()
        if draw < 0.04:
            return [("block", chance.choice([1, 1, 1, 5]), chance.choice([1, 30]))]
        if draw < self._trouble + 0.04:
            return [self._around()]
        if draw < 0.8:
            return [self._order()]
        if draw < 0.8 + self._crowding:
            return self._crowd()
        return [self._closing()]

    def _order(self) -> Step:
        chance, reference = self._chance, self._world.reference
        market = chance.choice([1, 1, 1, 1, 2, 3, 3, 3]) if chance.random() < 0.99 else 4
        book = reference.markets.get(market) or reference.markets[1]
        side, kind = chance.randrange(2), chance.choice(_KINDS)
        ticks = 100 + chance.randint(-self._spread, self._spread) + (side or -1) * chance.choice([0, 0, 1])
        price, lots = ticks * book.tick, chance.randint(1, self._largest) * chance.choice([1, 1, 1, 50])
        if kind == MARKET or chance.random() < 0.02:
            price += chance.randrange(book.tick)
        who = chance.choice(TRADERS)
        if chance.random() < 0.02:
            side, kind, price, lots = self._wild(side, kind, price, lots)
        elif chance.random() < 0.02:  # All that somebody has, or a lot more.
            offered, each = (book.quote, price) if side == BUY else (book.base, book.lot)
            lots = max(1, reference.balances[offered, who] // each + chance.randrange(2))
        expiry = reference.height + chance.randint(-1, 6) if kind == GTH or chance.random() < 0.01 else 0
        client_id = chance.choice([0, 0, chance.randrange(1, 30)])
        return ("place", who, market, side, kind, price, lots, expiry, client_id)

    def _wild(self, side: int, kind: int, price: int, lots: int) -> tuple[int, int, int, int]:
        """One thing beyond every bound, or just at it."""
        chance = self._chance
        return chance.choice(
            [
                (chance.choice([2, 255]), kind, price, lots),
                (side, chance.choice([6, 255]), price, lots),
                (side, kind, chance.choice([0, 1, 2**32 * 7, (2**32 - 1) * 7, 2**200, 2**256 - 1]), lots),
                (side, kind, price, chance.choice([0, 2**48 - 1, 2**48, 2**64 - 1])),
            ]
        )

    def _crowd(self) -> list[Step]:
        """Somebody's many one-lot orders at one price."""
        chance = self._chance
        market, side = chance.choice([1, 3]), chance.randrange(2)
        price = (100 + (side or -1)) * self._world.reference.markets[market].tick
        owner = chance.choice(TRADERS)
        return [("place", owner, market, side, GTC, price, 1, 0, 0)] * chance.choice([10, 40, 90, 210])

    def _closing(self) -> Step:
        chance, reference = self._chance, self._world.reference
        who, market = chance.choice((*TRADERS, ISSUER)), chance.choice([1, 1, 2, 3, 4])
        numbers = [order.number for order in reference.orders]
        some = chance.sample(numbers, min(len(numbers), chance.choice([0, 1, 3, 60])))
        draw = chance.random()
        if draw < 0.5 and reference.orders:
            order = chance.choice(reference.orders)
            return ("cancel", order.owner if chance.random() < 0.95 else who, order.number)
        if draw < 0.55:
            return ("cancel", who, chance.randrange(reference.order_count + 2))
        if draw < 0.75:
            return ("cancel_by_client_id", who, market, chance.randrange(30))
        if draw < 0.85:
            return ("cancel_all", who, market, chance.choice([0, 1, 5, 100, 101]))
        if draw < 0.95:
            return ("sweep", who, [*some, *some[:2], reference.order_count + 9] if chance.random() < 0.95 else [0] * 65)
        return ("cancel_frozen", chance.choice([ISSUER, who]), chance.choice(["STRICT", "STRICT", "PLAIN"]), some)

    def _around(self) -> Step:
        """What others do to traders and markets."""
        chance, reference = self._chance, self._world.reference
        market, holder = chance.choice([1, 2, 3]), chance.choice(TRADERS)
        draw = chance.random()
        if draw < 0.35:
            return ("grant", holder, chance.choice([276, 276, 756, 840]), chance.choice([1, 100, 10_000]))
        if draw < 0.55:
            return ("set_frozen", ISSUER, "STRICT", holder, chance.random() < 0.4)
        if draw < 0.7:
            return ("set_authorized", ISSUER, "STRICT", holder, chance.random() < 0.7)
        if draw < 0.8:
            return ("govern", "fees", market, chance.choice([0, 7, 1_000]), chance.choice([0, 13, 1_000]))
        if any(book.status == HALTED for book in reference.markets.values()) and draw < 0.95:
            return ("govern", "status", next(n for n, book in reference.markets.items() if book.status == HALTED), OPEN)
        if draw < 0.82:
            return ("govern", "status", market, chance.choice([0, 0, 0, 2, 2]))
        if draw < 0.96:
            return ("govern", "policy", market, chance.choice([0, 0, 1]))
        if draw < 0.99:
            return ("claw_back", ISSUER, "STRICT", holder, chance.choice([0, 1, 10**9]))
        return ("remove_issuer",) if chance.random() < 0.1 else ("set_frozen", holder, "STRICT", holder, False)
