"""Why an answer is not taken, and why a check gets none."""

from enum import StrEnum


class FaultReason(StrEnum):
    """What an honest provider's answer never is; stable names, for records and metrics."""

    # Seen in every answer.
    ANSWER_TOO_LARGE = "answer_too_large"
    """More bytes than a picture of the asked size can need."""
    BAD_PICTURE = "bad_picture"
    """Not one whole still picture that decodes to its end, or with parts that none needs."""
    WRONG_FORMAT = "wrong_format"
    """A picture in another file format than asked."""
    WRONG_SIZE = "wrong_size"
    """A picture of another width or height than asked."""
    BLANK_PICTURE = "blank_picture"
    """One colour all over."""
    COPIED_PICTURE = "copied_picture"
    """A file that has been delivered before, for another request."""
    IMPLAUSIBLE_TIME = "implausible_time"
    """Started before it was asked, or finished after it was received, by the hub's clock."""
    IMPLAUSIBLE_UNITS = "implausible_units"
    """More device time than has passed, or than this provider's own benchmark explains, or not one unit a picture."""
    OVER_CEILING = "over_ceiling"
    """More atoms than the network takes for one receipt."""

    # Seen in a check.
    NO_OPENING = "no_opening"
    """The provider does not open what it has committed to."""
    BAD_PROOF = "bad_proof"
    """What it opens does not stand under the receipt's root."""
    WRONG_STEPS = "wrong_steps"
    """A run of another number of steps than was asked for."""
    WRONG_PROFILE = "wrong_profile"
    """Its profile cannot be that of the run that was asked for."""
    NOT_A_RUN = "not_a_run"
    """Latents of a size that no run has."""
    WRONG_STEP = "wrong_step"
    """A step that is not what the model makes of the step before."""
    WRONG_LATENTS = "wrong_latents"
    """The run ends elsewhere."""
    WRONG_PICTURE = "wrong_picture"
    """Another picture than the run gives."""
    CANARY_FAILED = "canary_failed"
    """Another answer than the known one."""


class AnswerRefused(Exception):
    """The answer is not taken; `detail` is a sentence."""

    def __init__(self, reason: FaultReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Unanswered(Exception):
    """Somebody who was asked for a part of a check does not answer: gone, silent, or unwilling.

    `reason` is the word of whoever says so. `bad_latents` is a checker's for entries that no run has.
    """

    def __init__(self, detail: str, *, reason: str = "unanswered") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
