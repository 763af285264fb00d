"""The cheat bench, small: three jobs, each served honestly in six ways and with the cheats that come close to honest
work, one of them with every cheat, by the embedded model.

`python -m tests.simulation.cheats` does the same with a hundred; docs/hub.md has its figures.
"""

import pytest

from hub.verification.errors import FaultReason
from tests.hub.verification.bench import HONEST, SECOND_LOOK, Case, Trial, cheating, try_cases

JOBS = (2, 28, 49)
"""Of 8 steps; by DPM++, Euler and DDIM."""
NEARLY_RIGHT = ("half of the steps", "three quarters of the steps", "half of the weights")
"""In half precision, where rounding could hide them. What int8 loses is less than that."""
FAR_OFF = (*SECOND_LOOK, "half of the channels", "stale picture")
"""Other pictures altogether: one job shows it."""
CASES = (
    *(case for case in HONEST if not (case.has_other_kernels and case.precision == "bfloat16")),
    *cheating("float32", "float32"),
    *(Case(cheat, "bfloat16", "float32") for cheat in NEARLY_RIGHT),
)


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    close = [case for case in CASES if case.cheat not in FAR_OFF]
    return [trial for number in JOBS for trial in try_cases(number, CASES if number == JOBS[0] else close)]


def test_honest_work_is_never_accused(trials: list[Trial]) -> None:
    honest = [trial for trial in trials if trial.case.cheat is None]
    assert len(honest) == len(JOBS) * 6
    assert [(trial.case.name, trial.reason) for trial in honest if trial.is_accused] == []


def test_every_cheat_is_found(trials: list[Trial]) -> None:
    cheats = [trial for trial in trials if trial.case.cheat is not None]
    assert len(cheats) == len(JOBS) * (4 + len(NEARLY_RIGHT)) + len(FAR_OFF)
    assert [(trial.case.name, trial.number) for trial in cheats if not trial.is_accused] == []


def test_a_stale_file_is_always_examined(trials: list[Trial]) -> None:
    """However rarely its provider is sampled."""
    assert all(trial.is_suspected for trial in trials if trial.case.cheat == "stale picture")


def test_other_pictures_are_found_by_making_them_again(trials: list[Trial]) -> None:
    """What is another picture altogether is found by the whole run, what is nearly the same by its steps."""
    for trial in trials:
        if trial.case.cheat in SECOND_LOOK and trial.case.precision == "float32":
            assert trial.reason in (FaultReason.WRONG_LATENTS.value, FaultReason.WRONG_PICTURE.value), trial
        if trial.case == Case("int8", "float32", "float32"):
            assert trial.reason in (FaultReason.WRONG_LATENTS.value, FaultReason.WRONG_STEP.value), trial


def test_half_precision_is_judged_by_the_checkers_own_rounding(trials: list[Trial]) -> None:
    """An honest step is as far away as the checker's own in that precision, and far below the bound for all models."""
    for trial in trials:
        if trial.case == Case(None, "bfloat16", "float32"):
            steps = trial.figures["steps/0"]
            assert all(0.4 < step["relative"] / step["tolerance"] < 0.96 for step in steps), steps
            assert max(step["tolerance"] for step in steps) < 0.09
