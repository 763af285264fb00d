"""No sequence of operations makes the rules and the naive reference disagree, nor breaks an invariant.

`make simulate` plays millions (`tests.simulation.market`).
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.primitives import market as calls
from chain.primitives.block import decode_block
from chain.primitives.market import OrderKind, Side
from tests.chain.rules.market.auditing import audit
from tests.chain.rules.market.conftest import PEOPLE, Exchange
from tests.chain.rules.market.histories import History
from tests.chain.rules.market.world import ISSUER, TRADERS, Step, World

if TYPE_CHECKING:
    from chain.primitives.block import Block
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import MakeChain

SEEDS = 24
STEPS = 2_000

people = st.sampled_from(TRADERS[:3])
market_numbers = st.sampled_from([1, 1, 1, 2, 3])
order_numbers = st.integers(0, 25)
lots = st.sampled_from([1, 2, 3, 5, 10, 10**9, 2**48 - 1]) | st.integers(0, 40)
ticks = st.integers(9, 12)
heights = st.integers(0, 12)


def _placing(owner: str, market: int, side: int, kind: int, price: int, *rest: Any) -> Step:
    """A price in ticks, of the market's grid."""
    tick = {1: 7, 2: 1, 3: 10}[market]
    lot_count, height, client_id, off = rest
    return ("place", owner, market, side, kind, price * tick + off, lot_count, height if kind == 1 else 0, client_id)


placings = st.builds(
    _placing,
    people,
    market_numbers,
    st.sampled_from([0, 1]),
    st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 4, 5]),
    ticks,
    lots,
    heights,
    st.sampled_from([0, 0, 0, 1, 2]),
    st.sampled_from([0, 0, 0, 0, 0, 0, 1]),
)
closings = st.one_of(
    st.tuples(st.just("cancel"), people, order_numbers),
    st.tuples(st.just("cancel_by_client_id"), people, market_numbers, st.integers(0, 3)),
    st.tuples(st.just("cancel_all"), people, market_numbers, st.sampled_from([0, 1, 2, 100, 101])),
    st.tuples(st.just("sweep"), people, st.lists(order_numbers, max_size=5)),
    st.tuples(
        st.just("cancel_frozen"),
        st.sampled_from([ISSUER, TRADERS[0]]),
        st.sampled_from(["STRICT", "PLAIN"]),
        st.lists(order_numbers, max_size=5),
    ),
)
surroundings = st.one_of(
    st.tuples(st.just("grant"), people, st.sampled_from([276, 756, 840]), st.sampled_from([1, 60, 10_000])),
    st.tuples(st.just("set_frozen"), st.just(ISSUER), st.just("STRICT"), people, st.booleans()),
    st.tuples(st.just("set_authorized"), st.just(ISSUER), st.just("STRICT"), people, st.booleans()),
    st.tuples(st.just("claw_back"), st.just(ISSUER), st.just("STRICT"), people, st.sampled_from([0, 1, 10**11])),
    st.tuples(st.just("govern"), st.just("fees"), market_numbers, *[st.sampled_from([0, 1, 1_000])] * 2),
    st.tuples(st.just("govern"), st.just("status"), market_numbers, st.sampled_from([0, 0, 0, 1, 2])),
    st.tuples(st.just("govern"), st.just("policy"), market_numbers, st.sampled_from([0, 1])),
    st.just(("remove_issuer",)),
)
blocks = st.tuples(st.just("block"), st.sampled_from([1, 1, 3]), st.sampled_from([1, 60]))
steps = st.one_of(placings, placings, placings, placings, closings, closings, surroundings, blocks)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(history=st.lists(steps, min_size=5, max_size=60))
def test_no_sequence_of_operations_disagrees_with_the_reference(history: list[Step]) -> None:
    world = World()
    for step in history:
        world.play(step)
    world.cancel_everything()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_long_histories_agree_with_the_reference(seed: int) -> None:
    world = World()
    for step in History(seed, world).steps(STEPS):
        world.play(step)
    world.cancel_everything()


def test_the_histories_meet_everything_there_is() -> None:
    """Else their agreement would say nothing about it."""
    met: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    for seed in range(100, 112):
        world = World()
        for step in History(seed, world).steps(1_000):
            world.play(step)
        met += world.met
        verdicts += world.verdicts
    assert {reason.name for reason in calls.CloseReason} | {"OrderPlaced", "Trade"} <= met.keys()
    refusals = {verdict.split()[1] for verdict in verdicts if verdict.startswith("place ")}
    assert refusals >= {
        "done",
        "unknown_market",
        "market_halted",
        "out_of_range",
        "off_tick",
        "below_minimum_lots",
        "expired_on_arrival",
        "too_many_open_orders",
        "duplicate_client_id",
        "asset_frozen",
        "not_authorized",
        "not_eligible",
        "insufficient_funds",
        "would_take",
        "would_not_fill",
    }


# Signed blocks


def _draw(exchange: Exchange, chance: random.Random, nonces: Counter[str]) -> Transaction:
    who = chance.choice(PEOPLE)
    later = nonces[who]
    nonces[who] += 1
    draw = chance.random()
    if draw < 0.75:
        side, kind = chance.choice(list(Side)), chance.choice([OrderKind.GOOD_TILL_CANCELLED] * 3 + list(OrderKind))
        height = exchange.chain.head.height + chance.randrange(4) if kind == OrderKind.GOOD_TILL_HEIGHT else 0
        client_id = chance.choice([0, 0, chance.randrange(1, 9)])
        terms: dict[str, Any] = {"kind": kind, "expiry_height": height, "client_id": client_id, "later": later}
        return exchange.order(who, side, chance.randint(98, 102), chance.randrange(1, 9), **terms)
    if draw < 0.85:
        return exchange.call(who, calls.CANCEL_ORDER, chance.randrange(1, 400), later=later)
    if draw < 0.95:
        ids = [chance.randrange(1, 400) for _ in range(5)]
        return exchange.call(who, calls.SWEEP_EXPIRED, ids, later=later)
    return exchange.call(who, calls.CANCEL_ALL, 1, chance.randrange(4), later=later)


@pytest.mark.parametrize("seed", range(2))
def test_the_same_blocks_replayed_come_to_the_same_roots(make_chain: MakeChain, seed: int) -> None:
    """On another chain from its own genesis, with every block decoded anew and judged by apply_block."""
    chance, exchange = random.Random(seed), Exchange(make_chain())
    chain = exchange.chain
    history: list[Block] = []
    for _ in range(20):
        nonces: Counter[str] = Counter()
        proposal = chain.build(*(_draw(exchange, chance, nonces) for _ in range(20)))
        assert proposal.rejected == ()
        chain.adopt(proposal)
        audit(chain.state.records)
        history.append(proposal.block)
    again = Exchange(make_chain()).chain
    for block in history:
        again.follow(decode_block(block.encode()))
    assert again.head == chain.head
    assert again.state.records == chain.state.records
