"""Models from folders and the hub: what is refused, and whether the message says why."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from provider.errors import ModelUnavailable
from provider.generation import EMBEDDED_MODEL, EMBEDDED_MODEL_FOLDER


@pytest.fixture
def load_error(new_worker: Callable[..., Any]) -> Callable[..., ModelUnavailable]:
    """Loads a model that cannot be loaded."""

    def load(source: object, **options: Any) -> ModelUnavailable:
        with pytest.raises(ModelUnavailable) as caught:
            new_worker(models={"model": str(source)}, **options).load()
        return caught.value

    return load


LoadError = Callable[..., ModelUnavailable]


def test_a_missing_folder_is_named(tmp_path: Path, load_error: LoadError) -> None:
    error = load_error(tmp_path / "nowhere")
    assert error.reason == "model_folder_missing"
    assert "nowhere" in error.message
    assert load_error("./nowhere").reason == "model_folder_missing"
    assert load_error("not an id").reason == "model_folder_missing"


@pytest.mark.parametrize("index", [None, "{}", "[]", "{", '{"_class_name": ["their", "Code"]}', "\xff"])
def test_a_folder_that_is_no_pipeline(tmp_path: Path, load_error: LoadError, index: str | None) -> None:
    if index is not None:
        (tmp_path / "model_index.json").write_bytes(index.encode("latin-1"))
    assert load_error(tmp_path).reason == "model_folder_incomplete"


@pytest.mark.parametrize(
    "missing",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "unet/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    ],
)
def test_a_folder_with_a_missing_file(copied_model: Path, load_error: LoadError, missing: str) -> None:
    (copied_model / missing).unlink()
    error = load_error(copied_model)
    assert (error.reason, str(copied_model) in error.message) == ("model_folder_incomplete", True)


@pytest.mark.parametrize("kept_bytes", [0, 4, 1000, 100_000])
def test_a_weight_file_that_is_cut_off(copied_model: Path, load_error: LoadError, kept_bytes: int) -> None:
    path = copied_model / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:kept_bytes])
    assert load_error(copied_model).reason == "model_folder_incomplete"


def test_pickles_are_never_read(copied_model: Path, load_error: LoadError) -> None:
    path = copied_model / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_name("diffusion_pytorch_model.bin"))
    error = load_error(copied_model)
    assert error.reason == "model_not_supported"
    assert "pickle" in error.message


@pytest.mark.parametrize("class_name", ["StableDiffusionXLPipeline", "FluxPipeline"])
def test_other_pipelines_are_refused_by_name(copied_model: Path, load_error: LoadError, class_name: str) -> None:
    _change_json(copied_model / "model_index.json", _class_name=class_name)
    error = load_error(copied_model)
    assert error.reason == "model_not_supported"
    assert class_name in error.message


def test_a_unet_with_other_inputs_is_refused(small_sd_folder: Path, tmp_path: Path, load_error: LoadError) -> None:
    folder = tmp_path / "inpainting"
    shutil.copytree(small_sd_folder, folder)
    config = dict(UNet2DConditionModel.load_config(folder / "unet")) | {"in_channels": 9}
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    error = load_error(folder)
    assert error.reason == "model_not_supported"
    assert "channels" in error.message


def test_a_folder_is_loaded_without_the_network(
    monkeypatch: pytest.MonkeyPatch, new_worker: Callable[..., Any]
) -> None:
    def refuse(*_ignored: Any) -> None:
        raise AssertionError("a local folder needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    new_worker(models={"local": str(EMBEDDED_MODEL_FOLDER)}).load()


def test_no_such_device(load_error: LoadError) -> None:
    if not torch.cuda.is_available():
        assert load_error(EMBEDDED_MODEL, device="cuda").reason == "no_such_device"


def test_half_precision_where_it_is_asked_for(new_worker: Callable[..., Any], tools: Any) -> None:
    half = new_worker(precision="bfloat16")
    run = tools.run(half, tools.key(), tools.row(records_trajectory=True))
    assert run.done.profile.dtype == "bfloat16"
    channels, height, width = run.done.profile.latent_shape
    assert len(run.trajectory()[0]) == 2 * channels * height * width


def _change_json(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
