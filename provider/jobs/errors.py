"""Why an order is refused, or a job cannot be shown. The HTTP edge gives each reason its status."""

from provider.errors import ProviderError


class OrderRefused(ProviderError):
    """The order itself is at fault; `field` names what, in the API's words."""

    reason = "order_refused"

    def __init__(self, message: str, *, reason: str, field: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.field = field


class JobInProgress(ProviderError):
    """A hub repeats a job that is at work already."""

    reason = "job_in_progress"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LimitReached(ProviderError):
    """The API key has had what it may ask for at present."""

    reason = "rate_limited"

    def __init__(self, message: str, retry_after_s: int, *, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class NotServing(ProviderError):
    """Nothing is served now, whatever is asked for: the chain is not known yet, or the provider drains."""

    reason = "not_ready"

    def __init__(self, message: str, retry_after_s: int, *, reason: str) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class JobNotFound(ProviderError):
    """No job of this API key has this id, or it has no such picture."""

    reason = "not_found"

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class ArtifactGone(ProviderError):
    """The job was served, and its picture is no longer kept."""

    reason = "artifact_gone"


class LinkRefused(ProviderError):
    """A link to a picture was not made here, or its time is over."""

    reason = "bad_link"
