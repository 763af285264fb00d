"""What a node tells Prometheus about its chain and its mempool."""

from functools import partial
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from chain.node.mempool import Mempool
from chain.rules.admission import Lane

if TYPE_CHECKING:
    from chain.node.runner import Node

_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class NodeMetrics:
    """One node's metrics in one registry. Figures that can be asked for are read when Prometheus asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.build_seconds = Histogram(
            "aitbc_block_build_seconds", "Time to execute a proposal", registry=registry, buckets=_SECONDS
        )
        self.commit_seconds = Histogram(
            "aitbc_block_commit_seconds", "Time to write a block, synced", registry=registry, buckets=_SECONDS
        )
        self.transactions = Counter("aitbc_transactions", "Transactions in final blocks", registry=registry)

    def observe(self, node: "Node") -> None:
        """Adds what is read from the node."""
        ledger, pool = node.ledger, node.pool
        gauges = (
            ("aitbc_finalized_height", "Height of the newest final block", lambda: ledger.head.height),
            ("aitbc_finalized_time_seconds", "Its Unix time", lambda: ledger.head.time_ms / 1000),
            ("aitbc_mempool_bytes", "Bytes that wait in the mempool", lambda: pool.size_bytes),
            ("aitbc_signatures_hits", "Signatures found in the cache", lambda: ledger.signatures.hits),
            ("aitbc_signatures_misses", "Signatures recovered", lambda: ledger.signatures.misses),
            ("aitbc_state_leaves", "Leaves of the state tree", lambda: ledger.store.statistics().leaf_count),
            (
                "aitbc_state_tree_bytes",
                "Memory of the state tree",
                lambda: ledger.store.statistics().tree_memory_bytes,
            ),
        )
        for name, description, read in gauges:
            Gauge(name, description, registry=self._registry).set_function(read)
        waiting = Gauge("aitbc_mempool_transactions", "Transactions that wait", ("lane",), registry=self._registry)
        for lane in Lane:
            waiting.labels(lane.value).set_function(partial(_lane_size, pool, lane))
        drops = Gauge("aitbc_mempool_drops", "Transactions dropped since the start", registry=self._registry)
        drops.set_function(pool.drops.total)


def _lane_size(pool: Mempool, lane: Lane) -> int:
    return pool.lane_sizes()[lane]
