"""Steps of a run that its provider opens and another computes again. Pure.

The places are drawn from the receipt's hash, so after the provider has committed to all of its latents. Each opened
entry has to stand under the receipt's root for this very job and these very profiles; the entry after a step is then
held against what that step makes of the entries before it, by the one rule of `chain.primitives.step_tolerance`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_hash
from chain.primitives.latents import BYTES_OF_DTYPE, compare_latents, narrowed, read_values, widened
from chain.primitives.profiles import are_of_one_run, profiles_hash
from chain.primitives.provider_messages import Checked, Opened, OpenedStep
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.step_tolerance import choose_steps, tolerance_of_step
from chain.primitives.trajectory import Opening, TrajectoryContext, verify_opening
from chain.primitives.types import Hash32
from chain.primitives.worker_fields import MAX_PLACES, Place, ProfileClaim
from hub.verification.comparison import coarser_dtype, unlike
from hub.verification.errors import AnswerRefused, FaultReason
from hub.verification.sampling import Draws

MAX_OPENED: Final = 8 * MAX_PLACES
"""Entries that one order may carry to a checker."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One entry, claimed and computed again."""

    place: Place
    is_bit_equal: bool
    relative: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether an honest machine could have made it."""
        return self.is_bit_equal or self.relative <= self.tolerance

    def to_object(self) -> dict[str, Any]:
        """For the check's evidence."""
        return {
            "picture": self.place.picture,
            "step": self.place.step,
            "bit_equal": self.is_bit_equal,
            "relative": self.relative,
            "tolerance": self.tolerance,
        }


class OpenedRun:
    """What a provider has opened of one run, each entry held against the receipt."""

    def __init__(self, receipt: Receipt, root: Hash32, profiles: Sequence[ProfileClaim], pictures: int) -> None:
        """`profiles` are those declared with the answer, one for each of so many pictures.

        Raises AnswerRefused (bad_proof) for profiles that cannot be of one run.
        """
        if len(profiles) != pictures or not are_of_one_run(profiles):
            raise _unproven("its pictures are not declared to be of one model, scheduler, precision and size")
        self.profiles = tuple(profiles)
        self._root = root
        self._pictures = pictures
        self._context = context_of(receipt, profiles)
        self._latents: dict[Place, bytes] = {}
        self.steps: int | None = None
        """Of each picture, by the number of entries that the root holds; None before the first opening."""

    def missing(self, places: Sequence[Place]) -> list[Place]:
        """Those that are yet to be opened, each once."""
        return [place for place in dict.fromkeys(places) if place not in self._latents]

    def latents(self, place: Place) -> bytes:
        """Of an entry that was opened; KeyError for another."""
        return self._latents[place]

    def take(self, places: Sequence[Place], answer: Opened, latents: Sequence[bytes]) -> None:
        """The provider's answer for these places; raises AnswerRefused (bad_proof)."""
        if len(answer.openings) != len(places) or len(latents) != len(places):
            raise _unproven("it is not of the steps that were asked for")
        if answer.profiles != self.profiles:
            raise _unproven("its profiles are not those that the provider declared in its answer")
        for place, opened, octets in zip(places, answer.openings, latents, strict=True):
            self._check(place, opened, octets)
            self._latents[place] = octets
            self.steps = opened.steps

    def _check(self, place: Place, opened: OpenedStep, latents: bytes) -> None:
        if (opened.picture, opened.step) != (place.picture, place.step):
            raise _unproven("it is of another step than was asked for")
        if opened.pictures != self._pictures:
            raise _unproven(f"a run of {opened.pictures} picture(s), but {self._pictures} were asked for")
        _check_latents(latents, self.profiles[place.picture])
        if sha256(latents).hex() != opened.latents_sha256:
            raise _unproven("the latents are not the ones in the proof")
        if not verify_opening(self._root, self._context, _opening_of(opened)):
            raise _unproven("the proof does not lead to the receipt's trajectory_root")


def choose_places(draws: Draws, picture: int, steps: int, samples: int) -> list[Place]:
    """Entries of one picture's run: so many at random, what it starts from, its first step and its last."""
    chosen = choose_steps(steps, 1, samples, lambda places, most: draws.choose(f"steps/{picture}", places, most))
    return [Place(picture=picture, step=step) for step, _ in chosen]


def as_sent(latents: bytes, claimed_dtype: str, checker_dtype: str) -> bytes:
    """The same values in the precision in which the checker computes, rounded where that is a shorter one."""
    if claimed_dtype == checker_dtype:
        return latents
    return narrowed(widened(latents, claimed_dtype), checker_dtype)


def compare_steps(
    run: OpenedRun, places: Sequence[Place], checked: Checked, latents: Sequence[bytes], *, picture: int
) -> list[StepFigures]:
    """The entries of one picture against a checker's. Raises AnswerRefused (wrong_profile), and Rejected where what the
    checker sends are no latents."""
    claim = run.profiles[picture]
    differing = unlike(claim, checked.profile)
    if differing is not None:
        raise AnswerRefused(FaultReason.WRONG_PROFILE, differing)
    dtype = coarser_dtype(claim, checked.profile)
    # Only who computes in the longer precision can say how far the shorter one moves a step.
    rounding = checked.rounding if checked.profile.dtype != dtype else ()
    tolerances = [tolerance_of_step(dtype, checked.profile.scheduler, own) for own in rounding or (None,) * len(places)]
    return [
        _figures(run.latents(place), again, claim.dtype, checked.profile.dtype, place, expected_rms, tolerance)
        for place, again, expected_rms, tolerance in zip(places, latents, checked.expected_rms, tolerances, strict=True)
    ]


def context_of(receipt: Receipt, profiles: Sequence[ProfileClaim]) -> TrajectoryContext:
    """What every item of the receipt's trajectory is bound to."""
    return TrajectoryContext(
        chain_id=receipt.chain_id,
        hub_id=receipt.hub_id,
        job_id=receipt.job_id,
        provider=receipt.provider,
        request_hash=receipt.request_hash,
        artifact_sha256=receipt.artifact_sha256,
        profiles_hash=profiles_hash(profiles),
    )


def _figures(
    claimed: bytes,
    again: bytes,
    claimed_dtype: str,
    checker_dtype: str,
    place: Place,
    expected_rms: float,
    tolerance: float,
) -> StepFigures:
    if claimed_dtype != checker_dtype:
        claimed, again = widened(claimed, claimed_dtype), widened(again, checker_dtype)
    dtype = claimed_dtype if claimed_dtype == checker_dtype else "float32"
    distance = compare_latents(claimed, again, dtype, expected_rms)
    return StepFigures(place, claimed == again, distance.relative, tolerance)


def _check_latents(latents: bytes, profile: ProfileClaim) -> None:
    """Before any checker sees them, for what it says of them would be its word alone."""
    if len(latents) != math.prod(profile.latent_shape) * BYTES_OF_DTYPE[profile.dtype]:
        raise _unproven("the latents are not of the size that its profile declares")
    try:
        read_values(latents, profile.dtype)
    except Rejected as rejected:
        raise AnswerRefused(FaultReason.NOT_A_RUN, f"an opened step does not hold: {rejected.message}") from None


def _opening_of(opened: OpenedStep) -> Opening:
    try:
        return Opening(
            picture=opened.picture,
            pictures=opened.pictures,
            step=opened.step,
            steps=opened.steps,
            latents_sha256=Hash32(bytes.fromhex(opened.latents_sha256)),
            siblings=tuple(parse_hash(sibling, "siblings") for sibling in opened.siblings),
        )
    except (Rejected, ValueError):  # The message's own form has been checked; this is for whoever calls without.
        raise _unproven("its proof is malformed") from None


def needed_of(places: Sequence[Place], needed: Sequence[Sequence[int]]) -> Mapping[Place, tuple[Place, ...]]:
    """For each place that one order can carry, the entries of its picture that it is computed from.

    A step of PNDM or UniPC depends on all before it, so a late one of a long run is left out. Raises Rejected for
    entries that no step is computed from: the provider could not open them, and would seem to refuse.
    """
    for place, steps in zip(places, needed, strict=True):
        if any(step >= place.step for step in steps):
            message = f"step {place.step} computed from entry {max(steps)}"
            raise Rejected(RejectionReason.OUT_OF_RANGE, message, field="needed")
    by_place = {
        place: tuple(Place(picture=place.picture, step=step) for step in steps)
        for place, steps in zip(places, needed, strict=True)
    }
    carried: set[Place] = set()
    fitting = {}
    for place, entries in sorted(by_place.items(), key=lambda item: len(item[1])):
        if len(carried | set(entries)) <= MAX_OPENED:
            carried.update(entries)
            fitting[place] = entries
    return {place: fitting[place] for place in places if place in fitting}


def _unproven(complaint: str) -> AnswerRefused:
    return AnswerRefused(FaultReason.BAD_PROOF, f"an opened step does not hold: {complaint}")
