"""Prometheus metrics of a provider, and what the engine tells of its batches.

Requests per second are `rate(aitbc_provider_requests_total[5m])`. Quantiles over any stretch of time come from the
histograms, `histogram_quantile(0.95, sum by (le) (rate(aitbc_provider_job_seconds_bucket[5m])))`; Python's client has
no summaries with quantiles. `aitbc_provider_recent_job_seconds{quantile="0.95"}` is exact, over the last thousand
answers, for a look without a Prometheus.

Labels never hold what a client chose freely, so their number is bounded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from provider.errors import StorageError
from provider.monitoring.quantiles import RecentQuantiles

_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300)
_WAIT_SECONDS: Final = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 20, 60, 120, 300)
_ROWS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
_RECENT_ANSWERS: Final = 1000
_QUANTILES: Final = (0.5, 0.95, 0.99)
_ATOMS_PER_AIT: Final = 10**18
_MICRO: Final = 1_000_000

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.monitoring")


class ProviderMetrics:
    """Counters of one provider, in a registry of their own. It is the engine's observer too."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._recent = RecentQuantiles(_RECENT_ANSWERS)
        registry.register(_RecentJobSeconds(self._recent))
        self._requests = self._counter("requests", "Requests for pictures by way in.", "way_in")
        self._jobs = self._counter("jobs", "Jobs by way in and outcome.", "way_in", "outcome")
        self._pictures = self._counter("pictures", "Pictures that were served.")
        self._bytes_out = self._counter("picture_bytes", "Bytes of pictures that were served.")
        self._duration = self._histogram("job_seconds", "From request to answer, of served jobs.", _SECONDS)
        self._compute = self._counter("gpu_seconds", "Device time of served jobs.")
        self._mint_attempts = self._counter("mint_attempts", "Mints sent to the node by outcome.", "outcome")
        self._minted = self._counter("minted_ait", "AIT minted by receipts that became final in this process.")
        self._batch_rows = self._histogram("batch_rows", "Pictures that were computed together.", _ROWS)
        self._batch_seconds = self._histogram("batch_seconds", "Time that a batch took.", _SECONDS)
        self._batches = self._counter("batches", "Batches by outcome.", "outcome")
        self._waited = self._histogram("queue_wait_seconds", "From a picture's acceptance to its batch.", _WAIT_SECONDS)
        self._memory_splits = self._counter("memory_splits", "Batches that did not fit and were split in two.")
        self._engine_jobs = self._counter("engine_jobs", "Jobs that the engine ended, by outcome.", "outcome")

    # What the jobs tell

    def count_request(self, way_in: str) -> None:
        """One request for pictures, whatever becomes of it."""
        self._requests.labels(way_in).inc()

    def count_job(
        self,
        way_in: str,
        outcome: str,
        *,
        pictures: int = 0,
        compute_microseconds: int = 0,
        duration_s: float | None = None,
        bytes_out: int = 0,
    ) -> None:
        """One job that ended as `outcome`: ok, repeated, or the reason of its failure."""
        self._jobs.labels(way_in, outcome).inc()
        self._pictures.inc(pictures)
        self._bytes_out.inc(bytes_out)
        self._compute.inc(compute_microseconds / _MICRO)
        if duration_s is not None:
            self._duration.observe(duration_s)
            self._recent.add(duration_s)

    # What the minter tells

    def count_mint(self, outcome: str) -> None:
        """One answer of the node to a mint: accepted, final, or the reason of its refusal."""
        self._mint_attempts.labels(outcome).inc()

    def count_minted(self, amount_atoms: int) -> None:
        """A receipt of this amount is in a final block."""
        self._minted.inc(amount_atoms / _ATOMS_PER_AIT)

    # What the engine tells (`provider.engine.observer`), on its own threads

    def batch_started(self, rows: int, waited_s: Sequence[float]) -> None:
        """A batch begins; how long each of its pictures has waited."""
        self._batch_rows.observe(rows)
        for seconds in waited_s:
            self._waited.observe(seconds)

    def batch_ended(self, rows: int, duration_s: float, outcome: str) -> None:
        """A batch has ended: ok, unwanted, or the reason of its failure."""
        self._batches.labels(outcome).inc()
        self._batch_seconds.observe(duration_s)

    def memory_split(self, rows: int) -> None:
        """A batch of so many pictures did not fit into the GPU's memory."""
        self._memory_splits.inc()

    def job_ended(self, outcome: str, waited_s: float, duration_s: float) -> None:
        """A job has left the engine: ok, or the reason of its failure."""
        self._engine_jobs.labels(outcome).inc()

    # What is read when somebody asks

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """A value that is read when the metrics are asked for; in any thread, and without blocking."""
        Gauge(_full(name), description, registry=self.registry).set_function(read)

    def watch_states(self, read: Callable[[], Mapping[str, int]]) -> None:
        """Receipts by state, read when the metrics are asked for, in any thread; it may block.

        While it raises StorageError, this one family has no samples, and all others are shown.
        """
        self.registry.register(_ReceiptStates(read))

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(_full(name), description, labels, registry=self.registry)

    def _histogram(self, name: str, description: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(_full(name), description, buckets=buckets, registry=self.registry)


def _full(name: str) -> str:
    return f"aitbc_provider_{name}"


class _ReceiptStates(Collector):
    def __init__(self, read: Callable[[], Mapping[str, int]]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(_full("receipts"), "Receipts in the outbox by state.", labels=["state"])
        try:
            by_state = self._read()
        except StorageError as error:
            # Prometheus knows a series that is missing: neither its old value nor a zero would be true.
            _log.warning("receipts_not_counted", reason=error.reason, detail=error.message)
        else:
            for state, number in by_state.items():
                family.add_metric([state], number)
        yield family


class _RecentJobSeconds(Collector):
    def __init__(self, recent: RecentQuantiles) -> None:
        self._recent = recent

    def collect(self) -> Iterator[GaugeMetricFamily]:
        description = f"From request to answer, exact over the last {_RECENT_ANSWERS} served jobs."
        family = GaugeMetricFamily(_full("recent_job_seconds"), description, labels=["quantile"])
        for share in _QUANTILES:
            seconds = self._recent.at(share)
            if seconds is not None:
                family.add_metric([str(share)], seconds)
        yield family
