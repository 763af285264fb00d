"""Why something that was asked of a provider did not come, and why a session ends."""


class WorkerError(Exception):
    """`reason` is stable snake_case, `detail` a sentence."""

    reason = "worker_failed"

    def __init__(self, detail: str, *, reason: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if reason is not None:
            self.reason = reason


class WorkerGone(WorkerError):
    """The provider is not connected to this process, or its connection has ended before the answer."""

    reason = "worker_gone"


class WorkerRefused(WorkerError):
    """The provider has said no; `reason` is its own word."""

    reason = "worker_refused"

    def __init__(self, detail: str, *, reason: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail, reason=reason)
        self.retry_after_s = retry_after_s


class WorkerTimedOut(WorkerError):
    """No answer in time, though the connection is there."""

    reason = "worker_timed_out"


class WorkerLied(WorkerError):
    """The answer is not one that an honest provider gives."""

    reason = "worker_lied"


class ResultRefused(WorkerError):
    """What `ShardDesk.delivered` raises for a result that is not wanted (any more), such as already_served."""

    reason = "result_refused"


class SessionEnds(Exception):
    """The hub ends the connection; the provider is told `reason` and `detail` first."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
