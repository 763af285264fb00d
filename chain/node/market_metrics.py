"""What a node tells Prometheus about its markets: orders, trades and volume in final blocks."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from chain.node.market_events import Placed, Traded, market_events
from chain.primitives.block import TransactionResult

MAX_LABELLED_MARKETS: Final = 64
"""Each label is a time series of its own; markets with higher numbers are `other`."""


class MarketMetrics:
    """Counted as blocks are committed. Any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._orders = Counter("aitbc_market_orders", "Orders placed in final blocks", ("market",), registry=registry)
        self._trades = Counter("aitbc_market_trades", "Trades in final blocks", ("market",), registry=registry)
        self._lots = Counter("aitbc_market_lots", "Lots traded in final blocks", ("market",), registry=registry)

    def count(self, results: Iterable[TransactionResult]) -> None:
        """What one block's transactions did."""
        for result in results:
            for event in market_events(result.logs):
                market = str(event.market) if event.market <= MAX_LABELLED_MARKETS else "other"
                if isinstance(event, Placed):
                    self._orders.labels(market).inc()
                elif isinstance(event, Traded):
                    self._trades.labels(market).inc()
                    self._lots.labels(market).inc(event.lots)
