"""What an answer in another API's words carries of ours, under `aitbc`: the job, its cost, and the receipt."""

from pydantic import BaseModel, Field

from provider.jobs.answers import FinishedAnswer


class JobDetails(BaseModel):
    """Beside the pictures."""

    job_id: str
    model: str
    seeds: list[int] = Field(description="Of each picture.")
    steps: int
    scheduler: str
    duration_ms: int
    gpu_seconds: float
    device: str
    gpu: str
    receipt: dict[str, object]
    receipt_hash: str
    provider_signature: str
    prompt_salt: str

    @classmethod
    def of(cls, answer: FinishedAnswer) -> "JobDetails":
        """The details of a finished job."""
        return cls(
            job_id=answer.job_id,
            model=answer.model,
            seeds=list(answer.seeds),
            steps=answer.steps,
            scheduler=answer.scheduler,
            duration_ms=answer.duration_ms,
            gpu_seconds=answer.gpu_seconds,
            device=answer.device,
            gpu=answer.gpu,
            receipt=answer.receipt,
            receipt_hash=answer.receipt_hash,
            provider_signature=answer.provider_signature,
            prompt_salt=answer.prompt_salt,
        )
