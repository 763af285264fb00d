"""Steps of a job that its provider opens, and that are computed again: how far apart claim and recomputation are.

The steps are chosen after the provider committed to all of them, so one that it did not compute is found with the
probability that it is chosen. Each opened entry has to stand under the receipt's root for this very job; the entry
after a step is then compared with what that step makes of the entry before it. Both are judged by the size that the
verifier's own model gives them: the entries in between are the provider's free choice, and beside huge ones no error
would count (`provider.inference.latent_size`).

Equal bits are only to be expected on the same hardware with the same versions and batch size. Elsewhere additions
happen in another order, and one step moves the last bits: `chain.primitives.step_tolerance` says by how much an honest
one may.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Protocol

from chain.primitives import step_tolerance
from chain.primitives.hashing import sha256
from chain.primitives.picture_distance import EQUAL, PictureDistance, measure_distance
from chain.primitives.profiles import are_of_one_run, profiles_hash
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.step_tolerance import tolerance_of_step
from chain.primitives.trajectory import TrajectoryContext, verify_opening
from provider.generation import BatchKey, Encoding, ImageRequest, ReproducibilityProfile, Row
from provider.receipts.job_file import JobFile
from provider.receipts.trajectories import StepOpening

MAX_SAMPLES: Final = 1_000


class Distance(Protocol):
    """As `provider.inference.latents.LatentDistance`."""

    @property
    def max_abs(self) -> float: ...
    @property
    def mean_abs(self) -> float: ...
    @property
    def relative(self) -> float: ...


class Rerunner(Protocol):
    """Who computes steps again: `provider.inference.worker.InferenceWorker`."""

    def profile(self, key: BatchKey, batch_rows: int = 1) -> ReproducibilityProfile:
        """What this machine would declare."""

    def evaluations(self, key: BatchKey) -> int:
        """Steps of a run of this kind."""

    def latents_needed(self, key: BatchKey, step: int) -> tuple[int, ...]:
        """Entries of a trajectory from which entry `step` is computed."""

    def expected_rms(self, key: BatchKey, row: Row) -> tuple[float, ...]:
        """How large each entry of a trajectory is, by what the verifier's own model makes of the same request."""

    def rerun_step(
        self,
        key: BatchKey,
        row: Row,
        step: int,
        opened: Mapping[int, bytes],
        *,
        batch_rows: int = 1,
        expected_rms: Sequence[float] | None = None,
    ) -> bytes:
        """Entry `step` computed from those; refuses ones that are far larger than expected."""

    def picture_of(self, key: BatchKey, row: Row, latents: bytes) -> bytes:
        """The encoded picture of a run's last entry."""


FetchStep = Callable[[int, int], object]
"""(step, picture) → the provider's answer to `GET /v1/jobs/{id}/steps/{k}`, parsed and not believed."""

Compare = Callable[[bytes, bytes, str, float], Distance]
"""(claimed latents, recomputed latents, dtype, expected root mean square) → their distance."""


@dataclass(frozen=True)
class PictureResult:
    """A picture, held against what the last opened latents decode to."""

    picture: int
    is_bit_equal: bool
    distance: PictureDistance = EQUAL
    """From what those latents decode to."""
    own: PictureDistance = EQUAL
    """The same of the file that is made of them here: what the codec loses."""

    @property
    def holds(self) -> bool:
        """Whether it was decoded from those latents."""
        return self.is_bit_equal or self.distance.is_explained_by(self.own)

    def to_object(self) -> dict[str, Any]:
        """As `--json` shows it."""
        return {
            "picture": self.picture,
            "bit_equal": self.is_bit_equal,
            **self.distance.to_object(),
            "own_file": self.own.to_object(),
            "holds": self.holds,
        }


@dataclass(frozen=True)
class StepResult:
    """One step of one picture."""

    picture: int
    step: int
    """0 is what the seed alone gives."""
    is_bit_equal: bool
    max_abs: float
    mean_abs: float
    relative: float
    tolerance: float
    """Of `relative`."""

    @property
    def holds(self) -> bool:
        """Whether the claim is one that an honest machine could have made."""
        return self.is_bit_equal or self.relative <= self.tolerance

    def to_object(self) -> dict[str, Any]:
        """As `--json` shows it."""
        return {
            "picture": self.picture,
            "step": self.step,
            "bit_equal": self.is_bit_equal,
            "max_abs": self.max_abs,
            "mean_abs": self.mean_abs,
            "relative": self.relative,
            "tolerance": self.tolerance,
            "holds": self.holds,
        }


class Openings:
    """What the provider opens of one job, each entry fetched once and checked against the receipt."""

    def __init__(self, job: JobFile, fetch: FetchStep) -> None:
        self._receipt = job.document.receipt
        self._declared = job.profiles
        self._fetch = fetch
        self._opened: dict[tuple[int, int], StepOpening] = {}

    def get(self, step: int, picture: int) -> StepOpening:
        """Raises Rejected (bad_proof, malformed …) where it does not stand in this job's trajectory."""
        place = (picture, step)
        if place not in self._opened:
            opening = StepOpening.from_object(self._fetch(step, picture))
            self._check(opening, step, picture)
            self._opened[place] = opening
        return self._opened[place]

    @property
    def count(self) -> int:
        """Entries that were opened and hold."""
        return len(self._opened)

    def _check(self, opening: StepOpening, step: int, picture: int) -> None:
        root = self._receipt.trajectory_root
        if root is None or opening.trajectory_root != root:
            raise _unproven("it is of another trajectory than the receipt's")
        if (opening.opening.step, opening.opening.picture) != (step, picture):
            raise _unproven("it is of another step than was asked for")
        if self._declared and opening.profiles != self._declared:
            raise _unproven("its profiles are not those that the provider declared in its answer")
        if len(opening.profiles) != opening.opening.pictures:
            raise _unproven("there is not one profile for each picture")
        if not are_of_one_run(opening.profiles):
            raise _unproven("its pictures are not declared to be of one model, scheduler, precision and size")
        if opening.context != _context(self._receipt, opening.profiles):
            raise _unproven("it is of another job")
        if sha256(opening.latents) != opening.opening.latents_sha256:
            raise _unproven("the latents are not the ones in the proof")
        if not verify_opening(root, opening.context, opening.opening):
            raise _unproven("the proof does not lead to the receipt's trajectory_root")
        for other in self._opened.values():
            if (other.opening.pictures, other.opening.steps) != (opening.opening.pictures, opening.opening.steps):
                raise _unproven("it is of a run with another number of steps or pictures than before")


@dataclass(frozen=True)
class Challenge:
    """A job whose steps are computed again."""

    request: ImageRequest
    openings: Openings
    rerunner: Rerunner
    compare: Compare
    tolerance: float | None = None
    """None for `chain.primitives.step_tolerance`'s."""

    @cached_property
    def expected_rms(self) -> tuple[float, ...]:
        """Of each entry, for any of the job's pictures: they differ in nothing but the seed."""
        return self.rerunner.expected_rms(self.request.batch_key, self.request.row(0))

    def check_shape(self) -> StepOpening:
        """The first entry, of a run with as many steps and pictures as were asked for; else Rejected."""
        first = self.openings.get(0, 0)
        steps = self.rerunner.evaluations(self.request.batch_key)
        if first.opening.pictures != self.request.count:
            message = f"a run of {first.opening.pictures} picture(s), but {self.request.count} were asked for"
            raise Rejected(RejectionReason.BAD_PROOF, message, field="trajectory")
        if first.opening.steps != steps:
            message = f"a run of {first.opening.steps} steps, but what was asked for takes {steps}"
            raise Rejected(RejectionReason.BAD_PROOF, message, field="trajectory")
        return first

    def rerun(self, step: int, picture: int) -> StepResult:
        """Computes one entry again; raises Rejected for openings that do not hold, GenerationFailed as the rerunner."""
        claimed = self.openings.get(step, picture)
        profile = claimed.profiles[picture]
        key = self.request.batch_key
        needed = self.rerunner.latents_needed(key, step)
        opened = {entry: self.openings.get(entry, picture).latents for entry in needed}
        again = self.rerunner.rerun_step(
            key,
            self.request.row(picture),
            step,
            opened,
            batch_rows=profile.batch_rows,
            expected_rms=self.expected_rms,
        )
        distance = self.compare(claimed.latents, again, profile.dtype, self.expected_rms[step])
        return StepResult(
            picture=picture,
            step=step,
            is_bit_equal=again == claimed.latents,
            max_abs=distance.max_abs,
            mean_abs=distance.mean_abs,
            relative=distance.relative,
            tolerance=self._tolerance(profile) if self.tolerance is None else self.tolerance,
        )

    def _tolerance(self, profile: ReproducibilityProfile) -> float:
        """By the scheduler that was asked for, whatever is declared."""
        scheduler = self.rerunner.profile(self.request.batch_key).scheduler
        return tolerance_of_step(profile.dtype, scheduler)

    def decode(self, picture: int, encoded: bytes) -> PictureResult:
        """Holds a picture's file against its run's last entry; raises as `rerun`, Rejected for what is no picture."""
        steps = self.openings.get(0, picture).opening.steps
        latents = self.openings.get(steps, picture).latents
        key, row = self.request.batch_key, self.request.row(picture)
        again = self.rerunner.picture_of(key, row, latents)
        if again == encoded:
            return PictureResult(picture, is_bit_equal=True)
        # Two lossy files may be far from one another, but not one further from the pixels than the other.
        is_lossless = row.encoding.format == "png"
        pixels = again if is_lossless else self.rerunner.picture_of(key, replace(row, encoding=Encoding()), latents)
        distances = (measure_distance(file, pixels) for file in (encoded, again))
        return PictureResult(picture, False, *distances)


def choose_steps(steps: int, pictures: int, samples: int) -> list[tuple[int, int]]:
    """As `chain.primitives.step_tolerance.choose_steps`, by the system's randomness."""
    return step_tolerance.choose_steps(steps, pictures, samples, secrets.SystemRandom().sample)


def _context(receipt: Receipt, profiles: Sequence[ReproducibilityProfile]) -> TrajectoryContext:
    return TrajectoryContext(
        chain_id=receipt.chain_id,
        hub_id=receipt.hub_id,
        job_id=receipt.job_id,
        provider=receipt.provider,
        request_hash=receipt.request_hash,
        artifact_sha256=receipt.artifact_sha256,
        profiles_hash=profiles_hash(profiles),
    )


def _unproven(complaint: str) -> Rejected:
    return Rejected(RejectionReason.BAD_PROOF, f"an opened step does not hold: {complaint}", field="trajectory")
