"""What Prometheus can read about a hub, beside the HTTP figures of `chain.web`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class HubMetrics:
    """The hub's own metrics in one registry; labels come from our enums only, so their number is bounded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "aitbc_hub_attempts", "Providers' turns at jobs, by outcome", ("outcome",), registry=registry
        )
        self.jobs = Counter("aitbc_hub_jobs", "Jobs that ended, by outcome", ("outcome",), registry=registry)
        self.job_seconds = Histogram(
            "aitbc_hub_job_seconds",
            "From a job's acceptance to its end",
            registry=registry,
            buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
        )
        self.running = Gauge("aitbc_hub_jobs_running", "Jobs that have their turn", registry=registry)
        self.waiting = Gauge("aitbc_hub_jobs_waiting", "Jobs that wait for their turn", registry=registry)
        self.attestations = Counter("aitbc_hub_attestations", "Receipts attested", registry=registry)
        self.deliveries = Counter(
            "aitbc_hub_deliveries",
            "Attestations sent to providers, by outcome",
            ("outcome",),
            registry=registry,
        )
        self.undelivered = Gauge(
            "aitbc_hub_undelivered", "Attested receipts that their provider does not have yet", registry=registry
        )
        self.mints = Counter("aitbc_hub_mints_seen", "Receipts seen minted and final", registry=registry)
