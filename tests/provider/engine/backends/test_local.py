"""The embedded model, computed in this process."""

import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from provider.engine.backends.local import LocalBackend
from provider.engine.engine import Engine, EngineState
from provider.engine.jobs import JobEvent, PictureDone, PicturesStarted, StepReached
from provider.engine.options import EngineOptions
from provider.errors import EngineNotReady, GenerationCancelled, ModelUnavailable
from provider.generation import EMBEDDED_MODEL, FinishedRow, ImageRequest, PipelineOptions

PATIENCE_S = 120.0
REQUEST = ImageRequest("a red circle on a blue background", steps=3, guidance=2.5, width=256, height=256, seed=7)

StartEngine = Callable[[PipelineOptions], Engine]


@pytest.fixture(scope="module")
def start_engine() -> Iterator[StartEngine]:
    engines: list[Engine] = []

    def start(options: PipelineOptions) -> Engine:
        engine = Engine(LocalBackend(options), EngineOptions(batch_wait_ms=0, job_timeout_s=PATIENCE_S))
        engines.append(engine)
        engine.start()
        return engine

    yield start
    for engine in engines:
        engine.stop()
    for engine in engines:
        assert engine.join(PATIENCE_S)


@pytest.fixture(scope="module")
def engine(start_engine: StartEngine) -> Engine:
    started = start_engine(PipelineOptions(device="cpu", cpu_threads=1))
    started.loaded.result(PATIENCE_S)
    return started


def pixels_of(row: FinishedRow) -> bytes:
    with Image.open(io.BytesIO(row.picture)) as picture:
        return picture.tobytes()


def test_the_models_are_known_before_they_are_loaded() -> None:
    backend = LocalBackend(PipelineOptions(models={EMBEDDED_MODEL: EMBEDDED_MODEL, "mine": "/models/mine"}))
    assert [(model.name, model.is_loaded) for model in backend.models()] == [(EMBEDDED_MODEL, False), ("mine", False)]
    assert backend.slots() == 0
    assert backend.max_rows(REQUEST.batch_key) == 1
    backend.close()


def test_a_picture_from_the_embedded_model(engine: Engine) -> None:
    assert engine.state is EngineState.READY
    assert [device.kind for device in engine.devices] == ["cpu"]
    assert engine.slots == 1
    assert [(model.name, model.is_loaded) for model in engine.models()] == [(EMBEDDED_MODEL, True)]
    job = engine.submit(REQUEST, caller="alice").future.result(PATIENCE_S)
    with Image.open(io.BytesIO(job.pictures[0].picture)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("PNG", (256, 256), "RGB")
    assert job.device == engine.devices[0]
    assert len(job.profiles[0].weights_sha256) == 64
    assert 0 < job.compute_microseconds <= (job.finished_at - job.started_at) * 1_000_000


@pytest.mark.gpu
def test_every_gpu_is_a_slot(start_engine: StartEngine) -> None:
    engine = start_engine(PipelineOptions(device="cuda"))
    devices = engine.loaded.result(PATIENCE_S)
    jobs = [engine.submit(replace(REQUEST, count=2), caller=f"caller {number}") for number in range(8)]
    finished = [job.future.result(PATIENCE_S) for job in jobs]
    assert {job.device for job in finished} <= set(devices)
    assert {device.kind for device in devices} == {"cuda"}
    assert engine.vram_used_mib > 0


def test_pictures_of_several_jobs_share_a_batch_and_keep_their_seeds(engine: Engine) -> None:
    alone = engine.submit(replace(REQUEST, seed=8), caller="alice").future.result(PATIENCE_S)
    events: list[JobEvent] = []
    went_on = threading.Event()

    def hold(event: JobEvent) -> None:
        # The slot waits in here, so that all that is submitted meanwhile is taken together.
        if isinstance(event, PicturesStarted):
            assert went_on.wait(PATIENCE_S)

    first = engine.submit(replace(REQUEST, height=320), caller="alice", on_event=hold)
    pair = engine.submit(
        replace(REQUEST, count=2),
        caller="bob",
        preview_every=1,
        records_trajectory=True,
        on_event=events.append,
    )
    other = engine.submit(replace(REQUEST, seed=99, prompt="a green square", guidance=4.0), caller="carol")
    went_on.set()
    first.future.result(PATIENCE_S)
    finished = pair.future.result(PATIENCE_S)
    assert other.future.result(PATIENCE_S).profiles == finished.profiles
    assert finished.profiles[0].batch_rows == 3
    assert events[0] == PicturesStarted((0, 1), batch_rows=3)
    steps = [event for event in events if isinstance(event, StepReached)]
    assert [(event.step, event.steps) for event in steps] == [(1, 3), (2, 3), (3, 3)]
    assert all(jpeg.startswith(b"\xff\xd8") for event in steps for jpeg in event.previews.values())
    assert set(steps[0].previews) == {0, 1}
    assert [event.picture for event in events if isinstance(event, PictureDone)] == [0, 1]
    for row in finished.pictures:
        assert row.trajectory is not None
        assert len(row.trajectory) == 4
    shared, single = pixels_of(finished.pictures[1]), pixels_of(alone.pictures[0])
    difference = max(abs(a - b) for a, b in zip(shared, single, strict=True))
    # Another batch shape may take other kernels, whose last bits differ; one of 255 levels is what that comes to.
    assert difference <= 1


def test_a_job_at_work_stops_between_two_steps(engine: Engine) -> None:
    begun = threading.Event()

    def listen(event: JobEvent) -> None:
        if isinstance(event, StepReached):
            begun.set()

    job = engine.submit(replace(REQUEST, steps=100, width=512, height=512), caller="alice", on_event=listen)
    assert begun.wait(PATIENCE_S)
    job.cancel()
    with pytest.raises(GenerationCancelled):
        job.future.result(PATIENCE_S)
    engine.submit(REQUEST, caller="alice").future.result(PATIENCE_S)


def test_a_model_that_is_not_there(start_engine: StartEngine, tmp_path: Path) -> None:
    engine = start_engine(PipelineOptions(models={"mine": str(tmp_path / "nowhere")}, cpu_threads=1))
    with pytest.raises(ModelUnavailable, match="nowhere") as caught:
        engine.loaded.result(PATIENCE_S)
    assert caught.value.reason == "model_folder_missing"
    assert engine.state is EngineState.FAILED
    with pytest.raises(EngineNotReady, match="nowhere"):
        engine.submit(replace(REQUEST, model="mine"), caller="alice")


def test_without_the_libraries_the_operator_is_told_what_to_install() -> None:
    """In a process of its own, where torch cannot be imported."""
    program = """
import sys
sys.modules["torch"] = None
from provider.engine.backends.local import LocalBackend
from provider.errors import ModelUnavailable
from provider.generation import PipelineOptions
try:
    LocalBackend(PipelineOptions()).load()
except ModelUnavailable as error:
    print(error.reason, error.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stdout.startswith(
        "libraries_missing the extra `provider` is not installed (pip install 'aitbc[provider]')"
    )
    assert done.stderr == ""


def test_nothing_heavy_is_imported_before_the_models_are_loaded() -> None:
    program = """
import sys
import provider.engine.engine
from provider.engine.backends.local import LocalBackend
from provider.generation import PipelineOptions
LocalBackend(PipelineOptions())
print(sorted({"torch", "diffusers", "transformers", "numpy", "PIL", "ray"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stdout == "[]\n"
