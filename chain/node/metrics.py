"""What a node tells Prometheus about its chain and its mempool."""

from functools import partial
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from chain.node.market_metrics import MarketMetrics
from chain.node.mempool import Mempool
from chain.node.peers.metrics import PeerMetrics
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
        self.execute_seconds = Histogram(
            "aitbc_block_execute_seconds", "Time to execute another's block", registry=registry, buckets=_SECONDS
        )
        self.journal_sync_seconds = Histogram(
            "aitbc_journal_sync_seconds",
            "Time to append records to the vote journal, synced where a vote is among them",
            registry=registry,
            buckets=_SECONDS,
        )
        self.finality_seconds = Histogram(
            "aitbc_block_finality_seconds",
            "From a block's execution here to its commit",
            registry=registry,
            buckets=_SECONDS,
        )
        self.commit_seconds = Histogram(
            "aitbc_block_commit_seconds", "Time to write a block, synced", registry=registry, buckets=_SECONDS
        )
        self.transactions = Counter("aitbc_transactions", "Transactions in final blocks", registry=registry)
        self.evidence = Counter("aitbc_evidence", "Validators that contradicted themselves", registry=registry)
        self.market = MarketMetrics(registry)
        self.votes = Counter("aitbc_votes", "Votes that this node has cast", registry=registry)

    def observe(self, node: "Node") -> None:
        """Adds what is read from the node."""
        ledger, pool, engine = node.ledger, node.pool, node.engine
        gauges = (
            ("aitbc_finalized_height", "Height of the newest final block", lambda: ledger.head.height),
            ("aitbc_finalized_time_seconds", "Its Unix time", lambda: ledger.head.time_ms / 1000),
            ("aitbc_epoch", "The present validator set's number", lambda: engine.epoch),
            ("aitbc_view", "The present view of the epoch", lambda: engine.view),
            ("aitbc_unfinalized_views", "Views since the one that was final last", lambda: _views_since_floor(node)),
            ("aitbc_is_validator", "1 where this node is a member of the present set", lambda: engine.is_validator),
            ("aitbc_peers", "Connected peers", lambda: len(node.network.peers())),
            ("aitbc_peer_validators", "Connected validators", lambda: len(node.network.connected_validators)),
            (
                "aitbc_key_used_elsewhere",
                "1 where another process has lately shown this node's key",
                lambda: node.network.other_process_with_key,
            ),
            ("aitbc_signer_away", "1 while a remote signer gives no signatures", lambda: node.is_signer_away),
            ("aitbc_known_height", "The greatest height that is to be believed", lambda: node.progress().target_height),
            ("aitbc_catching_up", "1 while final blocks are fetched", lambda: node.progress().is_catching_up),
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
        self._registry.register(PeerMetrics(node.network))


def _views_since_floor(node: "Node") -> int:
    floor = node.engine.floor
    return node.engine.view - (floor.view if floor.epoch == node.engine.epoch else 0)


def _lane_size(pool: Mempool, lane: Lane) -> int:
    return pool.lane_sizes()[lane]
