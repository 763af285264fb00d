"""Which steps are asked for, and the tolerance by precision and scheduler."""

from random import Random

from chain.primitives.step_tolerance import ROUNDING_RATIO, STEP_TOLERANCE, choose_steps, tolerance_of_step


def test_tolerance_follows_precision_and_scheduler() -> None:
    assert tolerance_of_step("float32", "DDIMScheduler") == STEP_TOLERANCE["float32"]
    assert tolerance_of_step("bfloat16", "LMSDiscreteScheduler") == 2 * STEP_TOLERANCE["bfloat16"]
    assert tolerance_of_step("float16", "PNDMScheduler") > 2.9e-2  # As measured of honest work.


def test_own_rounding_makes_it_sharper_but_never_wider() -> None:
    """Or an accomplice that checks could explain anything by its rounding."""
    assert tolerance_of_step("bfloat16", "DDIMScheduler", 1e-3) == ROUNDING_RATIO * 1e-3
    assert tolerance_of_step("bfloat16", "DDIMScheduler", 10.0) == STEP_TOLERANCE["bfloat16"]
    assert tolerance_of_step("bfloat16", "LMSDiscreteScheduler", 10.0) == 2 * STEP_TOLERANCE["bfloat16"]
    assert tolerance_of_step("bfloat16", "DDIMScheduler", 0.0) == 0.0


def test_steps_of_the_middle_with_their_pictures_ends() -> None:
    for seed in range(50):
        chosen = choose_steps(10, 3, 4, Random(seed).sample)
        pictures = {picture for _, picture in chosen}
        assert all((step, picture) in chosen for picture in pictures for step in (0, 1, 10))
        assert len(chosen) == len(set(chosen)) == 4 + 3 * len(pictures)
        assert chosen == sorted(chosen, key=lambda place: (place[1], place[0]))


def test_short_runs_are_checked_whole() -> None:
    assert choose_steps(1, 1, 4, Random(1).sample) == [(0, 0), (1, 0)]
    assert choose_steps(2, 1, 4, Random(1).sample) == [(0, 0), (1, 0), (2, 0)]
    assert choose_steps(5, 1, 100, Random(1).sample) == [(step, 0) for step in range(6)]
