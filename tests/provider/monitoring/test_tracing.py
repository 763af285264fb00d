"""Spans: what a real collector on a loopback socket gets, and that nothing is imported where nobody listens."""

import subprocess
import sys
import time
from types import ModuleType
from typing import Any

import pytest

from provider.errors import OutOfMemory
from provider.monitoring.tracing import SilentTracing, set_up_tracing


def test_a_job_and_its_parts_reach_the_collector(collector: Any, collector_module: ModuleType) -> None:
    tracing = set_up_tracing(collector.url, service_version="1.2.3")
    started_ns = time.time_ns()
    with tracing.job("2025-09-26-000123", way_in="plan", pictures=2) as spans:
        spans.record("queue", started_ns - 5_000_000, started_ns, pictures=2)
        spans.record("batch", started_ns, started_ns + 1_000)
        with spans.part("store"):
            pass
        with spans.part("sign"):
            pass
    tracing.shutdown()
    assert {path for path, _ in collector.requests} == {"/v1/traces"}
    found = collector.by_name()
    assert set(found) == {"job", "queue", "batch", "store", "sign"}
    job = found["job"]
    assert collector_module.attributes(job) == {"job.id": "2025-09-26-000123", "job.way_in": "plan", "job.pictures": 2}
    assert not job.parent_span_id
    for name in ("queue", "batch", "store", "sign"):
        assert (found[name].trace_id, found[name].parent_span_id) == (job.trace_id, job.span_id)
    assert found["queue"].end_time_unix_nano - found["queue"].start_time_unix_nano == 5_000_000
    (resource,) = {
        entry.value.string_value
        for _, request in collector.requests
        for spans in request.resource_spans
        for entry in spans.resource.attributes
        if entry.key == "service.name"
    }
    assert resource == "aitbc-provider"


def test_jobs_are_traces_of_their_own_also_inside_one_another(collector: Any) -> None:
    tracing = set_up_tracing(collector.url + "/v1/traces", service_version="1")
    with tracing.job("1"), tracing.job("2"):
        pass
    tracing.shutdown()
    assert len({span.trace_id for span in collector.spans()}) == 2


def test_a_failed_job_says_its_reason_and_nothing_that_was_asked_for(collector: Any) -> None:
    tracing = set_up_tracing(collector.url, service_version="1")

    def fail(error: Exception) -> None:
        with tracing.job("1") as spans, spans.part("batch"):
            raise error

    with pytest.raises(OutOfMemory):
        fail(OutOfMemory("no memory for a red circle"))
    with pytest.raises(ValueError, match="red circle"):
        fail(ValueError("a red circle"))
    tracing.shutdown()
    assert b"red circle" not in collector.sent()
    assert b"out_of_memory" in collector.sent()
    assert b"ValueError" in collector.sent()
    assert collector.by_name()["job"].status.code == 2


def test_a_collector_that_is_down_costs_no_job_anything(collector: Any) -> None:
    collector.close()
    tracing = set_up_tracing(collector.url, service_version="1")
    with tracing.job("1") as spans, spans.part("store"):
        pass
    tracing.shutdown()


def test_without_a_collector_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)
    assert isinstance(set_up_tracing(None, service_version="1"), SilentTracing)
    program = """
import sys
from provider.monitoring.tracing import set_up_tracing
tracing = set_up_tracing(None, service_version="1")
with tracing.job("1", way_in="plan") as spans, spans.part("store"):
    spans.record("queue", 1, 2)
tracing.shutdown()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_the_extra_it_is_said_once_and_jobs_go_on() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None  # As if it were not installed.
from provider.monitoring.tracing import SilentTracing, set_up_tracing
assert isinstance(set_up_tracing("http://127.0.0.1:9", service_version="1"), SilentTracing)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "aitbc[telemetry]" in ended.stdout + ended.stderr
