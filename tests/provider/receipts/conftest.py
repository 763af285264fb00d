"""What the receipts' tests share: jobs with made-up latents, their files, and jobs of the real embedded model."""

import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.profiles import profile_object
from chain.primitives.receipt import salted_prompt_hash
from chain.primitives.trajectory import TrajectoryContext
from chain.primitives.types import Hash32
from provider.generation import ImageRequest, ReproducibilityProfile
from provider.receipts.client_requests import request_parameters
from provider.receipts.issuing import (
    JobOrigin,
    Offer,
    ServedWork,
    SignedReceipt,
    direct_origin,
    issue_receipt,
    trajectory_context,
)

SALT = b"s" * 32
CHAIN_ID = 4242
OFFER = Offer("aitbc/tiny-sd", "gpu_seconds", 10**17, CHAIN_ID)


@dataclass(frozen=True)
class MadeJob:
    """A finished job, as the provider and its client have it."""

    key: PrivateKey
    request: ImageRequest
    origin: JobOrigin
    pictures: tuple[bytes, ...]
    rows: tuple[tuple[bytes, ...], ...]
    profiles: tuple[ReproducibilityProfile, ...]

    @property
    def work(self) -> ServedWork:
        """What the receipt says of it."""
        digests = tuple(hashlib.sha256(picture).digest() for picture in self.pictures)
        return ServedWork(digests, 1_900_000, 1_770_000_000.0, 1_770_000_002.0)

    @property
    def context(self) -> TrajectoryContext:
        """What its trajectory is bound to."""
        return trajectory_context(self.key.address, OFFER, self.origin, self.work, self.profiles)

    def sign(self, root: Hash32 | None) -> SignedReceipt:
        """Its receipt."""
        prompt_hash = salted_prompt_hash(SALT, self.request.prompt)
        return issue_receipt(self.key, OFFER, self.origin, self.work, prompt_hash=prompt_hash, trajectory_root=root)

    def file(self, root: Hash32 | None = None, **change: Any) -> dict[str, Any]:
        """The job file, as `aitbc provider generate` writes it."""
        signed = self.sign(root)
        request = self.request
        parameters = request_parameters(request, salt=SALT, seed_asked=None, model_asked=None)
        return {
            "version": 1,
            "provider_url": "http://127.0.0.1:9",
            "receipt": signed.receipt.to_object(),
            "receipt_hash": to_hex(signed.receipt_hash),
            "provider_signature": to_hex(signed.signature),
            "prompt_salt": to_hex(SALT),
            "request": {"prompt": request.prompt, "negative_prompt": request.negative_prompt, "seed": request.seed},
            "parameters": parameters.to_object(),
            "source": None,
            "profiles": [profile_object(profile) for profile in self.profiles],
            "client_request": None,
            "pictures": [{"file": f"{index}.png"} for index in range(len(self.pictures))],
        } | change


def make_origin(key: PrivateKey, request: ImageRequest, job_id: str = "2026-11-22-000001") -> JobOrigin:
    """Of a job that came with an API key."""
    return direct_origin(
        job_id,
        "alice",
        provider=key.address,
        chain_id=CHAIN_ID,
        prompt_hash=salted_prompt_hash(SALT, request.prompt),
        parameters=request_parameters(request, salt=SALT, seed_asked=None, model_asked=None),
    )


@pytest.fixture(scope="session")
def make_job() -> Any:
    """Makes jobs with noise in the place of latents: (job_id, pictures, steps, shape) → MadeJob."""

    def make(
        job_id: str = "2026-11-22-000001", *, pictures: int = 2, steps: int = 5, shape: tuple[int, ...] = (4, 8, 8)
    ) -> MadeJob:
        key = PrivateKey(b"\x07" * 32)
        request = ImageRequest("a red circle", steps=steps, guidance=2.5, width=256, height=256, seed=7, count=pictures)
        generator = random.Random(job_id)
        size = math.prod(shape) * 4
        rows = tuple(tuple(generator.randbytes(size) for _ in range(steps + 1)) for _ in range(pictures))
        profile = ReproducibilityProfile("ab" * 32, "DDIMScheduler", "float32", "cpu", pictures, shape, {"torch": "2"})
        files = tuple(f"picture {index}".encode() for index in range(pictures))
        return MadeJob(key, request, make_origin(key, request, job_id), files, rows, (profile,) * pictures)

    return make


@pytest.fixture(scope="session")
def make_real_job() -> Iterator[Any]:
    """Runs the embedded model: (scheduler, pictures, steps, precision) → MadeJob, each once.

    Its `workers` by precision are who did, `worker` that in single precision.
    """
    import torch

    from provider.generation import Batch, BatchDone, PipelineOptions
    from provider.inference.worker import create_workers

    torch.set_num_threads(1)
    workers = {
        precision: create_workers(PipelineOptions(device="cpu", precision=precision, cpu_threads=1))[0]
        for precision in ("float32", "bfloat16")
    }
    key = PrivateKey(b"\x07" * 32)

    @cache
    def make(scheduler: str = "ddim", pictures: int = 2, steps: int = 6, precision: str = "float32") -> MadeJob:
        request = ImageRequest(
            "a red circle",
            steps=steps,
            guidance=2.5,
            width=256,
            height=256,
            seed=11,
            count=pictures,
            scheduler=scheduler,
        )
        rows = tuple(request.row(index, records_trajectory=True) for index in range(pictures))
        *_, done = workers[precision].run(Batch(request.batch_key, rows))
        assert isinstance(done, BatchDone)
        trajectories = tuple(row.trajectory for row in done.rows if row.trajectory is not None)
        assert len(trajectories) == pictures
        files = tuple(row.picture for row in done.rows)
        return MadeJob(key, request, make_origin(key, request), files, trajectories, (done.profile,) * pictures)

    make.workers = workers  # type: ignore[attr-defined]
    make.worker = workers["float32"]  # type: ignore[attr-defined]
    yield make
    for worker in workers.values():
        worker.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where trajectories are kept."""
    return tmp_path / "trajectories"
