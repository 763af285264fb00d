"""How long calls take, by method and outcome. Unknown methods share one name, so the number of labels is bounded."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS: Final = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class RpcMetrics:
    """See the module."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "aitbc_rpc_call_seconds",
            "Time to answer a JSON-RPC call",
            ("method",),
            registry=registry,
            buckets=_BUCKETS,
        )
        self._errors = Counter(
            "aitbc_rpc_errors",
            "JSON-RPC calls answered with an error, by its code",
            ("method", "code"),
            registry=registry,
        )
        self._seconds_of: dict[str, Histogram] = {}

    def observe(self, method: str, seconds: float) -> None:
        """One call of a method that exists, or of `unknown`."""
        child = self._seconds_of.get(method)
        if child is None:
            child = self._seconds_of[method] = self._seconds.labels(method)
        child.observe(seconds)

    def count_error(self, method: str, code: int) -> None:
        """It was answered with an error."""
        self._errors.labels(method, str(code)).inc()
