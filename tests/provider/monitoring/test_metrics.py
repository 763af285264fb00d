"""What Prometheus reads: every number from what was counted, in the text format, with bounded labels."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from provider.engine.observer import EngineObserver
from provider.monitoring.metrics import ProviderMetrics
from provider.storage.database import DATABASE_FILE_NAME, Database
from provider.storage.outbox import Outbox

Read = Callable[..., float | None]


@pytest.fixture
def metrics() -> ProviderMetrics:
    return ProviderMetrics(CollectorRegistry())


@pytest.fixture
def read(metrics: ProviderMetrics) -> Read:
    """A sample, as a scrape would give it: `read(name, label=value)`."""

    def find(name: str, **labels: str) -> float | None:
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
            for sample in family.samples:
                if sample.name == f"aitbc_provider_{name}" and sample.labels == labels:
                    return sample.value
        return None

    return find


def test_it_is_what_the_engine_tells(metrics: ProviderMetrics) -> None:
    observer: EngineObserver = metrics
    assert observer is metrics


def test_requests_and_jobs(metrics: ProviderMetrics, read: Read) -> None:
    for _ in range(3):
        metrics.count_request("plan")
    metrics.count_job("plan", "ok", pictures=2, compute_microseconds=1_500_000, duration_s=2.0, bytes_out=1000)
    metrics.count_job("plan", "ok", pictures=1, compute_microseconds=500_000, duration_s=4.0, bytes_out=10)
    metrics.count_job("openai", "queue_full")
    assert read("requests_total", way_in="plan") == 3
    assert read("jobs_total", way_in="plan", outcome="ok") == 2
    assert read("jobs_total", way_in="openai", outcome="queue_full") == 1
    assert (read("pictures_total"), read("picture_bytes_total"), read("gpu_seconds_total")) == (3, 1010, 2.0)
    assert (read("job_seconds_count"), read("job_seconds_sum")) == (2, 6.0)
    assert (read("job_seconds_bucket", le="2.0"), read("job_seconds_bucket", le="+Inf")) == (1, 2)


def test_quantiles_of_the_last_answers(metrics: ProviderMetrics, read: Read) -> None:
    assert read("recent_job_seconds", quantile="0.5") is None
    for number in range(1, 101):
        metrics.count_job("plan", "ok", duration_s=number / 10)
    assert [read("recent_job_seconds", quantile=share) for share in ("0.5", "0.95", "0.99")] == [5.0, 9.5, 9.9]


def test_minting(metrics: ProviderMetrics, read: Read) -> None:
    metrics.count_mint("accepted")
    metrics.count_minted(15 * 10**17)
    metrics.count_minted(10**18)
    assert read("mint_attempts_total", outcome="accepted") == 1
    assert read("minted_ait_total") == 2.5


def test_batches(metrics: ProviderMetrics, read: Read) -> None:
    metrics.batch_started(3, (0.1, 0.2, 0.3))
    metrics.batch_ended(3, 1.5, "out_of_memory")
    metrics.memory_split(3)
    metrics.job_ended("ok", 0.1, 1.6)
    assert (read("batch_rows_sum"), read("batch_rows_count")) == (3, 1)
    assert (read("queue_wait_seconds_count"), read("batch_seconds_sum")) == (3, 1.5)
    assert (read("batches_total", outcome="out_of_memory"), read("memory_splits_total")) == (1, 1)
    assert read("engine_jobs_total", outcome="ok") == 1


def test_values_that_are_read_when_asked_for(metrics: ProviderMetrics, read: Read) -> None:
    states, queue = {"signed": 1}, [5]
    metrics.watch("queue_length", "Pictures that wait.", lambda: queue[0])
    metrics.watch_states(lambda: states)
    assert (read("queue_length"), read("receipts", state="signed")) == (5, 1)
    queue[0], states["signed"], states["final"] = 6, 0, 2
    assert (read("queue_length"), read("receipts", state="signed"), read("receipts", state="final")) == (6, 0, 2)


def test_states_that_cannot_be_read_hide_nothing_else(metrics: ProviderMetrics, read: Read, tmp_path: Path) -> None:
    with Database(tmp_path) as database:
        outbox = Outbox(database)
        metrics.watch("queue_length", "Pictures that wait.", lambda: 5)
        metrics.watch_states(lambda: {state.value: number for state, number in outbox.counts().items()})
        with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_FILE_NAME)) as connection:
            connection.execute("ALTER TABLE receipts RENAME TO elsewhere")
            assert (read("queue_length"), read("receipts", state="signed")) == (5, None)
            connection.execute("ALTER TABLE elsewhere RENAME TO receipts")
        assert (read("queue_length"), read("receipts", state="signed")) == (5, 0)
