"""A job's way through queue, batch, storage and signing, as OpenTelemetry spans sent to an OTLP/HTTP collector.

Only where a collector is named and the extra `telemetry` is installed; otherwise nothing of OpenTelemetry is imported
and a span costs a function call. Attributes say what a job is, never what was asked for.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import structlog

SERVICE_NAME: Final = "aitbc-provider"
TRACES_ENDPOINT_VARIABLE: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_TRACES_PATH: Final = "/v1/traces"
_EXPORT_TIMEOUT_S: Final = 5.0

Attribute = str | int | float | bool

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.tracing")


class JobSpans(Protocol):
    """The parts of one job; times are Unix nanoseconds."""

    def record(self, name: str, started_ns: int, ended_ns: int, **attributes: Attribute) -> None:
        """A part that has ended already."""

    def part(self, name: str, **attributes: Attribute) -> AbstractContextManager[None]:
        """A part that lasts as long as the block."""


class Tracing(Protocol):
    """Where jobs are told."""

    def job(self, job_id: str, **attributes: Attribute) -> AbstractContextManager[JobSpans]:
        """A job that lasts as long as the block; an exception that leaves it makes it a failed one."""

    def shutdown(self) -> None:
        """Sends what is still to be sent, for a few seconds at most. Blocking."""


def set_up_tracing(endpoint: str | None, *, service_version: str) -> Tracing:
    """Tracing to the collector at a base URL, or none without one."""
    if endpoint is None and not os.environ.get(TRACES_ENDPOINT_VARIABLE):
        return SilentTracing()
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: F401 - whether the extra is there
    except ImportError:
        _log.warning("telemetry_not_installed", detail="no traces are sent: pip install 'aitbc[telemetry]'")
        return SilentTracing()
    return CollectorTracing(endpoint, service_version)


class SilentTracing:
    """Tells nobody."""

    @contextlib.contextmanager
    def job(self, job_id: str, **attributes: Attribute) -> Iterator[JobSpans]:
        """Nothing."""
        yield _SILENT_SPANS

    def shutdown(self) -> None:
        """Nothing."""


class _SilentSpans:
    def record(self, name: str, started_ns: int, ended_ns: int, **attributes: Attribute) -> None:
        """Nothing."""

    def part(self, name: str, **attributes: Attribute) -> AbstractContextManager[None]:
        """Nothing."""
        return contextlib.nullcontext()


_SILENT_SPANS: Final = _SilentSpans()


class CollectorTracing:
    """Tells a collector, in the background; one that is down costs no job anything."""

    def __init__(self, endpoint: str | None, service_version: str) -> None:
        """`endpoint` is the collector's base URL; None leaves it to OpenTelemetry's own variables."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        described: dict[str, Attribute] = {"service.version": service_version}
        if not os.environ.get("OTEL_SERVICE_NAME"):
            described["service.name"] = SERVICE_NAME
        url = None if endpoint is None else endpoint.removesuffix(_TRACES_PATH) + _TRACES_PATH
        exporter = OTLPSpanExporter(endpoint=url, timeout=_EXPORT_TIMEOUT_S)
        self._provider: Any = TracerProvider(resource=Resource.create(described))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer: Any = self._provider.get_tracer("aitbc.provider", service_version)

    @contextlib.contextmanager
    def job(self, job_id: str, **attributes: Attribute) -> Iterator[JobSpans]:
        """A span `job`, the root of a trace of its own."""
        from opentelemetry import trace
        from opentelemetry.context import Context

        root = self._tracer.start_span("job", context=Context(), attributes={"job.id": job_id, **_named(attributes)})
        try:
            yield _JobSpans(self._tracer, trace.set_span_in_context(root, Context()))
        except BaseException as error:
            # Its reason alone: a message of somebody else's exception might quote what was asked for.
            reason = getattr(error, "reason", None)
            root.set_status(trace.StatusCode.ERROR, str(reason or type(error).__name__))
            raise
        finally:
            root.end()

    def shutdown(self) -> None:
        """Sends the rest."""
        self._provider.shutdown()


class _JobSpans:
    def __init__(self, tracer: Any, context: Any) -> None:
        self._tracer = tracer
        self._context = context

    def record(self, name: str, started_ns: int, ended_ns: int, **attributes: Attribute) -> None:
        """A child of the job's span."""
        span = self._tracer.start_span(
            name, context=self._context, start_time=started_ns, attributes=_named(attributes)
        )
        span.end(end_time=max(started_ns, ended_ns))

    @contextlib.contextmanager
    def part(self, name: str, **attributes: Attribute) -> Iterator[None]:
        """A child of the job's span."""
        started_ns = time.time_ns()
        try:
            yield
        finally:
            self.record(name, started_ns, time.time_ns(), **attributes)


def _named(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    return {f"job.{name}": value for name, value in attributes.items()}
