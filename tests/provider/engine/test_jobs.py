"""A job as its caller and the queue see it, without an engine around it."""

from dataclasses import replace

import pytest

from provider.engine.jobs import (
    EngineJob,
    JobEvent,
    JobProgress,
    JobState,
    JobTerms,
    PicturesStarted,
    by_job,
    own_error,
)
from provider.errors import GenerationFailed, OutOfMemory
from provider.generation import MAX_SEED, Encoding, ImageRequest, SourceImage

REQUEST = ImageRequest("a red circle", steps=3, guidance=2.5, width=256, height=256, seed=MAX_SEED, count=3)
TERMS = JobTerms("alice", submitted_at=1_000.0, submitted_s=1.0, deadline_s=9.0)


class Keeper:
    def __init__(self) -> None:
        self.cancelled: list[EngineJob] = []

    def cancel(self, job: EngineJob) -> None:
        self.cancelled.append(job)

    def progress_of(self, job: EngineJob) -> JobProgress:
        return JobProgress(job.state, 0, 0, job.request.count, 0, job.request.steps, 0.0, 0.0)


def new_job(request: ImageRequest = REQUEST, terms: JobTerms = TERMS) -> EngineJob:
    return EngineJob(request, terms, Keeper())


def test_a_row_for_each_picture_with_a_seed_of_its_own() -> None:
    source = SourceImage(b"png", strength=0.5)
    encoding = Encoding("webp", 70)
    request = replace(REQUEST, negative_prompt="a square", source=source, encoding=encoding)
    rows = new_job(request, replace(TERMS, records_trajectory=True, preview_every=2)).rows()
    assert [row.row.seed for row in rows] == [MAX_SEED, 0, 1]
    assert [row.index for row in rows] == [0, 1, 2]
    assert {row.caller for row in rows} == {"alice"}
    assert {row.key for row in rows} == {request.batch_key}
    assert rows[0].key.strength == 0.5
    assert rows[0].key.is_guided
    for row in rows:
        assert (row.row.prompt, row.row.negative_prompt, row.row.guidance) == ("a red circle", "a square", 2.5)
        assert (row.row.source_png, row.row.encoding) == (b"png", encoding)
        assert (row.row.records_trajectory, row.row.preview_every) == (True, 2)


@pytest.mark.parametrize(("guidance", "is_guided"), [(0.0, False), (1.0, False), (1.1, True), (7.5, True)])
def test_guidance_of_one_computes_no_second_half(guidance: float, is_guided: bool) -> None:
    assert replace(REQUEST, guidance=guidance).batch_key.is_guided is is_guided


def test_only_the_first_to_settle_a_job_may_resolve_it() -> None:
    job = new_job()
    assert job.settle()
    assert not job.settle()


def test_the_future_alone_cannot_be_cancelled() -> None:
    job = new_job()
    assert not job.future.cancel()
    job.cancel()
    assert isinstance(job.keeper, Keeper)
    assert job.keeper.cancelled == [job]
    assert job.progress.state is JobState.WAITING


def test_nothing_is_told_after_the_end() -> None:
    told: list[JobEvent] = []
    job = new_job(terms=replace(TERMS, on_event=told.append))
    event = PicturesStarted((0,), batch_rows=1)
    job.tell(event)
    job.future.set_exception(GenerationFailed("over"))
    job.tell(event)
    assert told == [event]
    assert job.state is JobState.FAILED


def test_rows_by_job() -> None:
    first, second = new_job(), new_job()
    rows = [first.rows()[0], second.rows()[1], first.rows()[2]]
    assert by_job(rows) == [(first, [rows[0], rows[2]]), (second, [rows[1]])]


def test_an_error_of_ones_own_keeps_type_and_reason_but_not_the_cause() -> None:
    error = OutOfMemory("too many", reason="of_one_kind")
    error.__cause__ = ValueError("a secret prompt")
    copy = own_error(error)
    assert copy is not error
    assert (type(copy), copy.message, copy.reason) == (OutOfMemory, "too many", "of_one_kind")
    assert copy.__cause__ is None
    assert copy.__context__ is None
