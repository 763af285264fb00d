"""What is counted of markets, and under how many names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from chain.node.market_metrics import MAX_LABELLED_MARKETS, MarketMetrics
from chain.primitives.block import Log, TransactionResult
from chain.primitives.market import ORDER_PLACED_EVENT, TRADE_EVENT, Side
from chain.primitives.modules import MARKET
from tests.chain.trading import Trading

if TYPE_CHECKING:
    from tests.chain.conftest import Chain


def test_orders_trades_and_lots(chain: Chain) -> None:
    registry, trading = CollectorRegistry(), Trading(chain.people)
    metrics = MarketMetrics(registry)
    for transactions in trading.founding():
        chain.add_block(*transactions)
    batch = (*trading.trade(500, 2), *trading.trade(510, 5), trading.place("cat", Side.SELL, 9_990, 7))
    metrics.count(chain.add_block(*batch).outcome.results)
    counted = {
        name: registry.get_sample_value(f"aitbc_market_{name}_total", {"market": "1"})
        for name in ("orders", "trades", "lots")
    }
    assert counted == {"orders": 5, "trades": 2, "lots": 7}


def test_however_many_markets_the_labels_are_few(chain: Chain) -> None:
    registry, ann, bob = CollectorRegistry(), chain.people.address("ann"), chain.people.address("bob")
    metrics = MarketMetrics(registry)
    for market in range(1, 1_001):
        logs = (
            Log(MARKET, *ORDER_PLACED_EVENT.encode(market, 1, ann, Side.SELL, 0, 10, 3, 0, 0)),
            Log(MARKET, *TRADE_EVENT.encode(market, bob, ann, 1, 2, Side.SELL, 10, 3, 0, 0)),
        )
        metrics.count([TransactionResult(1, logs)])
    samples = [sample for metric in registry.collect() for sample in metric.samples if sample.name.endswith("_total")]
    assert len(samples) == 3 * (MAX_LABELLED_MARKETS + 1)
    assert registry.get_sample_value("aitbc_market_lots_total", {"market": "other"}) == 3 * (
        1_000 - MAX_LABELLED_MARKETS
    )
