"""The cheat bench, small: two jobs, each served honestly in four ways and with every cheat, by the embedded model.

`python -m tests.simulation.cheats` does the same with a hundred; docs/hub.md has its figures.
"""

import pytest

from hub.verification.errors import FaultReason
from tests.hub.verification.bench import HONEST, SECOND_LOOK, Case, Trial, cheating, try_cases

JOBS = (0, 4)
"""The default scheduler and Euler's."""


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    cases = (*HONEST, *cheating("float32", "float32"))
    return [trial for number in JOBS for trial in try_cases(number, cases)]


def test_honest_work_is_never_accused(trials: list[Trial]) -> None:
    honest = [trial for trial in trials if trial.case.cheat is None]
    assert len(honest) == len(JOBS) * len(HONEST)
    assert [(trial.case.name, trial.reason) for trial in honest if trial.is_accused] == []


def test_every_cheat_is_found(trials: list[Trial]) -> None:
    cheats = [trial for trial in trials if trial.case.cheat is not None]
    assert len(cheats) == len(JOBS) * len(cheating("float32", "float32"))
    assert [trial.case.name for trial in cheats if not trial.is_accused] == []


def test_a_stale_file_needs_no_examination(trials: list[Trial]) -> None:
    reasons = {trial.reason for trial in trials if trial.case == Case("stale picture", "float32", "float32")}
    assert reasons == {FaultReason.COPIED_PICTURE.value}


def test_other_pictures_are_found_by_either_half_of_an_examination(trials: list[Trial]) -> None:
    """What is another picture altogether is found by making it again; what is nearly the same by its steps."""
    for trial in trials:
        if trial.case.cheat in SECOND_LOOK:
            assert trial.reason in (FaultReason.WRONG_LATENTS.value, FaultReason.WRONG_PICTURE.value), trial
