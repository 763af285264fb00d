"""Steps computed again with the real embedded model: the honest ones hold, and each kind of cheat is found."""

import io
import json
import math
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chain.primitives.hashing import sha256
from chain.primitives.picture_distance import MAX_MEAN_LEVELS
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.step_tolerance import STEP_TOLERANCE
from chain.primitives.trajectory import open_step, trajectory_root
from chain.primitives.types import Hash32
from provider.errors import GenerationFailed
from provider.generation import Encoding
from provider.receipts.challenge import Challenge, FetchStep, Openings, StepResult, choose_steps
from provider.receipts.job_file import JobFile, read_job_file
from provider.receipts.trajectories import StepOpening, Trajectories
from provider.receipts.verifying import StepChoice, StepVerification, verify_openings, verify_steps

EVERY = StepChoice(samples=1_000)


class Case:
    """A job whose provider committed to `job.rows`, and what it answers when it is challenged."""

    def __init__(self, job: Any, folder: Path) -> None:
        self.trajectories = Trajectories(folder, keep_hours=1, keep_mib=64)
        root = self.trajectories.keep(job.context, job.rows, job.profiles)
        assert root is not None
        self.root = root
        self.file = self.read(job, root)

    def fetch(self, step: int, picture: int) -> object:
        return json.loads(json.dumps(self.trajectories.open(self.root, step, picture).to_object()))

    @staticmethod
    def read(job: Any, root: Hash32, **change: Any) -> JobFile:
        return read_job_file(json.dumps(job.file(root, **change)).encode())


class Committed:
    """A provider that commits to whatever it likes; as `Case`, but for what an honest one's `Trajectories` refuse."""

    def __init__(self, job: Any, rows: tuple[tuple[bytes, ...], ...]) -> None:
        self._job, self._rows = job, rows
        self._digests = tuple(tuple(sha256(latents) for latents in steps) for steps in rows)
        self._root = trajectory_root(job.context, self._digests)
        self.file = Case.read(job, self._root)

    def fetch(self, step: int, picture: int) -> object:
        opening = open_step(self._job.context, self._digests, picture=picture, step=step)
        profiles, latents = self._job.profiles, self._rows[picture][step]
        opened = StepOpening(self._root, self._job.context, opening, profiles, latents)
        return json.loads(json.dumps(opened.to_object()))


def commit(job: Any, rows: tuple[tuple[bytes, ...], ...]) -> tuple[Any, FetchStep]:
    committed = Committed(job, rows)
    return committed, committed.fetch


def challenge(job: Any, case: Case, worker: Any, fetch: FetchStep | None = None) -> Challenge:
    from provider.inference.latents import compare_latents

    return Challenge(job.request, Openings(case.file, fetch or case.fetch), worker, compare_latents)


def passed(found: StepVerification) -> dict[str, bool | None]:
    return {check.name: check.passed for check in found.checks}


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a", "dpmpp_2m_karras"])
def test_honest_run_holds_bit_for_bit(make_real_job: Any, folder: Path, scheduler: str) -> None:
    job = make_real_job(scheduler)
    found = verify_steps(challenge(job, Case(job, folder), make_real_job.worker), EVERY)
    assert passed(found) == {"profile": True, "trajectory": True, "steps": True}
    assert [(result.picture, result.step) for result in found.results] == [(p, s) for p in range(2) for s in range(7)]
    assert all(result.is_bit_equal for result in found.results)
    assert found.ours == found.declared


def test_pictures_are_held_against_the_last_latents(make_real_job: Any, folder: Path) -> None:
    job = make_real_job()
    one, two = job.pictures
    case = Case(job, folder)
    honest = verify_steps(challenge(job, case, make_real_job.worker), EVERY, job.pictures)
    assert passed(honest)["pictures"] is True
    assert [result.is_bit_equal for result in honest.pictures] == [True, True]
    named = StepChoice(steps=(3,), picture=1)
    swapped = verify_steps(challenge(job, case, make_real_job.worker), named, (two, one))
    assert passed(swapped)["pictures"] is False
    assert [(result.picture, result.holds) for result in swapped.pictures] == [(1, False)]
    no_picture = verify_steps(challenge(job, case, make_real_job.worker), named, (one, b"no picture"))
    assert passed(no_picture)["trajectory"] is False


def with_a_stamp(picture: bytes) -> bytes:
    """Other colours on 1.2% of it, in a corner, as a provider might leave its mark."""
    with Image.open(io.BytesIO(picture)) as image:
        corner = (0, 0, 28, 28)
        image.paste(image.crop(corner).point(lambda level: (level + 120) % 256), corner)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
    return buffer.getvalue()


def test_stamp_on_a_picture_is_found(make_real_job: Any, folder: Path) -> None:
    """On average the picture is still within rounding."""
    job = make_real_job()
    stamped = (with_a_stamp(job.pictures[0]),)
    found = verify_steps(challenge(job, Case(job, folder), make_real_job.worker), EVERY, stamped)
    assert passed(found)["pictures"] is False
    assert found.pictures[0].distance.mean_levels < MAX_MEAN_LEVELS


@pytest.mark.parametrize(("kind", "quality"), [("jpeg", 90), ("jpeg", 10), ("webp", 90), ("webp", 10)])
def test_lossy_file_of_another_machine_holds(make_real_job: Any, folder: Path, kind: str, quality: int) -> None:
    """Its pixels differ by one level here and there, after which a codec may decide otherwise in whole blocks."""
    job = make_real_job()
    lossy = replace(job, request=replace(job.request, encoding=Encoding(kind, quality)))
    with Image.open(io.BytesIO(job.pictures[0])) as image:
        pixels = bytearray(image.tobytes())
        for place in range(0, len(pixels), 13):
            pixels[place] = max(0, pixels[place] - 1)
        buffer = io.BytesIO()
        Image.frombytes("RGB", image.size, bytes(pixels)).save(buffer, kind.upper(), quality=quality)
    result = challenge(lossy, Case(lossy, folder), make_real_job.worker).decode(0, buffer.getvalue())
    assert result.holds, result
    assert not result.is_bit_equal
    stamped = io.BytesIO()
    with Image.open(io.BytesIO(with_a_stamp(job.pictures[0]))) as image:
        image.save(stamped, kind.upper(), quality=quality)
    assert not challenge(lossy, Case(lossy, folder), make_real_job.worker).decode(0, stamped.getvalue()).holds


def test_other_batch_size_holds_within_tolerance(make_real_job: Any, folder: Path) -> None:
    """A run in a batch of 2 that is computed again alone, as on a machine whose last bits differ."""
    job = make_real_job()
    alone = replace(job, profiles=tuple(replace(profile, batch_rows=1) for profile in job.profiles))
    found = verify_steps(challenge(alone, Case(alone, folder), make_real_job.worker), EVERY)
    assert passed(found)["steps"] is True
    assert max(result.relative for result in found.results) <= STEP_TOLERANCE["float32"] / 10


def test_linear_multistep_may_err_more_than_the_others(make_real_job: Any, folder: Path) -> None:
    """The scheduler that was asked for counts, not the one that is declared."""
    tolerances = []
    for scheduler in ("lms", "ddim"):
        job = make_real_job(scheduler, 1)
        declared = replace(job, profiles=(replace(job.profiles[0], scheduler="LMSDiscreteScheduler"),))
        found = verify_steps(challenge(declared, Case(declared, folder), make_real_job.worker), StepChoice())
        assert passed(found)["steps"] is True
        tolerances.append({result.tolerance for result in found.results})
    assert tolerances == [{2 * STEP_TOLERANCE["float32"]}, {STEP_TOLERANCE["float32"]}]


def forged(job: Any, change: Callable[[list[bytes]], None]) -> Any:
    """The same job with other latents committed to, in its first picture."""
    rows = [list(steps) for steps in job.rows]
    change(rows[0])
    return replace(job, rows=tuple(tuple(steps) for steps in rows))


def values(latents: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(latents) // 4}f", latents))


def packed(numbers: list[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def skip_steps(steps: list[bytes]) -> None:
    """Every second step is not computed but drawn between its neighbours."""
    for step in (2, 4):
        pairs = zip(values(steps[step - 1]), values(steps[step + 1]), strict=True)
        steps[step] = packed([(before + after) / 2 for before, after in pairs])


def repeat_a_step(steps: list[bytes]) -> None:
    steps[4] = steps[3]


def swap_steps(steps: list[bytes]) -> None:
    steps[3], steps[4] = steps[4], steps[3]


def make_noise(steps: list[bytes]) -> None:
    generator = random.Random(5)
    steps[3] = packed([generator.gauss(0, 1) for _ in values(steps[3])])


def start_elsewhere(steps: list[bytes]) -> None:
    """Another seed's noise: the run from there on is honest in itself, so only entry 0 can show it."""
    steps[0] = packed([-value for value in values(steps[0])])


def round_to_half_precision(steps: list[bytes]) -> None:
    for step in range(1, len(steps)):
        numbers = values(steps[step])
        steps[step] = packed([struct.unpack("<e", struct.pack("<e", number))[0] for number in numbers])


@pytest.mark.parametrize(
    "cheat", [skip_steps, repeat_a_step, swap_steps, make_noise, start_elsewhere, round_to_half_precision]
)
def test_latents_that_were_not_computed(make_real_job: Any, folder: Path, cheat: Any) -> None:
    job = forged(make_real_job(), cheat)
    found = verify_steps(challenge(job, Case(job, folder), make_real_job.worker), EVERY)
    assert passed(found)["steps"] is False
    apart = [result for result in found.results if not result.holds]
    assert {result.picture for result in apart} == {0}
    assert all(result.relative > 2 * STEP_TOLERANCE["float32"] for result in apart)


def make_huge(latents: Any) -> None:
    latents *= 1e6


def make_one_value_huge(latents: Any) -> None:
    latents[0, 0, 0, 0] = 1e8


def carry_on_without_the_model(job: Any, exaggerate: Callable[[Any], None]) -> Any:
    """The same job, whose middle is made huge and then carried on by the scheduler alone, as if the UNet said 0.

    Both ends are honest: what the seed gives and the first step, the last step and the picture.
    """
    import diffusers
    import torch

    from provider.generation import EMBEDDED_MODEL_FOLDER
    from provider.inference.latents import from_bytes, to_bytes
    from provider.inference.schedulers import new_scheduler, prepare_schedule

    folder = EMBEDDED_MODEL_FOLDER / "scheduler"
    own_class = json.loads((folder / "scheduler_config.json").read_text())["_class_name"]
    scheduler = new_scheduler(job.request.scheduler, getattr(diffusers, own_class).from_pretrained(folder))
    schedule = prepare_schedule(scheduler, job.request.steps, None, torch.device("cpu"))
    profile = job.profiles[0]

    def change(steps: list[bytes]) -> None:
        latents = from_bytes(steps[2], profile.latent_shape, getattr(torch, profile.dtype))[None]
        exaggerate(latents)
        for step in range(2, job.request.steps - 1):
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(step - 1)
                scheduler._step_index = None  # Each step stands alone.
            if step > 2:
                timestep = schedule.timesteps[step - 1]
                scheduler.scale_model_input(latents, timestep)
                latents = scheduler.step(torch.zeros_like(latents), timestep, latents, return_dict=False)[0]
            steps[step] = to_bytes(latents[0])

    return forged(job, change)


@pytest.mark.parametrize("exaggerate", [make_huge, make_one_value_huge])
@pytest.mark.parametrize(("scheduler", "precision"), [("euler", "float32"), ("ddim", "float32"), ("euler", "bfloat16")])
def test_middle_that_is_huge_and_carried_on_without_the_model(
    make_real_job: Any, folder: Path, scheduler: str, precision: str, exaggerate: Any
) -> None:
    """Beside huge latents the UNet's part is nothing, and so would be its absence, were they their own measure."""
    honest = make_real_job(scheduler, 1, 12, precision)
    worker = make_real_job.workers[precision]
    assert passed(verify_steps(challenge(honest, Case(honest, folder), worker), StepChoice()))["steps"] is True
    job = carry_on_without_the_model(honest, exaggerate)
    case = Case(job, folder)
    for step in range(3, 11):
        found = verify_steps(challenge(job, case, worker), StepChoice(steps=(step,)))
        assert passed(found)["steps"] is False, f"step {step}"
    for _ in range(3):
        assert passed(verify_steps(challenge(job, case, worker), StepChoice()))["steps"] is False


@pytest.mark.parametrize("change", [{"prompt": "a blue triangle"}, {"guidance": 3.0}, {"seed": 12}])
def test_run_of_another_request(make_real_job: Any, folder: Path, change: dict[str, Any]) -> None:
    """The provider drew something else than it says that it was asked for."""
    job = make_real_job()
    case = Case(job, folder)
    other = replace(job, request=replace(job.request, **change))
    assert passed(verify_steps(challenge(other, case, make_real_job.worker), EVERY))["steps"] is False


@pytest.mark.parametrize(
    ("change", "words"), [({"steps": 7}, "steps"), ({"count": 1}, "picture"), ({"scheduler": "heun"}, "steps")]
)
def test_run_of_another_shape(make_real_job: Any, folder: Path, change: dict[str, Any], words: str) -> None:
    job = make_real_job()
    other = replace(job, request=replace(job.request, **change))
    found = verify_steps(challenge(other, Case(job, folder), make_real_job.worker), EVERY)
    assert passed(found) == {"trajectory": False}
    assert words in found.checks[0].detail
    assert found.results == []


def test_other_weights_are_not_compared(make_real_job: Any, folder: Path) -> None:
    job = make_real_job()
    other = replace(job, profiles=tuple(replace(profile, weights_sha256="cd" * 32) for profile in job.profiles))
    found = verify_steps(challenge(other, Case(other, folder), make_real_job.worker), EVERY)
    assert passed(found) == {"profile": None}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_latents_that_are_no_numbers(make_real_job: Any, folder: Path, bad: float) -> None:
    def change(steps: list[bytes]) -> None:
        steps[2] = packed([bad, *values(steps[2])[1:]])

    job = forged(make_real_job(), change)
    found = verify_steps(challenge(job, Case(job, folder), make_real_job.worker), EVERY)
    assert passed(found)["steps"] is False


def test_batch_size_that_nobody_computes(make_real_job: Any, folder: Path) -> None:
    """A profile may claim what it likes; the verifier's machine does not try a thousand rows."""
    job = make_real_job()
    huge = replace(job, profiles=tuple(replace(profile, batch_rows=1_024) for profile in job.profiles))
    found = verify_steps(challenge(huge, Case(huge, folder), make_real_job.worker), EVERY)
    assert passed(found)["steps"] is False


class TestOpenings:
    """A provider that answers a challenge with something else."""

    @pytest.fixture
    def job(self, make_job: Any) -> Any:
        return make_job()

    @pytest.fixture
    def case(self, job: Any, folder: Path) -> Case:
        return Case(job, folder)

    @staticmethod
    def refused(case: Case, fetch: FetchStep, file: JobFile | None = None) -> RejectionReason | None:
        try:
            Openings(file or case.file, fetch).get(3, 1)
        except Rejected as rejected:
            return rejected.reason
        return None

    def test_honest(self, case: Case) -> None:
        assert self.refused(case, case.fetch) is None
        found = verify_openings(Openings(case.file, case.fetch), EVERY)
        assert passed(found) == {"trajectory": True}
        assert "12 entries" in found.checks[0].detail

    def test_each_entry_is_fetched_once(self, case: Case) -> None:
        asked: list[tuple[int, int]] = []

        def fetch(step: int, picture: int) -> object:
            asked.append((step, picture))
            return case.fetch(step, picture)

        openings = Openings(case.file, fetch)
        for _ in range(3):
            openings.get(3, 1)
        assert (asked, openings.count) == ([(3, 1)], 1)

    @pytest.mark.parametrize("place", [(2, 1), (3, 0), (4, 1)])
    def test_another_step(self, case: Case, place: tuple[int, int]) -> None:
        assert self.refused(case, lambda _step, _picture: case.fetch(*place)) is RejectionReason.BAD_PROOF

    def test_another_steps_latents_under_this_steps_number(self, case: Case) -> None:
        def fetch(step: int, picture: int) -> object:
            answer: Any = case.fetch(step + 1, picture)
            answer["opening"]["step"] = step
            return answer

        assert self.refused(case, fetch) is RejectionReason.BAD_PROOF

    def test_other_latents(self, case: Case) -> None:
        def fetch(step: int, picture: int) -> object:
            answer: Any = case.fetch(step, picture)
            return answer | {"latents": "B" + answer["latents"][1:]}

        assert self.refused(case, fetch) is RejectionReason.BAD_PROOF

    def test_trajectory_of_another_job(self, case: Case, make_job: Any, tmp_path: Path) -> None:
        other = Case(make_job("2026-11-22-000002"), tmp_path / "other")
        assert self.refused(case, other.fetch) is RejectionReason.BAD_PROOF

        def claim_the_root(step: int, picture: int) -> object:
            answer: Any = other.fetch(step, picture)
            return answer | {"trajectory_root": "0x" + case.root.hex()}

        def claim_the_context_too(step: int, picture: int) -> object:
            mine: Any = case.fetch(step, picture)
            answer: Any = claim_the_root(step, picture)
            return answer | {"context": mine["context"]}

        for fetch in (claim_the_root, claim_the_context_too):
            assert self.refused(case, fetch) is RejectionReason.BAD_PROOF

    def test_root_of_another_receipt(self, case: Case, job: Any, make_job: Any) -> None:
        """The honest trajectory of one job, put into the receipt of another."""
        carried = Case.read(make_job("2026-11-22-000002"), case.root)
        assert self.refused(case, case.fetch, carried) is RejectionReason.BAD_PROOF
        without = read_job_file(json.dumps(job.file(None)).encode())
        assert self.refused(case, case.fetch, without) is RejectionReason.BAD_PROOF

    def test_profile_that_is_declared_afterwards(self, case: Case, job: Any) -> None:
        """A provider that is challenged says bfloat16 now, for whose tolerance its float32 claim would do."""

        def fetch(step: int, picture: int) -> object:
            answer: Any = case.fetch(step, picture)
            for profile in answer["profiles"]:
                profile["device_class"] = "another"
            return answer

        assert self.refused(case, fetch) is RejectionReason.BAD_PROOF
        forgetful = Case.read(job, case.root, profiles=None)
        assert self.refused(case, case.fetch, forgetful) is None
        assert self.refused(case, fetch, forgetful) is RejectionReason.BAD_PROOF

    def test_profile_that_was_committed_to_is_not_the_one_in_the_answer(self, job: Any, folder: Path) -> None:
        """What the client was told when it got its picture counts, not what the root was made with."""
        case = Case(job, folder)
        answered = [profile | {"device_class": "a better one"} for profile in job.file()["profiles"]]
        assert self.refused(case, case.fetch, Case.read(job, case.root, profiles=answered)) is RejectionReason.BAD_PROOF

    def test_another_root_is_stated(self, case: Case) -> None:
        def fetch(step: int, picture: int) -> object:
            answer: Any = case.fetch(step, picture)
            return answer | {"trajectory_root": "0x" + "00" * 32}

        assert self.refused(case, fetch) is RejectionReason.BAD_PROOF

    @pytest.mark.parametrize(
        "change",
        [{"dtype": "bfloat16"}, {"weights_sha256": "cd" * 32}, {"scheduler": "Other"}, {"latent_shape": (8, 4, 8)}],
    )
    def test_pictures_of_one_job_that_are_declared_differently(self, job: Any, change: dict[str, Any]) -> None:
        """The first picture's profile decides how latents are read, another's how strictly they are judged."""
        mixed = replace(job, profiles=(job.profiles[0], replace(job.profiles[1], **change)))
        size = 2 if "dtype" in change else 4
        rows = tuple(tuple(latents[: 256 * size] for latents in steps) for steps in mixed.rows)
        assert self.refused(*commit(mixed, (job.rows[0], rows[1]))) is RejectionReason.BAD_PROOF

    def test_pictures_of_one_job_that_were_computed_in_different_places(self, job: Any) -> None:
        other = replace(job.profiles[1], batch_rows=7, device_class="another GPU", versions={"torch": "3"})
        assert self.refused(*commit(replace(job, profiles=(job.profiles[0], other)), job.rows)) is None

    @pytest.mark.parametrize("answer", [None, [], "x", {}, {"latents": ""}, 7])
    def test_no_opening_at_all(self, case: Case, answer: object) -> None:
        assert self.refused(case, lambda _step, _picture: answer) is not None

    def test_huge_proof(self, case: Case) -> None:
        def fetch(step: int, picture: int) -> object:
            answer: Any = case.fetch(step, picture)
            answer["opening"]["siblings"] = ["0x" + "00" * 32] * 100_000
            return answer

        assert self.refused(case, fetch) is RejectionReason.MALFORMED

    def test_bad_proof_is_a_failed_check(self, case: Case) -> None:
        found = verify_openings(Openings(case.file, lambda _step, _picture: {}), EVERY)
        assert passed(found) == {"trajectory": False}


def test_steps_are_chosen_at_random_without_repetition() -> None:
    seen: set[tuple[int, int]] = set()
    for _ in range(300):
        chosen = choose_steps(7, 2, 3)
        assert len(chosen) == len(set(chosen))
        inner = [place for place in chosen if 1 < place[0] < 7]
        assert len(inner) == 3
        assert {(end, picture) for _, picture in inner for end in (0, 1, 7)} == set(chosen) - set(inner)
        seen |= set(inner)
    assert seen == {(step, picture) for step in range(2, 7) for picture in range(2)}
    assert len(choose_steps(5, 2, 1_000)) == 12


@pytest.mark.parametrize(("steps", "chosen"), [(0, [0]), (1, [0, 1]), (2, [0, 1, 2])])
def test_short_runs_are_computed_again_whole(steps: int, chosen: list[int]) -> None:
    """Image-to-image of little strength; what it starts from is checked even where there is no step."""
    assert choose_steps(steps, 1, 2) == [(step, 0) for step in chosen]


def test_a_result_holds_up_to_its_tolerance() -> None:
    result = StepResult(0, 1, is_bit_equal=False, max_abs=1.0, mean_abs=1.0, relative=1e-4, tolerance=1e-4)
    assert result.holds
    assert not replace(result, relative=1.1e-4).holds
    assert not replace(result, relative=math.nan).holds
    assert not replace(result, tolerance=0.0).holds
    assert replace(result, tolerance=0.0, is_bit_equal=True).holds


def test_rerun_needs_the_model_to_agree_on_what_a_step_is(make_real_job: Any, folder: Path) -> None:
    """A named step that there is not is refused by whoever opens it, before anything is computed."""
    job = make_real_job()
    with pytest.raises((Rejected, GenerationFailed)):
        challenge(job, Case(job, folder), make_real_job.worker).rerun(99, 0)
