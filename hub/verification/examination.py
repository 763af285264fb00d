"""One answer checked, from the choice of places to the verdict.

What the provider opens either stands under its receipt's root or does not: that needs no second opinion, nor does
silence. What a checker has computed is a vote. Nothing is kept in between: an examination that was cut off is begun
again, and since all choices follow from the receipt, it asks for the same places.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from chain.primitives.worker_fields import MAX_PLACES, PictureRun, Place, ProfileClaim
from hub.verification import challenges, verdicts
from hub.verification.challenges import OpenedRun, StepFigures
from hub.verification.comparison import ComputedPicture, compare_pictures
from hub.verification.errors import AnswerRefused, FaultReason, Unanswered
from hub.verification.hands import Hands
from hub.verification.sampling import Draws
from hub.verification.verdicts import Verdict, Vote

PURPOSE: Final = "check"
_NOT_A_RUN: Final = "bad_latents"
"""A checker's word for entries of a size or form that no run has."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An answer that was delivered."""

    lease_id: str
    provider: Address
    receipt: Receipt
    run: PictureRun
    """Of the shard: what the lease was for."""
    profiles: tuple[ProfileClaim, ...]
    """As declared with the answer; none where the receipt commits to no trajectory."""
    pictures: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class ExaminationOptions:
    """How much is looked at."""

    samples: int = 4
    """Steps from the middle of a run, beside what it starts from, its first step and its last."""
    pictures: int = 1
    """Whose runs."""
    suspected: tuple[int, ...] = ()
    """Pictures that come before others."""
    attempts: int = 3
    """Checkers that are asked for one vote before nobody is said to be there."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of it."""

    verdict: Verdict
    fault: FaultReason | None = None
    """Why it failed, or what is disputed."""
    detail: str = ""
    votes: tuple[Vote, ...] = ()
    places: tuple[Place, ...] = ()
    """That were drawn."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """All of it as JSON, for the check's record; no prompt, no latents."""

    @property
    def contradicted(self) -> tuple[Address, ...]:
        """Checkers whom the majority says to be wrong."""
        return verdicts.contradicted(self.votes, self.verdict)


async def examine(
    subject: Subject, draws: Draws, hands: Hands, options: ExaminationOptions | None = None
) -> Examination:
    """Asks provider and checkers until there is a verdict. Raises only what `hands` raises beside Unanswered."""
    return await _Inquiry(subject, draws, hands, options or ExaminationOptions()).run()


class _Inquiry:
    def __init__(self, subject: Subject, draws: Draws, hands: Hands, options: ExaminationOptions) -> None:
        self._subject, self._draws, self._hands, self._options = subject, draws, hands, options
        self._opened: OpenedRun | None = None
        drawn = draws.choose("suspected", options.suspected, options.pictures)
        drawn += draws.choose("pictures", range(subject.run.count), subject.run.count)
        self._chosen = list(dict.fromkeys(drawn))[: options.pictures]
        self._places: list[Place] = []
        self._votes: list[Vote] = []

    async def run(self) -> Examination:
        try:
            await self._open_first()
            await self._collect_votes()
        except AnswerRefused as refused:
            return self._ended(Verdict.FAILED, refused.reason, refused.detail)
        verdict = verdicts.without_more(self._votes)
        against = next((vote for vote in self._votes if not vote.holds), None)
        if verdict in (Verdict.PASSED, Verdict.ABANDONED) or against is None:
            return self._ended(verdict)
        return self._ended(verdict, against.fault, against.detail)

    async def _open_first(self) -> None:
        """Finds how long the run is that the provider has committed to, and draws what is looked at."""
        subject = self._subject
        root = subject.receipt.trajectory_root
        if root is None:
            return
        self._opened = OpenedRun(subject.receipt, root, subject.profiles, subject.run.count)
        await self._open(self._opened, [Place(picture=self._chosen[0], step=0)])
        for picture in self._chosen:
            self._places += challenges.choose_places(self._draws, picture, self._steps, self._options.samples)

    async def _open(self, opened: OpenedRun, places: Sequence[Place]) -> None:
        """Raises AnswerRefused (no_opening, bad_proof)."""
        missing = opened.missing(places)
        for start in range(0, len(missing), MAX_PLACES):
            asked = missing[start : start + MAX_PLACES]
            try:
                answer, latents = await self._hands.open_steps(
                    self._subject.provider, lease_id=self._subject.lease_id, places=asked
                )
            except Unanswered as silence:
                detail = f"the provider does not open its run: {silence.detail}"
                raise AnswerRefused(FaultReason.NO_OPENING, detail) from None
            opened.take(asked, answer, latents)

    async def _collect_votes(self) -> None:
        """Until they decide, or nobody is left to ask."""
        excluded = {self._subject.provider}
        attempts = 0
        profile = self._subject.profiles[self._chosen[0]] if self._subject.profiles else None
        while verdicts.decide(self._votes) is None and attempts < self._options.attempts:
            checker = await self._hands.find_checker(self._subject.run, excluded=frozenset(excluded), profile=profile)
            if checker is None:
                return
            excluded.add(checker)
            try:
                self._votes.append(await self._vote(checker))
                attempts = 0
            except (Unanswered, Rejected):
                attempts += 1

    async def _vote(self, checker: Address) -> Vote:
        """Raises Unanswered, Rejected where its answer is none; AnswerRefused where the provider opens no more."""
        figures: dict[str, Any] = {}
        for picture in self._chosen:
            vote = await self._vote_on(checker, picture, figures)
            if not vote.holds:
                return vote
        return Vote(checker, None, figures=figures)

    async def _vote_on(self, checker: Address, picture: int, figures: dict[str, Any]) -> Vote:
        """The whole run first: its profile says in which precision this checker computes."""
        run = single_run(self._subject.run, picture)
        # As pixels, whatever the client's format: what a JPEG loses is measured apart.
        pixels = msgspec.structs.replace(run, image_format="png")
        answer, pictures, latents = await self._hands.compute(checker, pixels, purpose=PURPOSE)
        again = ComputedPicture(pictures[0], answer.profiles[0], latents[0] if latents else None)
        if self._opened is not None:
            last = Place(picture=picture, step=self._steps)
            await self._open(self._opened, [last])
        found = compare_pictures(run, self._claimed(picture), again)
        figures[f"picture/{picture}"] = found.figures
        if found.fault is not None or self._opened is None:
            return Vote(checker, found.fault, found.detail, figures)
        places = [place for place in self._places if place.picture == picture]
        return await self._vote_on_steps(checker, answer.profiles[0].dtype, run, self._opened, places, figures)

    async def _vote_on_steps(
        self,
        checker: Address,
        dtype: str,
        run: PictureRun,
        opened: OpenedRun,
        places: Sequence[Place],
        figures: dict[str, Any],
    ) -> Vote:
        """On those steps that this checker can compute."""
        picture = places[0].picture
        plan = await self._hands.plan_check(checker, run, [_of_first(place) for place in places])
        if plan.evaluations != opened.steps:
            detail = f"a run of {opened.steps} steps, but what was asked for takes {plan.evaluations}"
            return Vote(checker, FaultReason.WRONG_STEPS, detail, figures)
        needed = challenges.needed_of(places, plan.needed)
        entries = list(dict.fromkeys(entry for each in needed.values() for entry in each))
        await self._open(opened, [*needed, *entries])
        claim = opened.profiles[picture]
        latents = {_of_first(entry): challenges.as_sent(opened.latents(entry), claim.dtype, dtype) for entry in entries}
        try:
            checked, again = await self._hands.check_steps(
                checker,
                run,
                [_of_first(place) for place in needed],
                latents,
                batch_rows=claim.batch_rows,
                dtype=claim.dtype,
            )
            found = challenges.compare_steps(opened, list(needed), checked, again, picture=picture)
        except Unanswered as silence:
            if silence.reason != _NOT_A_RUN:
                raise
            return Vote(checker, FaultReason.NOT_A_RUN, silence.detail, figures)
        except AnswerRefused as refused:  # By what this checker says that such a run has.
            return Vote(checker, refused.reason, refused.detail, figures)
        figures[f"steps/{picture}"] = [step.to_object() for step in found]
        return _vote_of(checker, found, figures)

    @property
    def _steps(self) -> int:
        """Of the run that was committed to; there is one."""
        assert self._opened is not None
        assert self._opened.steps is not None
        return self._opened.steps

    def _claimed(self, picture: int) -> ComputedPicture:
        content = self._subject.pictures[picture]
        if self._opened is None:
            return ComputedPicture(content, self._subject.profiles[picture] if self._subject.profiles else None)
        latents = self._opened.latents(Place(picture=picture, step=self._steps))
        return ComputedPicture(content, self._opened.profiles[picture], latents)

    def _ended(self, verdict: Verdict, fault: FaultReason | None = None, detail: str = "") -> Examination:
        evidence = {
            "verdict": verdict.value,
            "fault": None if fault is None else fault.value,
            "detail": detail,
            "pictures": list(self._chosen),
            "places": [[place.picture, place.step] for place in self._places],
            "votes": [
                {
                    "checker": "0x" + vote.checker.hex(),
                    "fault": None if vote.fault is None else vote.fault.value,
                    "detail": vote.detail,
                    "figures": vote.figures,
                }
                for vote in self._votes
            ],
        }
        return Examination(verdict, fault, detail, tuple(self._votes), tuple(self._places), evidence)


def single_run(run: PictureRun, index: int) -> PictureRun:
    """Picture `index` of a run as a run of its own."""
    prompt = run.prompts[index if len(run.prompts) > 1 else 0]
    return msgspec.structs.replace(run, prompts=(prompt,), seed=run.seed_of(index), count=1)


def _of_first(place: Place) -> Place:
    """The same step where the picture is the run's only one."""
    return Place(picture=0, step=place.step)


def _vote_of(checker: Address, found: Sequence[StepFigures], figures: dict[str, Any]) -> Vote:
    for step in found:
        if not step.holds:
            detail = (
                f"step {step.place.step} of picture {step.place.picture} is {step.relative:.2g} away from what the "
                f"model makes of the step before; an honest one is at most {step.tolerance:.2g}"
            )
            return Vote(checker, FaultReason.WRONG_STEP, detail, figures)
    return Vote(checker, None, figures=figures)
