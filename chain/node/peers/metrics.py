"""What a node tells Prometheus about its peers, beside how many there are."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

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
    """Read when Prometheus asks. Only validators have figures of their own: others' identities never end."""

    def __init__(self, network: "PeerNetwork") -> None:
        self._network = network

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        yield from self._figures([view for view in self._network.peers() if view.is_validator])
        events = CounterMetricFamily("aitbc_peer_events", "What happened with peers", labels=("event",))
        for event, number in sorted(self._network.counts.view().items()):
            events.add_metric((event,), number)
        yield events

    @staticmethod
    def _figures(validators: "list[PeerView]") -> Iterable[Metric]:
        for name, description, read in _FIGURES:
            family = GaugeMetricFamily(f"aitbc_peer_{name}", description, labels=("peer",))
            for view in validators:
                family.add_metric((view.peer,), read(view))
            yield family
