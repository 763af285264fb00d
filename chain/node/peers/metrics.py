"""What a node tells Prometheus about its peers."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from chain.node.peers.network import PeerNetwork
    from chain.node.peers.settings import PeerView

_FIGURES: "Final[tuple[tuple[str, str, Callable[[PeerView], float]], ...]]" = (
    ("rtt_seconds", "Round trip of the newest heartbeat", lambda view: (view.rtt_ms or 0) / 1000),
    ("height", "Height of its newest Status", lambda view: view.height),
    ("sent_bytes", "Sent on this connection", lambda view: view.bytes_sent),
    ("received_bytes", "Received on this connection", lambda view: view.bytes_received),
    ("queued_bytes", "Waiting to be sent", lambda view: view.queued_bytes),
)


class PeerMetrics(Collector):
    """Read when Prometheus asks. Validators are told apart, others are summed up: their identities never end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._network: PeerNetwork | None = None
        registry.register(self)

    def observe(self, network: "PeerNetwork") -> None:
        """Says whose figures these are."""
        self._network = network

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        if self._network is None:
            return
        views = self._network.peers()
        count = GaugeMetricFamily("aitbc_peers", "Connected peers", labels=("kind", "direction"))
        for kind, is_validator in (("validator", True), ("other", False)):
            for direction, is_inbound in (("in", True), ("out", False)):
                matching = [v for v in views if (v.is_validator, v.is_inbound) == (is_validator, is_inbound)]
                count.add_metric((kind, direction), len(matching))
        yield count
        yield from self._figures([view for view in views if view.is_validator])
        events = CounterMetricFamily("aitbc_peer_events", "What happened with peers", labels=("event",))
        for event, number in sorted(self._network.counts.view().items()):
            events.add_metric((event,), number)
        yield events
        twin = GaugeMetricFamily("aitbc_peer_twin", "Whether another process runs with this node's key")
        twin.add_metric((), float(self._network.other_process_with_key))
        yield twin

    @staticmethod
    def _figures(validators: "list[PeerView]") -> Iterable[Metric]:
        for name, description, read in _FIGURES:
            family = GaugeMetricFamily(f"aitbc_peer_{name}", description, labels=("peer",))
            for view in validators:
                family.add_metric((view.peer,), read(view))
            yield family
