"""From an answer to its verdict: who is asked, what is proven, what is a vote."""

from dataclasses import replace

import msgspec
import pytest

from chain.primitives.step_tolerance import ROUNDING_RATIO
from chain.primitives.types import Hash32
from chain.primitives.worker_fields import Place
from hub.verification.errors import FaultReason
from hub.verification.examination import Examination, ExaminationOptions, examine
from hub.verification.sampling import Draws, SamplingKey
from hub.verification.verdicts import Verdict
from tests.hub.verification.answering import Answer, answer_of
from tests.hub.verification.toy_model import (
    COUNT,
    RUN,
    Toy,
    ToyHands,
    address,
    entry,
    honest,
    made,
    packed,
    profile,
    shortened,
)

KEY = SamplingKey(b"\x01" * 32)
HONEST = honest()


def draws_of(answer: Answer) -> Draws:
    return KEY.draws(Hash32(answer.receipt.hash))


async def examined(answer: Answer, *checkers: Toy, samples: int = 4, **hands: object) -> Examination:
    toys = ToyHands(answer, checkers or (Toy(),) * 3, **hands)  # type: ignore[arg-type]
    return await examine(answer.subject, draws_of(answer), toys, ExaminationOptions(samples=samples))


async def test_honest_answer_passes_with_one_vote() -> None:
    hands = ToyHands(HONEST, (Toy(), Toy()))
    found = await examine(HONEST.subject, draws_of(HONEST), hands)
    assert (found.verdict, found.fault, len(found.votes)) == (Verdict.PASSED, None, 1)
    assert hands.asked == [0]
    assert found.evidence["votes"][0]["figures"]["picture/0"]["bit_equal"]


async def test_rounding_is_no_fault() -> None:
    """Another machine declares itself; it adds in another order, and so ends a little elsewhere."""
    found = await examined(HONEST, Toy(error=3e-6, claim=profile(device_class="Other 2.0")))
    assert found.verdict is Verdict.PASSED
    figures = found.votes[0].figures["steps/0"]
    assert 0 < max(step["relative"] for step in figures) < 1e-4


async def test_places_are_the_same_again_and_follow_from_the_receipt() -> None:
    first = await examined(HONEST)
    assert first.places == (await examined(HONEST)).places
    other = honest(msgspec.structs.replace(RUN, seed=8))
    assert {step for each in (first, await examined(other)) for step in {place.step for place in each.places}} >= {0, 1}
    assert first.places != (await examined(other)).places


async def test_provider_that_does_not_open_has_failed() -> None:
    hands = ToyHands(HONEST, (Toy(),) * 3, opens=False)
    found = await examine(HONEST.subject, draws_of(HONEST), hands)
    assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.NO_OPENING)
    assert hands.asked == []  # Silence needs no second opinion.


async def test_latents_other_than_those_committed_to() -> None:
    start = Place(picture=0, step=0)
    found = await examined(HONEST, tampered={start: entry(RUN, 3)})
    assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.BAD_PROOF)


@pytest.mark.parametrize("raw", [b"", b"\0" * (4 * COUNT - 4), b"\0" * (4 * COUNT + 4)])
async def test_latents_of_another_size(raw: bytes) -> None:
    found = await examined(HONEST, tampered={Place(picture=0, step=0): raw})
    assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.BAD_PROOF)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
async def test_committed_latents_that_are_no_numbers(value: float) -> None:
    """Also where no checker would ever read them: at the run's end."""
    honestly = made(RUN)
    for step in (0, RUN.steps):
        entries = list(honestly.entries)
        entries[step] = packed([value] * COUNT)
        found = await examined(answer_of(RUN, [replace(honestly, entries=tuple(entries))]))
        assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.NOT_A_RUN)


async def test_run_of_fewer_steps() -> None:
    """Even if it ended in the right place."""
    right = made(RUN)
    found = await examined(answer_of(RUN, [replace(right, entries=(*right.entries[:5], right.entries[-1]))]))
    assert (found.verdict, found.fault, len(found.votes)) == (Verdict.FAILED, FaultReason.WRONG_STEPS, 2)


async def test_steps_that_were_not_computed_are_found_as_often_as_they_are_chosen() -> None:
    """Half of the steps repeated: four of eight in the middle, of which four are drawn."""
    honestly = made(RUN)
    lazily = list(honestly.entries)
    for step in range(2, RUN.steps, 2):
        lazily[step] = lazily[step - 1]
    found = 0
    for number in range(60):
        run = msgspec.structs.replace(RUN, seed=RUN.seed)
        answer = answer_of(run, [replace(honestly, entries=tuple(lazily))], job_id=f"job-{number}")
        found += (await examined(answer)).verdict is Verdict.FAILED
    assert found == 60  # A repeated entry makes the next step wrong as well, so that hardly any step holds.


async def test_another_seed_behind_the_right_start() -> None:
    other = made(msgspec.structs.replace(RUN, prompts=("a windmill",), seed=9))
    answer = answer_of(RUN, [replace(other, entries=(entry(RUN, 0), *other.entries[1:]))])
    found = await examined(answer)
    assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.WRONG_LATENTS)


async def test_the_right_start_and_end_and_another_run_between() -> None:
    """A run that a forger has made up between what the seed gives and a picture that is right."""
    other = made(msgspec.structs.replace(RUN, prompts=("a windmill",), seed=9))
    right = made(RUN)
    entries = (right.entries[0], *other.entries[1:-1], right.entries[-1])
    found = await examined(answer_of(RUN, [replace(right, entries=entries)]))
    assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.WRONG_STEP)
    assert "step 1 " in found.detail


async def test_another_picture_than_the_run_gives() -> None:
    other = made(msgspec.structs.replace(RUN, seed=9))
    found = await examined(answer_of(RUN, [replace(made(RUN), picture=other.picture)]))
    assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.WRONG_PICTURE)


class TestDisputes:
    """One checker's word is not enough against a provider."""

    async def test_two_more_decide_for_the_provider(self) -> None:
        found = await examined(HONEST, Toy(contrary=True), Toy(), Toy())
        assert (found.verdict, found.fault, len(found.votes)) == (Verdict.PASSED, None, 3)
        assert found.contradicted == (address(0),)

    async def test_two_more_decide_against_it(self) -> None:
        other = made(msgspec.structs.replace(RUN, prompts=("a windmill",)))
        answer = answer_of(RUN, [replace(made(RUN), picture=other.picture)])
        accomplice = Toy(contrary=False)
        found = await examined(answer, Toy(), accomplice, Toy())
        assert found.verdict is Verdict.FAILED
        assert len(found.votes) == 2  # Two of three agree already.

    async def test_nobody_else_to_ask(self) -> None:
        found = await examined(HONEST, Toy(contrary=True))
        assert (found.verdict, found.fault) == (Verdict.DISPUTED, FaultReason.WRONG_LATENTS)
        found = await examined(HONEST, Toy(contrary=True), Toy())
        assert found.verdict is Verdict.DISPUTED
        assert found.contradicted == ()

    async def test_nobody_at_all(self) -> None:
        hands = ToyHands(HONEST, ())
        found = await examine(HONEST.subject, draws_of(HONEST), hands)
        assert (found.verdict, found.votes) == (Verdict.ABANDONED, ())

    async def test_silent_checkers_are_replaced_but_not_for_ever(self) -> None:
        assert (await examined(HONEST, Toy(silent=True), Toy(silent=True), Toy())).verdict is Verdict.PASSED
        hands = ToyHands(HONEST, (*(Toy(silent=True),) * 5, Toy()))
        found = await examine(HONEST.subject, draws_of(HONEST), hands)
        assert (found.verdict, hands.asked) == (Verdict.ABANDONED, [0, 1, 2])

    async def test_patience_is_for_each_vote(self) -> None:
        """A hub where many are silent still comes to three votes."""
        silent = (Toy(silent=True),) * 2
        found = await examined(HONEST, *silent, Toy(contrary=True), *silent, Toy(), *silent, Toy())
        assert (found.verdict, len(found.votes)) == (Verdict.PASSED, 3)

    async def test_refused_latents_are_a_vote_and_other_refusals_none(self) -> None:
        found = await examined(HONEST, Toy(refuses="bad_latents"), Toy(), Toy())
        assert (found.verdict, found.votes[0].fault) == (Verdict.PASSED, FaultReason.NOT_A_RUN)
        found = await examined(HONEST, Toy(refuses="check_limit"), Toy())
        assert [vote.fault for vote in found.votes] == [None]

    async def test_checker_that_plans_another_run_is_outvoted(self) -> None:
        found = await examined(HONEST, Toy(evaluations=20), Toy(), Toy())
        assert (found.verdict, found.contradicted) == (Verdict.PASSED, (address(0),))

    @pytest.mark.parametrize("needs_more", [1, 2, 4_000])
    async def test_checker_that_wants_what_cannot_be_opened_has_no_vote(self, needs_more: int) -> None:
        """Or an honest provider would seem to refuse."""
        found = await examined(HONEST, Toy(needs_more=needs_more), Toy())
        assert found.verdict is Verdict.PASSED
        assert [vote.checker for vote in found.votes] == [address(1)]

    async def test_checker_whose_latents_are_not_of_its_own_profile_has_no_vote(self) -> None:
        found = await examined(HONEST, Toy(claim=profile(latent_shape=(4, 8, 8))), Toy())
        assert found.verdict is Verdict.PASSED
        assert [vote.checker for vote in found.votes] == [address(1)]


class TestPrecisions:
    """Steps in a shorter precision are widened for whoever computes in float32, and the other way round rounded."""

    @staticmethod
    def in_bfloat16() -> Answer:
        claim = profile(dtype="bfloat16")
        whole = made(RUN, claim=claim)
        halves = tuple(shortened(raw) for raw in whole.entries)
        return answer_of(RUN, [replace(whole, entries=halves)])

    async def test_widened(self) -> None:
        found = await examined(self.in_bfloat16(), Toy())
        assert found.verdict is Verdict.PASSED
        assert {step["tolerance"] for step in found.votes[0].figures["steps/0"]} == {0.1}

    async def test_by_the_checkers_own_rounding(self) -> None:
        """Cut off latents are 5e-3 away: within bfloat16's bound for all steps and models, but not this one's."""
        found = await examined(self.in_bfloat16(), Toy(rounding=5e-3))
        assert found.verdict is Verdict.PASSED
        figures = found.votes[0].figures["steps/0"]
        assert {step["tolerance"] for step in figures} == {ROUNDING_RATIO * 5e-3}
        away = max(step["relative"] for step in figures)
        found = await examined(self.in_bfloat16(), *(Toy(rounding=away / ROUNDING_RATIO / 1.01),) * 3)
        assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.WRONG_STEP)

    async def test_rounding_is_none_where_both_compute_alike(self) -> None:
        """A checker of the same precision that says to round nothing is not believed."""
        other = profile(device_class="Other 2.0")
        found = await examined(HONEST, Toy(error=3e-6, rounding=0.0, claim=other))
        assert found.verdict is Verdict.PASSED
        assert {step["tolerance"] for step in found.votes[0].figures["steps/0"]} == {1e-4}

    async def test_narrowed(self) -> None:
        """Who computes in bfloat16 rounds float32's entries first, and finds as much as in a run of its own kind."""
        checker = Toy(claim=profile(dtype="bfloat16"))
        found = await examined(HONEST, checker)
        assert found.verdict is Verdict.PASSED
        assert found.votes[0].figures["picture/0"]["bit_equal"]
        assert {step["tolerance"] for step in found.votes[0].figures["steps/0"]} == {0.1}
        middle = [*HONEST.entries[0][:3], *(packed([2.0] * COUNT),) * 5, *HONEST.entries[0][8:]]
        skipped = answer_of(RUN, [replace(made(RUN), entries=tuple(middle))])
        found = await examined(skipped, checker, checker, checker)
        assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.WRONG_STEP)


async def test_without_a_commitment_the_whole_run_is_made_again() -> None:
    bare = replace(HONEST, receipt=msgspec.structs.replace(HONEST.receipt, trajectory_root=None), profiles=())
    hands = ToyHands(bare, (Toy(),) * 3)
    assert (await examine(bare.subject, draws_of(bare), hands)).verdict is Verdict.PASSED
    assert hands.opened == []
    other = made(msgspec.structs.replace(RUN, prompts=("a windmill",), seed=9))
    false = replace(bare, pictures=(other.picture,))
    found = await examine(false.subject, draws_of(false), ToyHands(false, (Toy(),) * 3))
    assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.WRONG_PICTURE)


async def test_one_picture_of_a_shard_is_looked_at() -> None:
    run = msgspec.structs.replace(RUN, count=5)
    pictures: set[int] = set()
    for number in range(12):
        answer = answer_of(run, [made(msgspec.structs.replace(RUN, seed=run.seed_of(at))) for at in range(5)],
                           job_id=f"job-{number}")  # fmt: skip
        hands = ToyHands(answer, (Toy(),))
        found = await examine(answer.subject, draws_of(answer), hands)
        assert found.verdict is Verdict.PASSED
        pictures.update(place.picture for place in found.places)
        assert len({place.picture for place in found.places}) == 1
    assert len(pictures) > 2


async def test_suspicious_pictures_come_first() -> None:
    run = msgspec.structs.replace(RUN, count=12)
    pictures = [made(msgspec.structs.replace(RUN, seed=run.seed_of(at))) for at in range(12)]
    answer = answer_of(run, pictures)
    for suspected, wanted in ((9,), 3), ((3, 7), 2), ((1, 4, 6, 10), 3):
        options = ExaminationOptions(pictures=wanted, suspected=suspected)
        found = await examine(answer.subject, draws_of(answer), ToyHands(answer, (Toy(),)), options)
        looked_at = found.evidence["pictures"]
        assert found.verdict is Verdict.PASSED
        assert len(set(looked_at)) == wanted
        assert set(looked_at[: len(suspected)]) <= set(suspected)


async def test_declared_profiles_of_another_run_than_opened() -> None:
    answer = replace(HONEST, profiles=(profile(versions={"toy": "2"}),))
    hands = ToyHands(HONEST, (Toy(),))
    found = await examine(answer.subject, draws_of(answer), hands)
    assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.BAD_PROOF)


async def test_scheduler_that_the_request_does_not_give() -> None:
    answer = honest(claim=profile(scheduler="LMSDiscreteScheduler"))
    found = await examined(answer)
    assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.WRONG_PROFILE)


async def test_latents_of_another_size_than_the_request_gives() -> None:
    """As of a smaller picture; no checker's latents could be compared with them."""
    whole = made(RUN, claim=profile(latent_shape=(4, 2, 4)))
    answer = answer_of(RUN, [replace(whole, entries=tuple(raw[: len(raw) // 2] for raw in whole.entries))])
    found = await examined(answer)
    assert (found.verdict, found.fault) == (Verdict.FAILED, FaultReason.WRONG_PROFILE)


async def test_evidence_holds_neither_prompt_nor_latents() -> None:
    found = await examined(HONEST)
    text = msgspec.json.encode(found.evidence)
    assert RUN.prompts[0].encode() not in text
    assert len(text) < 4_000
