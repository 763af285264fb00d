"""Steps of a job that are opened by its provider, and computed again: what that says of the job, as checks.

A check passes, fails, or stays open where what it takes is missing; open is not good.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chain.primitives.picture_distance import MAX_SHARES
from chain.primitives.profiles import profile_object
from chain.primitives.rejection import Rejected
from provider.errors import GenerationFailed
from provider.generation import ReproducibilityProfile
from provider.receipts.challenge import Challenge, Openings, PictureResult, StepResult, choose_steps
from wallet.verification import Check


@dataclass(frozen=True)
class StepChoice:
    """Which steps are opened: those that are named, of one picture; or so many at random, of any picture, beside the
    first and the last of the pictures in question."""

    steps: tuple[int, ...] = ()
    picture: int = 0
    samples: int = 2

    def choose(self, steps: int, pictures: int) -> list[tuple[int, int]]:
        """(step, picture), for a run of so many; raises Rejected for a named one that there is not."""
        if self.steps:
            return [(step, self.picture) for step in self.steps]
        return choose_steps(steps, pictures, self.samples)


@dataclass
class StepVerification:
    """What became of a challenge."""

    checks: list[Check] = field(default_factory=list)
    results: list[StepResult] = field(default_factory=list)
    pictures: list[PictureResult] = field(default_factory=list)
    declared: ReproducibilityProfile | None = None
    """By the provider, for the first picture."""
    ours: ReproducibilityProfile | None = None
    """What this machine would declare."""

    def to_object(self) -> dict[str, Any]:
        """As `--json` shows it."""
        return {
            "steps": [result.to_object() for result in self.results],
            "pictures": [result.to_object() for result in self.pictures],
            "declared_profile": None if self.declared is None else profile_object(self.declared),
            "our_profile": None if self.ours is None else profile_object(self.ours),
        }


def verify_openings(openings: Openings, choice: StepChoice) -> StepVerification:
    """Opens the chosen steps and checks their proofs, without computing anything."""
    found = StepVerification()
    try:
        first = openings.get(0, 0)
        found.declared = first.profiles[0]
        for step, picture in choice.choose(first.opening.steps, first.opening.pictures):
            openings.get(step, picture)
    except Rejected as rejected:
        found.checks.append(Check("trajectory", False, rejected.message))
        return found
    found.checks.append(_opened(openings))
    return found


def verify_steps(challenge: Challenge, choice: StepChoice, pictures: Sequence[bytes] = ()) -> StepVerification:
    """Opens the chosen steps, checks their proofs, and computes them again. Raises what fetching them raises.

    Of `pictures`, the job's encoded files where they are at hand, those of the chosen steps are held against what their
    runs' last latents decode to.
    """
    found = StepVerification()
    try:
        first = challenge.check_shape()
        found.declared = first.profiles[0]
        found.ours = challenge.rerunner.profile(challenge.request.batch_key, found.declared.batch_rows)
        found.checks.append(_compare_profiles(found.declared, found.ours))
        if not found.checks[-1].passed:
            return found
        chosen = choice.choose(first.opening.steps, first.opening.pictures)
        for step, picture in chosen:
            found.results.append(challenge.rerun(step, picture))
        for picture in sorted({picture for _, picture in chosen if picture < len(pictures)}):
            found.pictures.append(challenge.decode(picture, pictures[picture]))
    except Rejected as rejected:
        found.checks.append(Check("trajectory", False, rejected.message))
        return found
    except GenerationFailed as error:
        found.checks.append(Check("steps", False if error.reason == "bad_latents" else None, error.message))
        return found
    found.checks.append(_opened(challenge.openings))
    found.checks.append(_judge(found.results))
    if found.pictures:
        found.checks.append(_judge_pictures(found.pictures))
    return found


def _opened(openings: Openings) -> Check:
    return Check("trajectory", True, f"{openings.count} entries opened; each stands under the receipt's root")


def _compare_profiles(declared: ReproducibilityProfile, ours: ReproducibilityProfile) -> Check:
    if declared.weights_sha256 != ours.weights_sha256:
        detail = f"other weights here ({ours.weights_sha256[:16]}…) than declared ({declared.weights_sha256[:16]}…)"
        return Check("profile", None, f"{detail}: nothing was computed again; see --model")
    if declared.dtype != ours.dtype:
        return Check("profile", None, f"{declared.dtype} is declared, but {ours.dtype} is computed here: no comparison")
    theirs, here = profile_object(declared), profile_object(ours)
    differing = [name for name in theirs if theirs[name] != here[name]]
    if not differing:
        return Check("profile", True, "this machine declares the same: equal bits are to be expected")
    return Check("profile", True, f"differs here in {', '.join(differing)}: equal bits are not to be expected")


def _judge(results: Sequence[StepResult]) -> Check:
    apart = [result for result in results if not result.holds]
    if apart:
        worst = max(apart, key=lambda result: result.relative)
        detail = (
            f"{len(apart)} of {len(results)} are no honest computation's: picture {worst.picture}, step {worst.step} "
            f"is {worst.relative:.1e} apart, at most {worst.tolerance:.0e} is expected"
        )
        return Check("steps", False, detail)
    equal = sum(result.is_bit_equal for result in results)
    rest = "" if equal == len(results) else f", {len(results) - equal} within tolerance"
    return Check("steps", True, f"{len(results)} computed again: {equal} bit for bit{rest}")


def _judge_pictures(results: Sequence[PictureResult]) -> Check:
    name = "pictures"
    for result in results:
        if not result.holds:
            distance, most = result.distance, list(MAX_SHARES)[-1]
            off = f"{distance.mean_levels:.1f} of 255 on average, {distance.shares[-1]:.2%} of it by more than {most}"
            return Check(name, False, f"picture {result.picture} is not what the last latents decode to: off by {off}")
    equal = sum(result.is_bit_equal for result in results)
    worst = max(result.distance.max_levels for result in results)
    rest = "" if equal == len(results) else f", the rest at most {worst} of 255 from the pixels"
    return Check(name, True, f"{len(results)} decoded from the last latents: {equal} bit for bit{rest}")
