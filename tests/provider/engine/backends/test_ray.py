"""Two replicas of Ray Serve with the embedded model, each in a process of its own; one of them is killed at work."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from provider.engine.backends.ray import RayBackend
from provider.engine.engine import Engine
from provider.engine.jobs import JobEvent, PicturesReturned, StepReached
from provider.engine.options import EngineOptions
from provider.errors import GenerationFailed, ModelUnavailable
from provider.generation import EMBEDDED_MODEL, Batch, BatchDone, BatchEvent, ImageRequest, PipelineOptions, StepDone

PATIENCE_S = 300.0
"""Far more than any of this takes; a test that runs into it has failed."""
REQUEST = ImageRequest("a red circle on a blue background", steps=4, guidance=2.5, width=256, height=256, seed=7)
OPTIONS = PipelineOptions(device="cpu", models={EMBEDDED_MODEL: EMBEDDED_MODEL, "broken": "/nowhere/at/all"})

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),  # Ray's own.
]


def batch_of(request: ImageRequest, *indices: int) -> Batch:
    return Batch(request.batch_key, tuple(request.row(index) for index in indices or (0,)))


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def engine_and_backend() -> Iterator[tuple[Engine, RayBackend]]:
    """Two replicas and their engine; when it has ended, no process of Ray's and no folder is left."""
    others = psutil.Process().children(recursive=True)  # Of other tests, which run in this process too.
    own = RayBackend(OPTIONS, replicas=2)
    engine = Engine(own, EngineOptions(max_batch_rows=1, batch_wait_ms=0, job_timeout_s=PATIENCE_S))
    engine.start()
    engine.loaded.result(PATIENCE_S)
    family = [process for process in psutil.Process().children(recursive=True) if process not in others]
    arguments = " ".join(argument for process in family for argument in process.cmdline())
    mine = [folder for folder in Path(tempfile.gettempdir()).glob("aitbc-ray-*") if str(folder) in arguments]
    assert len(mine) == 1
    yield engine, own
    engine.stop()
    assert engine.join(PATIENCE_S)
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert alive == []
    assert not mine[0].exists()


@pytest.fixture
def backend(engine_and_backend: tuple[Engine, RayBackend]) -> RayBackend:
    """The replicas, while their engine has nothing to do."""
    return engine_and_backend[1]


def test_what_is_known_before_anything_runs() -> None:
    backend = RayBackend(OPTIONS, replicas=3)
    assert [(model.name, model.is_loaded) for model in backend.models()] == [(EMBEDDED_MODEL, False), ("broken", False)]
    assert (backend.devices(), backend.vram_used_mib()) == ((), 0)
    assert backend.max_rows(REQUEST.batch_key) == OPTIONS.max_batch_rows


def test_a_cluster_that_is_not_there() -> None:
    with pytest.raises(ModelUnavailable, match=r"no Ray cluster answers at 127\.0\.0\.1:9") as caught:
        RayBackend(OPTIONS, address="127.0.0.1:9").load()
    assert caught.value.reason == "cluster_unreachable"


def test_each_replica_is_a_process_with_the_model_loaded(backend: RayBackend) -> None:
    assert backend.slots() == 2
    first, second = backend.replicas()
    assert len({first.process_id, second.process_id, os.getpid()}) == 3
    assert [device.kind for device in backend.devices()] == ["cpu", "cpu"]
    assert [(model.name, model.is_loaded) for model in backend.models()] == [(EMBEDDED_MODEL, True), ("broken", False)]


def test_nobody_on_another_machine_can_reach_them(backend: RayBackend) -> None:
    """By default Serve's replicas would listen on all interfaces, and whoever reaches a port of Ray's is close."""
    listening: dict[str, set[str]] = {}
    for process in psutil.Process().children(recursive=True):
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                listening.setdefault(connection.laddr.ip, set()).add(process.name())
    assert set(listening) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}, listening
    assert any(name.startswith("ray::ServeReplica") for names in listening.values() for name in names)


def test_nobody_on_this_machine_can_use_them_without_the_token(backend: RayBackend) -> None:
    import grpc  # type: ignore[import-untyped]

    replicas = [psutil.Process(report.process_id) for report in backend.replicas()]
    ports = [each.laddr.port for replica in replicas for each in replica.net_connections() if each.status == "LISTEN"]
    assert len(ports) >= len(replicas)
    refusals = []
    for port in ports:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=60)
        refusals.append(refused.value.code())
    assert set(refusals) <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED}, refusals
    assert refusals.count(grpc.StatusCode.UNAUTHENTICATED) >= len(replicas)


def test_steps_come_one_by_one_and_both_replicas_draw_the_same_picture(backend: RayBackend) -> None:
    def draw(slot: int) -> list[BatchEvent]:
        return list(backend.run(batch_of(REQUEST, 0, 1), slot))

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(draw, (0, 1))
    for events in (first, second):
        steps, done = events[:-1], events[-1]
        assert [(event.step, event.steps) for event in steps if isinstance(event, StepDone)] == [
            (number, 4) for number in (1, 2, 3, 4)
        ]
        assert isinstance(done, BatchDone)
        assert all(row.picture.startswith(b"\x89PNG") and row.compute_microseconds > 0 for row in done.rows)
    assert isinstance(first[-1], BatchDone)
    assert isinstance(second[-1], BatchDone)
    assert [row.picture for row in first[-1].rows] == [row.picture for row in second[-1].rows]
    assert first[-1].rows[0].picture != first[-1].rows[1].picture
    assert 1 <= backend.max_rows(REQUEST.batch_key) <= OPTIONS.max_batch_rows
    assert sorted(report.batches_done for report in backend.replicas()) == [1, 1]


def test_previews_and_trajectories_come_across(backend: RayBackend) -> None:
    row = replace(REQUEST.row(0), preview_every=2, records_trajectory=True)
    events = list(backend.run(Batch(REQUEST.batch_key, (row,)), 0))
    previews = [event.previews[0] for event in events if isinstance(event, StepDone) and event.previews]
    assert previews
    assert all(preview.startswith(b"\xff\xd8") for preview in previews)
    done = events[-1]
    assert isinstance(done, BatchDone)
    assert done.rows[0].trajectory is not None
    assert len(done.rows[0].trajectory) == 5


def test_closing_stops_the_work_between_two_steps(backend: RayBackend) -> None:
    events = backend.run(batch_of(replace(REQUEST, steps=100)), 0)
    assert next(events) == StepDone(1, 100)
    events.close()  # type: ignore[attr-defined]

    def has_stopped() -> bool:
        for slot in (0, 1):
            list(backend.run(batch_of(REQUEST), slot))
        return sum(report.batches_stopped for report in backend.replicas()) == 1

    until(has_stopped, "the stopped batch")


def test_errors_keep_their_types_and_reasons(backend: RayBackend) -> None:
    with pytest.raises(ModelUnavailable) as unavailable:
        list(backend.run(batch_of(replace(REQUEST, model="broken")), 0))
    assert unavailable.value.reason == "model_folder_missing"
    no_picture = replace(REQUEST.row(0), source_png=b"no picture at all")
    key = replace(REQUEST.batch_key, strength=0.5)
    with pytest.raises(GenerationFailed) as failed:
        list(backend.run(Batch(key, (no_picture,)), 0))
    assert failed.value.reason == "bad_source_image"
    assert "no picture" not in failed.value.message
    assert isinstance(list(backend.run(batch_of(REQUEST), 0))[-1], BatchDone)


def test_another_provider_can_use_the_cluster_by_its_address(backend: RayBackend) -> None:
    """It brings a replica of its own, and takes away nothing but that when it ends."""
    import ray

    script = """
import sys
from provider.engine.backends.ray import RayBackend
from provider.generation import Batch, BatchDone, ImageRequest, PipelineOptions

request = ImageRequest("a red circle on a blue background", steps=4, guidance=2.5, width=256, height=256, seed=7)
backend = RayBackend(PipelineOptions(device="cpu"), replicas=1, address=sys.argv[1], application="another")
backend.load()
*_, done = backend.run(Batch(request.batch_key, (request.row(0), request.row(1))), 0)
assert isinstance(done, BatchDone), done
backend.close()
"""
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-c", script, address], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert isinstance(list(backend.run(batch_of(REQUEST), 0))[-1], BatchDone)


def test_a_replica_is_killed_and_the_job_is_finished_by_the_other(
    engine_and_backend: tuple[Engine, RayBackend],
) -> None:
    engine, backend = engine_and_backend
    events: list[JobEvent] = []
    both_at_work = threading.Event()

    def on_event(event: JobEvent) -> None:
        events.append(event)
        if {picture for each in events if isinstance(each, StepReached) for picture in each.pictures} == {0, 1}:
            both_at_work.set()

    # Large and slow enough that neither picture is done when both have begun.
    request = replace(REQUEST, steps=100, width=512, height=512, count=2)
    job = engine.submit(request, caller="alice", on_event=on_event)
    assert both_at_work.wait(PATIENCE_S)
    victim = backend.replicas()[0].process_id
    os.kill(victim, signal.SIGKILL)
    finished = job.future.result(PATIENCE_S)
    assert len({row.picture for row in finished.pictures}) == 2
    assert [event.reason for event in events if isinstance(event, PicturesReturned)] == ["backend_lost"]

    def is_replaced() -> bool:
        list(backend.run(batch_of(REQUEST), 0))
        processes = {report.process_id for report in backend.replicas()}
        return victim not in processes and len(processes) == 2

    until(is_replaced, "a replica in the place of the killed one")
