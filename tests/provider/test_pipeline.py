"""The real tiny pipeline: obeys its prompt, repeats itself for a seed, keeps to the size, says what is wrong."""

import io
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from PIL import Image

from provider.errors import GenerationCancelled, GenerationFailed, ModelUnavailable
from provider.generation import EMBEDDED_MODEL_FOLDER, ImageRequest, PipelineOptions

QUICK = ImageRequest("a red circle on a blue background", steps=5, guidance=2.5, width=256, height=256, seed=7)


def never() -> None:
    """Does not stop the job."""


def picture(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image.convert("RGB")


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
    pipeline: Any,
    prompt: str,
    shape_colour: tuple[int, int, int],
    background_colour: tuple[int, int, int],
) -> None:
    request = ImageRequest(prompt, steps=30, guidance=2.5, width=512, height=512, seed=3)
    image = picture(pipeline.generate(request, never).png)
    assert image.size == (512, 512)
    assert close(median_colour(image, (236, 236, 276, 276)), shape_colour)
    for left, top in ((0, 0), (472, 0), (0, 472), (472, 472)):
        assert close(median_colour(image, (left, top, left + 40, top + 40)), background_colour)


def test_same_seed_same_bytes_other_seed_other_bytes(pipeline: Any) -> None:
    first = pipeline.generate(QUICK, never)
    assert pipeline.generate(QUICK, never).png == first.png
    assert pipeline.generate(replace(QUICK, seed=8), never).png != first.png
    assert pipeline.generate(replace(QUICK, seed=2**63 - 1), never).png != first.png


@pytest.mark.parametrize(("width", "height"), [(256, 256), (264, 312), (520, 256)])
def test_size_as_asked_also_between_the_models_own_steps(pipeline: Any, width: int, height: int) -> None:
    assert picture(pipeline.generate(replace(QUICK, width=width, height=height), never).png).size == (width, height)


def test_measures_the_time_that_it_took(pipeline: Any) -> None:
    short = pipeline.generate(QUICK, never).compute_microseconds
    long = pipeline.generate(replace(QUICK, steps=40), never).compute_microseconds
    assert 0 < short < long


def test_says_where_it_runs(pipeline: Any) -> None:
    assert pipeline.device.kind == "cpu"
    assert pipeline.device.vram_mib == 0
    assert pipeline.device.name.strip() == pipeline.device.name != ""


def test_stops_between_two_steps_and_works_on(pipeline: Any) -> None:
    calls = 0

    def stop_at_third_step() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise GenerationCancelled("enough")

    with pytest.raises(GenerationCancelled):
        pipeline.generate(replace(QUICK, steps=50), stop_at_third_step)
    assert calls == 3
    assert pipeline.generate(QUICK, never).png.startswith(b"\x89PNG")


def test_a_fault_of_the_library_is_the_jobs_failure(pipeline: Any) -> None:
    with pytest.raises(GenerationFailed, match="the pipeline failed"):
        pipeline.generate(replace(QUICK, width=-32), never)


def test_long_prompts_leave_no_trace_in_the_output(pipeline: Any, capfd: pytest.CaptureFixture[str]) -> None:
    secret_word = "swordfish"
    pipeline.generate(replace(QUICK, prompt=f"a red circle {'and so on ' * 40} {secret_word}"), never)
    captured = capfd.readouterr()
    assert secret_word not in captured.out + captured.err


def load_error(model: str, **options: Any) -> ModelUnavailable:
    from provider.pipeline import load_pipeline

    with pytest.raises(ModelUnavailable) as caught:
        load_pipeline(PipelineOptions(model=model, **options))
    return caught.value


def test_missing_folder_is_named(tmp_path: Path) -> None:
    error = load_error(str(tmp_path / "nowhere"))
    assert error.reason == "model_folder_missing"
    assert "nowhere" in error.message


def test_folder_that_is_no_pipeline(tmp_path: Path) -> None:
    assert load_error(str(tmp_path)).reason == "model_folder_incomplete"
    (tmp_path / "model_index.json").write_text("{}")
    assert load_error(str(tmp_path)).reason == "model_folder_incomplete"


def test_pipeline_with_a_missing_part(tmp_path: Path) -> None:
    for source in EMBEDDED_MODEL_FOLDER.rglob("*"):
        if source.is_file() and "unet" not in source.parts:
            target = tmp_path / source.relative_to(EMBEDDED_MODEL_FOLDER)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    assert load_error(str(tmp_path)).reason == "model_folder_incomplete"


def test_unreachable_model_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    # Nobody listens on port 9, and nothing is in the cache.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    error = load_error("runwayml/stable-diffusion-v1-5")
    assert error.reason == "model_hub_unreachable"
    assert "--model" in error.message


def test_no_such_device() -> None:
    import torch

    from provider.pipeline import load_pipeline

    if torch.cuda.is_available():
        assert load_pipeline(PipelineOptions(device="cuda")).device.kind == "cuda"
    else:
        assert load_error("aitbc/tiny-sd", device="cuda").reason == "no_such_device"


@pytest.mark.gpu
def test_on_a_gpu_the_time_is_measured_by_the_gpu() -> None:
    from provider.pipeline import load_pipeline

    on_gpu = load_pipeline(PipelineOptions(device="cuda"))
    assert on_gpu.device.kind == "cuda"
    assert on_gpu.device.vram_mib > 0
    first = on_gpu.generate(QUICK, never)
    assert first.compute_microseconds > 0
    assert on_gpu.generate(QUICK, never).png == first.png
    half = load_pipeline(PipelineOptions(device="cuda", precision="float16"))
    assert picture(half.generate(QUICK, never).png).size == (256, 256)
