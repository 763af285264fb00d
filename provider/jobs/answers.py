"""What a finished job is answered with: kept as JSON without its pictures, put together again for a repeated job."""

from typing import Any, Final, Self

import msgspec

from provider.generation import OUTPUT_FORMATS
from provider.jobs.errors import ArtifactGone
from provider.storage.artifacts import Artifacts
from provider.storage.rows import JobRecord

MICROSECONDS: Final = 1_000_000


class FinishedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an API may tell about a finished job."""

    job_id: str
    """As the receipt names it: the hub's own id where a hub passed the job on."""
    provider_job_id: str
    """This provider's id, under which `/v1/jobs` knows it."""
    created_at_s: int
    seeds: tuple[int, ...]
    steps: int
    width: int
    height: int
    scheduler: str
    format: str
    model: str
    duration_ms: int
    """From the order to its answer, waiting included."""
    compute_microseconds: int
    device: str
    """`cuda` or `cpu`."""
    gpu: str
    receipt: dict[str, Any]
    receipt_hash: str
    provider_signature: str
    prompt_salt: str
    profiles: tuple[dict[str, Any], ...] = ()
    """Per picture, where the receipt has a trajectory root."""
    artifacts: tuple[str, ...] = ()
    """Names under which the pictures are kept."""
    pictures: tuple[bytes, ...] = ()
    """Encoded; not in the stored form."""

    @property
    def gpu_seconds(self) -> float:
        """Device time; wall time where the device is a CPU."""
        return self.compute_microseconds / MICROSECONDS

    @property
    def media_type(self) -> str:
        """Of every picture."""
        return OUTPUT_FORMATS[self.format]

    @property
    def bytes_out(self) -> int:
        """Of all pictures."""
        return sum(len(picture) for picture in self.pictures)

    def stored_json(self) -> str:
        """The form that the database keeps."""
        return msgspec.json.encode(msgspec.structs.replace(self, pictures=())).decode()

    @classmethod
    def from_stored(cls, text: str) -> Self:
        """Without the pictures."""
        return msgspec.json.decode(text, type=cls)


def restore_answer(record: JobRecord, artifacts: Artifacts) -> FinishedAnswer:
    """The answer that was given before; raises ArtifactGone, or StorageError while the store is down. Blocking."""
    if record.answer_json is None:
        raise ArtifactGone("this job was served; its answer is no longer kept")
    answer = FinishedAnswer.from_stored(record.answer_json)
    pictures = [artifacts.get(name) for name in answer.artifacts]
    kept = tuple(picture for picture in pictures if picture is not None)
    if not kept or len(kept) != len(pictures):
        raise ArtifactGone("this job was served; its picture is no longer kept")
    return msgspec.structs.replace(answer, pictures=kept)
