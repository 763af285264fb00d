"""What an operator may choose about the queue."""

from dataclasses import dataclass

from provider.generation import MAX_PICTURES


@dataclass(frozen=True)
class EngineOptions:
    """Bounds and times of an engine; rows are pictures."""

    queue_limit_rows: int = 64
    """Pictures that may wait. As every job has one at least, this bounds the waiting jobs too."""
    job_timeout_s: float = 300.0
    """From the moment a job is accepted to its last picture."""
    max_request_rows: int = MAX_PICTURES
    """Pictures in one job."""
    max_batch_rows: int = 8
    """Pictures computed together, where the backend would take more."""
    batch_wait_ms: int = 5
    """How long a row that finds a free slot may wait for company. Requests that were sent together arrive within
    milliseconds of each other, and a denoising step takes longer than this on any device; rows that had to wait anyway
    wait no more."""
    lost_rest_s: float = 1.0
    """How long a slot rests after its replica was lost; doubled with each further loss in a row, up to a minute."""
