"""Prometheus metrics of a provider."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_SECONDS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 60, 120, 300)


class ProviderMetrics:
    """Counters of one provider, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._jobs = Counter("aitbc_provider_jobs", "Jobs by outcome.", ["outcome"], registry=registry)
        self._duration = Histogram(
            "aitbc_provider_job_seconds", "From request to answer.", buckets=_SECONDS, registry=registry
        )
        self._compute = Counter("aitbc_provider_gpu_seconds", "Device time of served jobs.", registry=registry)
        self._mint_attempts = Counter(
            "aitbc_provider_mint_attempts", "Mints sent to the node by outcome.", ["outcome"], registry=registry
        )

    def count_job(self, outcome: str, gpu_seconds: float = 0.0, duration_s: float | None = None) -> None:
        """One job that ended as `outcome`: ok, repeated, or the reason of its failure."""
        self._jobs.labels(outcome).inc()
        self._compute.inc(gpu_seconds)
        if duration_s is not None:
            self._duration.observe(duration_s)

    def count_mint(self, outcome: str) -> None:
        """One answer of the node to a mint: accepted, or the reason of its refusal."""
        self._mint_attempts.labels(outcome).inc()

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """A value that is read when the metrics are asked for."""
        Gauge(f"aitbc_provider_{name}", description, registry=self.registry).set_function(read)

    def watch_states(self, read: Callable[[], dict[str, int]]) -> None:
        """Receipts by state, read when the metrics are asked for."""
        self.registry.register(_ReceiptStates(read))


class _ReceiptStates(Collector):
    def __init__(self, read: Callable[[], dict[str, int]]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily("aitbc_provider_receipts", "Receipts in the outbox by state.", labels=["state"])
        for state, number in self._read().items():
            family.add_metric([state], number)
        yield family
