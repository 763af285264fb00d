"""The cheat bench: one job, served honestly or not, by providers of some precision, and examined by others.

A case is a provider, what it does, and who checks it; a trial is one case on one job. `tests.simulation.cheats` runs
many; `test_cheats` a few.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any, Final

from chain.primitives.types import Hash32
from chain.primitives.worker_fields import PictureRun
from hub.verification.examination import ExaminationOptions, examine
from hub.verification.likeness import MAX_DISTANCE, judge, run_key
from hub.verification.likeness import Earlier as EarlierPicture
from hub.verification.pictures import look
from hub.verification.sampling import SamplingKey
from hub.verification.verdicts import Verdict
from provider.generation import EMBEDDED_MODEL
from provider.tiny_model.prompts import evaluation_prompts
from tests.hub.verification.answering import Answer, Made, answer_of
from tests.hub.verification.cheaters import CHEATS, Earlier, Workshop
from tests.hub.verification.local_hands import LocalHands

SCHEDULERS: Final = ("default", "ddim", "dpmpp_2m", "dpmpp_2m_karras", "euler", "euler_a", "heun", "unipc")
SIDE_PIXELS: Final = 256
KEY: Final = SamplingKey(b"\x2a" * 32)
SECRET: Final = b"\x2b" * 32


@dataclass(frozen=True)
class Case:
    """`cheat` None is honest; `company` is how many other pictures are computed in the same batch; other kernels stand
    for other hardware."""

    cheat: str | None
    precision: str
    checker: str
    company: int = 0
    has_other_kernels: bool = False

    @property
    def name(self) -> str:
        """For the table."""
        batch = f", in a batch of {self.company + 1}" if self.company else ""
        work = self.cheat or f"honest{batch}{', by other kernels' if self.has_other_kernels else ''}"
        return f"{work} ({self.precision}, checked in {self.checker})"


HONEST: Final = (
    Case(None, "float32", "float32"),
    Case(None, "float32", "float32", company=3),
    Case(None, "bfloat16", "bfloat16", company=3),
    Case(None, "float32", "float32", has_other_kernels=True),
    Case(None, "bfloat16", "float32"),
    Case(None, "bfloat16", "float32", has_other_kernels=True),
    Case(None, "bfloat16", "bfloat16", has_other_kernels=True),
    Case(None, "float32", "bfloat16"),
)


SECOND_LOOK: Final = ("another seed", "copy of another's picture", "upscaled from half the size")
"""Cheats that end in another picture altogether."""


def cheating(precision: str, checker: str) -> tuple[Case, ...]:
    """Every cheat by such a provider."""
    return tuple(Case(cheat, precision, checker) for cheat in CHEATS)


@dataclass(frozen=True)
class Trial:
    """What came of a case."""

    case: Case
    number: int
    scheduler: str
    is_accused: bool
    """Failed its examination, or disputed."""
    is_suspected: bool
    """By (a), so that it is examined whatever the rate."""
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)


@cache
def workshop(precision: str) -> Workshop:
    """Machines are loaded once."""
    return Workshop(precision)


def run_of_job(number: int) -> PictureRun:
    """The job of that number: always the same."""
    random = Random(number)
    prompts = evaluation_prompts()
    return PictureRun(
        model=EMBEDDED_MODEL,
        prompts=(prompts[number % len(prompts)].text,),
        steps=random.choice((8, 12, 16, 20)),
        guidance=random.choice((2.5, 4.0, 7.5)),
        width=SIDE_PIXELS,
        height=SIDE_PIXELS,
        seed=random.randrange(2**40),
        scheduler=SCHEDULERS[number % len(SCHEDULERS)],
    )


def try_cases(number: int, cases: Sequence[Case], options: ExaminationOptions | None = None) -> list[Trial]:
    """All of them on one job."""
    run = run_of_job(number)
    before = run_of_job(number + 10_007)
    earlier = Earlier(before, workshop("float32").honest.make(before))
    computed: dict[tuple[int, int], Made] = {}
    served: dict[Case, Answer] = {}
    trials = []
    for case in cases:
        work = replace(case, checker="")
        if work not in served:
            served[work] = _served(workshop(case.precision), run, case, earlier)
        trials.append(_try(number, served[work], case, earlier, computed, options))
    return trials


def _try(
    number: int,
    answer: Answer,
    case: Case,
    earlier: Earlier,
    computed: dict[tuple[int, int], Made],
    options: ExaminationOptions | None,
) -> Trial:
    run, is_suspected = answer.run, _is_suspected(answer, earlier)
    hands = LocalHands(answer, [workshop(case.checker).honest] * 3, computed=computed)
    draws = KEY.draws(Hash32(answer.receipt.hash))
    found = asyncio.run(examine(answer.subject, draws, hands, options))
    reason = "" if found.fault is None else found.fault.value
    accused = found.verdict is not Verdict.PASSED
    figures = found.votes[0].figures if found.votes else {}
    return Trial(case, number, run.scheduler, accused, is_suspected, reason, figures)


def _served(shop: Workshop, run: PictureRun, case: Case, earlier: Earlier) -> Answer:
    if case.cheat is not None:
        return CHEATS[case.cheat](shop, run, earlier)
    return answer_of(run, [shop.honest.make(run, company=case.company, has_other_kernels=case.has_other_kernels)])


def _is_suspected(answer: Answer, earlier: Earlier) -> bool:
    """What every answer is looked at for."""
    before = look(earlier.made.picture, earlier.run)
    now = look(answer.pictures[0], answer.run)
    distance = (before.hash64 ^ now.hash64).bit_count()
    known = EarlierPicture("job-0", before.sha256, run_key(SECRET, earlier.run, 0), distance)
    near = [known] if distance <= MAX_DISTANCE else []
    return judge(now, run_key(SECRET, answer.run, 0), near) is not None
