"""What an operator can see of a provider: metrics, one log line per job, traces. Never a prompt.

- `metrics`: Prometheus, at `/metrics`; also the engine's observer
- `quantiles`: p50, p95 and p99 of the last answers
- `logs`: the one line that a job leaves in the log
- `tracing`: a job's way through queue, batch, storage and signing, as OpenTelemetry spans, where a collector is named
"""
