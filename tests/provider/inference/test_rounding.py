"""A verifier in float32 says how far a shorter precision moves a step: as far as honest work in it lies away."""

from typing import Any

import pytest

from chain.primitives.latents import widened
from provider.generation import PipelineOptions, StepCheck, StepsChecked
from provider.inference.latents import compare_latents
from provider.inference.worker import InferenceWorker

STEPS = 6


def checked(worker: Any, tools: Any, entries: tuple[bytes, ...], dtype: str | None, guidance: float) -> StepsChecked:
    """Every step of the run."""
    places = tuple((0, step) for step in range(STEPS + 1))
    return worker.check(  # type: ignore[no-any-return]
        StepCheck(
            key=tools.key(steps=STEPS, scheduler="euler"),
            rows=(tools.row(guidance=guidance, records_trajectory=True),),
            places=places,
            opened=dict(zip(places, entries, strict=True)),
            dtype=dtype,
        )
    )


@pytest.fixture(scope="module")
def short() -> InferenceWorker:
    worker = InferenceWorker(PipelineOptions(device="cpu", precision="bfloat16", cpu_threads=1))
    worker.load()
    return worker


@pytest.mark.parametrize("guidance", [2.5, 12.0])
def test_its_own_rounding_is_that_of_honest_work(worker: Any, tools: Any, short: Any, guidance: float) -> None:
    row = tools.row(guidance=guidance, records_trajectory=True)
    run = tools.run(short, tools.key(steps=STEPS, scheduler="euler"), row)
    claimed = tuple(widened(entry, "bfloat16") for entry in run.trajectory())
    found = checked(worker, tools, claimed, "bfloat16", guidance)
    assert len(found.rounding) == len(claimed)
    for step, (entry, again, rms, own) in enumerate(
        zip(claimed, found.latents, found.expected_rms, found.rounding, strict=True)
    ):
        away = compare_latents(entry, again, "float32", rms).relative
        assert 1e-3 < own < 0.1  # A last place of bfloat16 is 2^-8.
        # What Euler starts from is rounded twice: as noise, and after it was scaled.
        assert away == pytest.approx(own * (1 if step else 2**0.5), rel=0.25)


def test_in_the_same_precision_there_is_none(worker: Any, tools: Any, short: Any) -> None:
    run = tools.run(worker, tools.key(steps=STEPS, scheduler="euler"), tools.row(records_trajectory=True))
    for dtype in (None, "float32"):
        assert checked(worker, tools, run.trajectory(), dtype, tools.row().guidance).rounding == ()
    halves = tools.run(short, tools.key(steps=STEPS, scheduler="euler"), tools.row(records_trajectory=True))
    assert checked(short, tools, halves.trajectory(), "bfloat16", tools.row().guidance).rounding == ()


def test_the_latents_do_not_depend_on_it(worker: Any, tools: Any) -> None:
    run = tools.run(worker, tools.key(steps=STEPS, scheduler="euler"), tools.row(records_trajectory=True))
    with_rounding = checked(worker, tools, run.trajectory(), "float16", tools.row().guidance)
    assert with_rounding.latents == run.trajectory()
    assert all(1e-5 < own < 1e-2 for own in with_rounding.rounding)
