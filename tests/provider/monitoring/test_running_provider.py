"""What a whole provider tells while it serves: metrics and spans of the job, and never what was asked for."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

PROMPT = "a red circle on a blue background"


def test_one_job_in_metrics_and_spans(
    start_provider: Callable[..., Any], collector: Any, collector_module: ModuleType
) -> None:
    provider = start_provider(telemetry_endpoint=collector.url)
    answer = provider.generate(prompt=PROMPT, count=2).json()
    scraped = provider.get("/metrics").text
    provider.stop()

    samples = {
        (sample.name.removeprefix("aitbc_provider_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
    }
    assert samples["requests_total", "plan"] == 1
    assert samples["jobs_total", "ok", "plan"] == 1
    assert samples["pictures_total",] == 2
    assert abs(samples["gpu_seconds_total",] - answer["gpu_seconds"]) < 1e-6
    assert samples["job_seconds_count",] == 1
    assert samples["recent_job_seconds", "0.95"] > 0
    assert samples["receipts", "signed"] == 1
    assert samples["batch_rows_sum",] == 2
    assert (samples["queue_length",], samples["vram_used_mib",], samples["minted_ait_total",]) == (0, 0, 0)

    spans = collector.by_name()
    assert set(spans) == {"job", "queue", "batch", "store", "sign"}
    told = collector_module.attributes(spans["job"])
    assert (told["job.id"], told["job.way_in"], told["job.pictures"]) == (answer["job_id"], "plan", 2)
    job = spans["job"]
    for part in ("queue", "batch", "store", "sign"):
        assert spans[part].trace_id == job.trace_id
        assert spans[part].end_time_unix_nano <= job.end_time_unix_nano
    for text in (PROMPT, "red circle", provider.client_secret):
        assert text not in scraped
        assert text.encode() not in collector.sent()
