"""What can go wrong between a client and a provider; `str(error)` is a sentence for people."""

from typing import Final

from provider.errors import ProviderError

MAX_WORDS_CHARACTERS: Final = 300


class ClientError(ProviderError):
    """Base of the errors below."""

    reason = "client_error"


class ProviderUnavailable(ClientError):
    """No usable answer: not reachable, too slow, a fault of the provider's, or no provider at all."""

    reason = "provider_unavailable"


class ProviderRefused(ClientError):
    """The provider understood and said no; `reason` is its own name for why."""

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        status: int | None = None,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, reason=reason)
        self.status = status
        """Of HTTP, where the answer came by it."""
        self.field = field
        self.retry_after_s = retry_after_s


class JobFailed(ClientError):
    """The provider took the order, and the job came to nothing; nothing is charged for it."""

    reason = "generation_failed"


class UntrustedAnswer(ClientError):
    """The answer is not what was ordered, or not signed by whom it should be; it must not be used."""

    reason = "untrusted_answer"


def printable(words: str) -> str:
    """What a provider says, cut short and without anything that a terminal would obey."""
    cut = " ".join(words.split())[:MAX_WORDS_CHARACTERS]
    return "".join(character if character.isprintable() else "?" for character in cut)
