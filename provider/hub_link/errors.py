"""Why a hub is left, or told no."""

from provider.errors import ProviderError


class LinkEnded(ProviderError):
    """The connection to a hub has ended, or could not be made. `is_told`: say the reason to the hub first."""

    reason = "hub_unreachable"

    def __init__(self, message: str, *, reason: str | None = None, is_told: bool = False) -> None:
        super().__init__(message, reason=reason)
        self.is_told = is_told


class HubRefused(ProviderError):
    """What a hub asks for is not done; the connection goes on."""

    reason = "refused"

    def __init__(self, message: str, *, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s
