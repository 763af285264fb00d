"""What Prometheus can read about a hub, beside the HTTP figures of `chain.web`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class HubMetrics:
    """The hub's own metrics in one registry; labels come from our enums only, so their number is bounded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.accepted = Counter("aitbc_hub_jobs_accepted", "Jobs that were taken", registry=registry)
        self.pictures = Counter("aitbc_hub_pictures_accepted", "Pictures of jobs that were taken", registry=registry)
        self.turned_away = Counter(
            "aitbc_hub_jobs_turned_away", "Requests that were not taken, by reason", ("reason",), registry=registry
        )
        self.jobs = Counter("aitbc_hub_jobs", "Jobs that ended, by outcome", ("outcome",), registry=registry)
        self.job_seconds = Histogram(
            "aitbc_hub_job_seconds",
            "From a job's acceptance to its end",
            registry=registry,
            buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
        )
        self.open_jobs = Gauge(
            "aitbc_hub_jobs_open", "Jobs that have not ended, by state", ("state",), registry=registry
        )
        self.waiting_pictures = Gauge("aitbc_hub_pictures_waiting", "Pictures that nobody has", registry=registry)
        self.workers = Gauge("aitbc_hub_workers", "Providers that are connected", registry=registry)
        self.waited_seconds = Histogram(
            "aitbc_hub_shard_wait_seconds",
            "How long pictures waited until a provider was given them",
            registry=registry,
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
        )
        self.leases = Counter(
            "aitbc_hub_leases",
            "Leases: given, second, delivered, refused, returned, lapsed",
            ("event",),
            registry=registry,
        )
        self.sampled = Counter(
            "aitbc_hub_results_sampled",
            "Results that passed the first look, by whether a second one was drawn: yes, no",
            ("drawn",),
            registry=registry,
        )
        self.checks = Counter(
            "aitbc_hub_checks",
            "Second looks at results, by kind (examination, canary) and verdict",
            ("kind", "verdict"),
            registry=registry,
        )
        self.benchmarks = Counter(
            "aitbc_hub_benchmarks", "Models of providers that joined, measured or not", ("outcome",), registry=registry
        )
        self.composed = Counter("aitbc_hub_receipts", "Receipts of whole jobs, by form", ("form",), registry=registry)
        self.webhooks = Counter(
            "aitbc_hub_webhooks", "Calls to clients' servers, by outcome", ("outcome",), registry=registry
        )

    def count_end(self, outcome: str, seconds: float) -> None:
        """A job has ended, so long after it was accepted."""
        self.jobs.labels(str(outcome)).inc()
        self.job_seconds.observe(max(0.0, seconds))
