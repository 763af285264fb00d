"""One device at work with the real tiny model: what it draws, how it stops, what it says when something goes wrong."""

import io
import pickle
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
from PIL import Image

from provider.errors import GenerationFailed, ModelUnavailable, OutOfMemory
from provider.generation import EMBEDDED_MODEL, Batch, BatchDone, StepDone


def median_colour(image: Image.Image, box: tuple[int, int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (int(median(channel.tobytes())) for channel in image.crop(box).split())
    return red, green, blue


def close(left: tuple[int, int, int], right: tuple[int, int, int]) -> bool:
    return sum((a - b) ** 2 for a, b in zip(left, right, strict=True)) < 60**2


@pytest.mark.parametrize(
    ("prompt", "shape_colour", "background_colour"),
    [
        ("a red circle on a blue background", (220, 30, 30), (40, 70, 220)),
        ("a yellow square on a black background", (250, 215, 30), (15, 15, 15)),
    ],
)
def test_obeys_its_prompt(
    worker: Any,
    tools: Any,
    prompt: str,
    shape_colour: tuple[int, int, int],
    background_colour: tuple[int, int, int],
) -> None:
    key = tools.key(width=512, height=512, steps=30)
    run = tools.run(worker, key, tools.row(prompt=prompt, seed=3))
    image = Image.open(io.BytesIO(run.done.rows[0].picture)).convert("RGB")
    assert image.size == (512, 512)
    assert close(median_colour(image, (236, 236, 276, 276)), shape_colour)
    for left, top in ((0, 0), (472, 0), (0, 472), (472, 472)):
        assert close(median_colour(image, (left, top, left + 40, top + 40)), background_colour)


def test_same_seed_same_bytes_other_seed_other_bytes(worker: Any, tools: Any) -> None:
    def picture(seed: int) -> bytes:
        return bytes(tools.run(worker, tools.key(), tools.row(seed=seed)).done.rows[0].picture)

    first = picture(7)
    assert picture(7) == first
    assert picture(8) != first
    assert picture(2**63 - 1) != first


@pytest.mark.parametrize(("width", "height"), [(256, 256), (264, 312), (520, 256)])
def test_size_as_asked_also_between_the_models_own_steps(worker: Any, tools: Any, width: int, height: int) -> None:
    run = tools.run(worker, tools.key(width=width, height=height), tools.row())
    assert run.picture().shape == (height, width, 3)


def test_time_is_measured_and_shared_out(worker: Any, tools: Any) -> None:
    short = tools.run(worker, tools.key(), tools.row()).done.rows[0].compute_microseconds
    long = tools.run(worker, tools.key(steps=40), tools.row()).done.rows[0].compute_microseconds
    assert 0 < short < long
    both = tools.run(worker, tools.key(), tools.row(), tools.row(seed=8)).done.rows
    assert both[0].compute_microseconds == both[1].compute_microseconds > 0


def test_says_where_it_runs_and_how_to_run_it_again(worker: Any, tools: Any) -> None:
    assert (worker.device.kind, worker.device.vram_mib, worker.vram_used_mib()) == ("cpu", 0, 0)
    assert worker.device.name.strip() == worker.device.name != ""
    done = tools.run(worker, tools.key(scheduler="euler"), tools.row(), tools.row(seed=8)).done
    assert done.device == worker.device
    profile = done.profile
    assert (profile.scheduler, profile.dtype, profile.device_class) == ("EulerDiscreteScheduler", "float32", "cpu")
    assert profile.batch_rows == 2
    assert set(profile.versions) == {"torch", "diffusers", "transformers"}
    assert profile == worker.profile(tools.key(scheduler="euler"), batch_rows=2)


def test_closed_between_two_steps_it_computes_no_further(new_worker: Callable[..., Any], tools: Any) -> None:
    worker = new_worker()
    worker.load()
    calls: list[int] = []
    model = worker._switch_to(EMBEDDED_MODEL)
    model.pipeline.unet.register_forward_hook(lambda *_ignored: calls.append(1))
    running = worker.run(Batch(tools.key(steps=50), (tools.row(),)))
    assert [next(running).step for _ in range(3)] == [1, 2, 3]
    running.close()
    assert len(calls) == 3
    assert tools.run(worker, tools.key(), tools.row()).steps[-1].step == 5


def test_what_it_says_can_travel_between_processes(worker: Any, tools: Any) -> None:
    row = tools.row(records_trajectory=True, preview_every=2)
    run = tools.run(worker, tools.key(), row)
    assert pickle.loads(pickle.dumps((run.steps, run.done))) == (run.steps, run.done)


def test_previews_only_for_rows_that_asked_and_when_they_asked(worker: Any, tools: Any) -> None:
    rows = [tools.row(preview_every=2), tools.row(seed=8), tools.row(seed=9, preview_every=5)]
    run = tools.run(worker, tools.key(), *rows)
    assert [sorted(event.previews) for event in run.steps] == [[], [0], [], [0], [2]]
    # Asking for one changes nothing in the picture.
    assert (
        run.done.rows[0].picture
        == tools.run(worker, tools.key(), *(tools.row(seed=s) for s in (7, 8, 9))).done.rows[0].picture
    )


def test_trajectories_only_for_rows_that_asked(worker: Any, tools: Any) -> None:
    run = tools.run(worker, tools.key(), tools.row(), tools.row(records_trajectory=True))
    assert run.done.rows[0].trajectory is None
    channels, height, width = run.done.profile.latent_shape
    assert [len(latents) for latents in run.trajectory(1)] == [channels * height * width * 4] * 6


def test_a_fault_of_the_library_is_the_batchs_failure(worker: Any, tools: Any) -> None:
    with pytest.raises(GenerationFailed, match="the pipeline failed"):
        tools.run(worker, tools.key(width=-32), tools.row())
    with pytest.raises(GenerationFailed, match="no scheduler") as caught:
        tools.run(worker, tools.key(scheduler="none"), tools.row())
    assert caught.value.reason == "unknown_scheduler"
    with pytest.raises(GenerationFailed, match="without rows"):
        tools.run(worker, tools.key())


def test_a_picture_for_which_there_is_no_memory(worker: Any, tools: Any) -> None:
    # Latents of more bytes than a process can address: the allocator refuses at once, whatever the machine has.
    with pytest.raises(OutOfMemory) as caught:
        tools.run(worker, tools.key(width=2**27, height=2**27), tools.row(prompt="swordfish"))
    assert "swordfish" not in caught.value.message
    assert tools.run(worker, tools.key(), tools.row()).steps


def test_values_that_are_no_numbers_are_no_picture(worker: Any, tools: Any) -> None:
    with pytest.raises(GenerationFailed) as caught:
        tools.run(worker, tools.key(scheduler="euler"), tools.row(guidance=3e38))
    assert caught.value.reason == "not_a_number"


def test_a_model_that_nobody_serves(worker: Any, tools: Any) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        tools.run(worker, tools.key(model="other"), tools.row())
    assert caught.value.reason == "unknown_model"


def test_long_prompts_leave_no_trace(worker: Any, tools: Any, capfd: pytest.CaptureFixture[str]) -> None:
    secret_word = "swordfish"
    row = tools.row(prompt=f"a red circle {'and so on ' * 40} {secret_word}", preview_every=5)
    run = tools.run(worker, tools.key(), row)
    captured = capfd.readouterr()
    assert secret_word not in captured.out + captured.err
    for said in (run.done.rows[0].picture, run.steps[-1].previews[0], repr(run.done.profile).encode()):
        assert secret_word.encode() not in said


def test_models_are_switched_to_when_a_batch_asks(
    new_worker: Callable[..., Any], small_sd_folder: Any, tools: Any
) -> None:
    worker = new_worker(models={EMBEDDED_MODEL: EMBEDDED_MODEL, "small": str(small_sd_folder)})
    worker.load()
    assert [(report.name, report.is_loaded) for report in worker.models()] == [(EMBEDDED_MODEL, True), ("small", False)]
    first = tools.run(worker, tools.key(), tools.row()).done.rows[0].picture
    assert tools.run(worker, tools.key(model="small"), tools.row()).done.rows[0].picture != first
    assert all(report.is_loaded for report in worker.models())
    assert tools.run(worker, tools.key(), tools.row()).done.rows[0].picture == first
    worker.close()
    assert not any(report.is_loaded for report in worker.models())


def test_preloaded_models_are_loaded_at_start(new_worker: Callable[..., Any], small_sd_folder: Any) -> None:
    models = {EMBEDDED_MODEL: EMBEDDED_MODEL, "small": str(small_sd_folder)}
    worker = new_worker(models=models, preload=("small",))
    worker.load()
    assert all(report.is_loaded for report in worker.models())


def test_a_model_that_makes_no_picture_is_refused_at_once(new_worker: Callable[..., Any], copied_model: Any) -> None:
    from safetensors.torch import load_file, save_file

    path = copied_model / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["decoder.conv_out.bias"].fill_(float("inf"))
    save_file(tensors, path, metadata={"format": "pt"})
    worker = new_worker(models={"broken": str(copied_model)})
    with pytest.raises(ModelUnavailable, match="cannot make a picture") as caught:
        worker.load()
    assert caught.value.reason == "self_test_failed"
    assert not worker.models()[0].is_loaded


def test_rows_are_bound_by_the_operator_and_by_memory(worker: Any, new_worker: Callable[..., Any], tools: Any) -> None:
    assert worker.max_rows(tools.key()) == 8
    assert worker.max_rows(tools.key(model="not loaded yet")) == 8
    assert worker.max_rows(tools.key(width=2**20, height=2**20)) == 1
    assert new_worker(max_batch_rows=0).max_rows(tools.key()) == 1


def test_steps_come_as_they_are_done(worker: Any, tools: Any) -> None:
    running = worker.run(Batch(tools.key(), (tools.row(),)))
    events = list(running)
    assert [type(event) for event in events] == [StepDone] * 5 + [BatchDone]
    assert [(event.step, event.steps) for event in events[:-1]] == [(step, 5) for step in range(1, 6)]


@pytest.mark.gpu
def test_on_a_gpu(new_worker: Callable[..., Any], tools: Any) -> None:
    worker = new_worker(device="cuda")
    worker.load()
    assert worker.device.kind == "cuda"
    assert worker.device.vram_mib > 0
    first = tools.run(worker, tools.key(), tools.row())
    assert first.done.rows[0].compute_microseconds > 0
    assert tools.run(worker, tools.key(), tools.row()).done.rows[0].picture == first.done.rows[0].picture
    half = new_worker(device="cuda", precision="float16")
    half.load()
    assert tools.run(half, tools.key(), tools.row()).picture().shape == (256, 256, 3)
    assert worker.vram_used_mib() > 0


@pytest.mark.gpu
@pytest.mark.parametrize(
    "ways", [{"uses_compile": True}, {"uses_cuda_graphs": True}, {"uses_compile": True, "uses_cuda_graphs": True}]
)
def test_on_a_gpu_compiled_and_captured(new_worker: Callable[..., Any], tools: Any, ways: dict[str, bool]) -> None:
    plain = new_worker(device="cuda")
    fast = new_worker(device="cuda", max_batch_rows=2, warm_shapes=((256, 256),), **ways)
    rows = [tools.row(), tools.row(seed=8), tools.row(seed=9)]
    for count in (1, 2, 3):
        expected = tools.run(plain, tools.key(), *rows[:count])
        found = tools.run(fast, tools.key(), *rows[:count])
        for index in range(count):
            assert abs(expected.picture(index) - found.picture(index)).max() <= 3


@pytest.mark.gpu
def test_on_a_gpu_out_of_memory_leaves_room_for_the_next(new_worker: Callable[..., Any], tools: Any) -> None:
    worker = new_worker(device="cuda")
    worker.load()
    used_before = worker.vram_used_mib()
    with pytest.raises(OutOfMemory):
        tools.run(worker, tools.key(width=2**19, height=2**19), tools.row())
    assert worker.vram_used_mib() <= used_before + 64
    assert tools.run(worker, tools.key(), tools.row()).steps
