"""What can go wrong on a provider, as types that the HTTP edge and the command line turn into clear answers."""


class ProviderError(Exception):
    """Base of the errors below; `reason` is a stable snake_case name, the message a sentence for a person."""

    reason = "provider_error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason


class ConfigurationError(ProviderError):
    """The operator's settings cannot work: a missing file, a weak API key, a data folder of another network."""

    reason = "bad_configuration"


class ModelUnavailable(ProviderError):
    """The model could not be loaded: its folder is missing or incomplete, or the model hub did not answer."""

    reason = "model_unavailable"


class EngineNotReady(ProviderError):
    """The model is still loading, failed to load, or the provider is shutting down."""

    reason = "not_ready"


class QueueFull(ProviderError):
    """As many jobs wait already as the operator allows; `retry_after_s` says when a place is likely."""

    reason = "queue_full"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnknownModel(ProviderError):
    """This provider does not serve a model of that name."""

    reason = "unknown_model"


class RequestTooLarge(ProviderError):
    """More pictures or pixels in one request than this provider takes, however idle it is."""

    reason = "too_large"


class GenerationFailed(ProviderError):
    """The pipeline raised or produced something that is no picture; no receipt is made for it."""

    reason = "generation_failed"


class OutOfMemory(GenerationFailed):
    """The device has too little memory for a picture of this size."""

    reason = "out_of_memory"


class BackendLost(GenerationFailed):
    """The process or machine that computed the batch has gone; its rows can be computed elsewhere."""

    reason = "backend_lost"


class GenerationTimedOut(GenerationFailed):
    """The job took longer than the operator's limit, counted from the moment it was accepted."""

    reason = "generation_timed_out"


class GenerationCancelled(GenerationFailed):
    """The client went away before its picture was ready."""

    reason = "generation_cancelled"


class StorageError(ProviderError):
    """The database or the artifact store could not keep something: nothing of it is stored, and it may be tried again.

    `reason` is `storage_failed`, `storage_full` or `artifact_store_unavailable`.
    """

    reason = "storage_failed"


class TrajectoryGone(ProviderError):
    """The latents of this job are not kept any more, or never were: the challenge window is over."""

    reason = "trajectory_gone"
