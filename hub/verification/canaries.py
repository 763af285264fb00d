"""Jobs whose answer is known, so that no second provider is needed to see whether it is right. Pure.

A canary is an ordinary job of a client's account that is the hub's own: the same messages, salts, prices and times, a
receipt that is attested and paid. Its run is one that others have served and that has passed an examination. It goes to
nobody who has had that run before, and to a few providers only, since those could keep what they have made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from chain.primitives.types import Address
from chain.primitives.worker_fields import PictureRun, ProfileClaim
from hub.verification.comparison import Comparison, ComputedPicture, compare_pictures
from hub.verification.errors import FaultReason
from hub.verification.sampling import Draws

MAX_USES: Final = 8
"""Providers that are asked for one known answer; then it is forgotten."""


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """A run of one picture, and what it gives."""

    run: PictureRun
    picture_png: bytes
    profile: ProfileClaim
    latents: bytes | None
    """The last ones."""
    had_by: frozenset[Address]
    """Who has made it: its first maker, its checkers, and whoever was asked for it since."""
    uses: int = 0


def is_due(draws: Draws, rate: float) -> bool:
    """Whether a canary follows upon this answer of the provider's: beside a share of its work, so that it is always on
    trial by somebody who cannot be bribed."""
    return draws.fraction("canary") < rate


def choose(known: Sequence[KnownAnswer], worker: Address, models: frozenset[str], draws: Draws) -> KnownAnswer | None:
    """One that this provider serves and has never had; None where there is none."""
    fresh = [each for each in known if worker not in each.had_by and each.uses < MAX_USES and each.run.model in models]
    chosen = draws.choose("which canary", fresh, 1)
    return chosen[0] if chosen else None


def judge(known: KnownAnswer, answer: ComputedPicture) -> Comparison:
    """A provider's answer in the run's format against the known one; raises Rejected where the latter is damaged."""
    truth = ComputedPicture(known.picture_png, known.profile, known.latents)
    found = compare_pictures(known.run, answer, truth)
    if found.fault is None:
        return found
    return replace(found, fault=FaultReason.CANARY_FAILED, detail=f"a job whose answer is known: {found.detail}")
