"""Whose fault it was: a provider's (`ProviderFault`), the operator's (`HubConfigurationError`), none's (`NoProvider`).

A client's own mistakes are `chain.primitives.rejection.Rejected`, as everywhere.
"""

from enum import StrEnum


class FaultReason(StrEnum):
    """Stable names of what went wrong with one provider's attempt; they stand in the job's record and in metrics."""

    # It did not get as far as an answer.
    UNREACHABLE = "unreachable"
    """No connection, or it broke off."""
    TIMED_OUT = "timed_out"
    """No whole answer within the hub's time limit."""
    BUSY = "busy"
    """It has no place in its queue now (429 or 503)."""
    KEY_REFUSED = "key_refused"
    """It does not accept the hub's API key."""
    REQUEST_REFUSED = "request_refused"
    """It does not serve a request like this one (another 4xx)."""
    SERVER_ERROR = "server_error"
    """It answered with a 5xx or with a status that has no meaning here."""

    # The answer is not what an honest provider sends.
    ANSWER_TOO_LARGE = "answer_too_large"
    """More bytes than a picture of the asked size can need."""
    MALFORMED_ANSWER = "malformed_answer"
    """Not the JSON object that the interface defines."""
    BAD_STATUS = "bad_status"
    """A 200 whose status is not "ok"."""
    BAD_PICTURE = "bad_picture"
    """Not a PNG that decodes to the end, or with parts that no still picture needs."""
    WRONG_SIZE = "wrong_size"
    """A picture of another width or height than asked."""
    WRONG_SEED = "wrong_seed"
    """Made from another seed than asked."""
    WRONG_ARTIFACT = "wrong_artifact"
    """The receipt names another picture."""
    BAD_RECEIPT = "bad_receipt"
    """The receipt is malformed or contradicts itself."""
    WRONG_RECEIPT_HASH = "wrong_receipt_hash"
    """The stated receipt hash is not the receipt's."""
    WRONG_PROVIDER = "wrong_provider"
    """The receipt names another provider than the one that was asked."""
    WRONG_SIGNATURE = "wrong_signature"
    """The receipt is not signed by that provider's registered key."""
    WRONG_CHAIN_ID = "wrong_chain_id"
    """The receipt is for another network."""
    WRONG_HUB = "wrong_hub"
    """The receipt names another hub."""
    WRONG_JOB = "wrong_job"
    """The receipt or the answer belongs to another job."""
    WRONG_CLIENT = "wrong_client"
    """The receipt names another client, or not the client's signature."""
    WRONG_REQUEST_HASH = "wrong_request_hash"
    """The receipt is for another request."""
    WRONG_NONCE = "wrong_nonce"
    """The receipt is not for this attempt."""
    WRONG_PROMPT = "wrong_prompt"
    """The prompt hash is not that of the prompt and the stated salt."""
    WRONG_MODEL = "wrong_model"
    """Made by a model that the provider has not registered, or answer and receipt disagree about it."""
    WRONG_PRICE = "wrong_price"
    """Another price per unit, or another type of unit, than the provider has registered."""
    IMPLAUSIBLE_TIME = "implausible_time"
    """Started before it was asked or finished after it was received, by the hub's clock."""
    IMPLAUSIBLE_UNITS = "implausible_units"
    """More GPU seconds than the hub waited, none at all for a price, or not exactly one image."""

    # Honest, but of no use here.
    OTHER_MODEL = "other_model"
    """Made by another of the provider's registered models than the client asked for."""
    OVER_BUDGET = "over_budget"
    """The amount is above the client's maximum or the network's ceiling per receipt."""


LIES = frozenset(FaultReason) - {
    FaultReason.UNREACHABLE,
    FaultReason.TIMED_OUT,
    FaultReason.BUSY,
    FaultReason.KEY_REFUSED,
    FaultReason.REQUEST_REFUSED,
    FaultReason.SERVER_ERROR,
    FaultReason.OTHER_MODEL,
    FaultReason.OVER_BUDGET,
}
"""Faults of an answer that an honest provider never gives."""


class ProviderFault(Exception):
    """One provider did not serve the job; the next one is tried. `retry_after_s` where it was only busy."""

    def __init__(self, reason: FaultReason, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def is_lie(self) -> bool:
        """Whether an honest provider could not have caused it."""
        return self.reason in LIES


class HubConfigurationError(OSError):
    """A setting, file or network that the hub cannot start with.

    An OSError, because the command line explains those in one line.
    """


class NoProvider(Exception):
    """No picture can be had. `reason` is stable snake_case, `status` the HTTP status before a job is accepted."""

    def __init__(self, reason: str, message: str, *, status: int = 503, field: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status
        self.field = field
