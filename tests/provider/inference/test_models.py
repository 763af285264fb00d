"""Least recently used models give way; what is loaded is known at any time."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from provider.errors import ModelUnavailable
from provider.generation import EMBEDDED_MODEL, EMBEDDED_MODEL_FOLDER, PipelineOptions
from provider.inference.devices import find_devices
from provider.inference.models import ModelShelf
from provider.inference.weights import estimate_bytes


@pytest.fixture
def three_models(tmp_path: Path) -> dict[str, str]:
    """Three models of the same size."""
    for name in ("a", "b", "c"):
        shutil.copytree(EMBEDDED_MODEL_FOLDER, tmp_path / name)
    return {name: str(tmp_path / name) for name in ("a", "b", "c")}


def shelf_for(models: dict[str, str], limit_mib: int) -> ModelShelf:
    options = PipelineOptions(models=models, device="cpu", cpu_threads=1, vram_limit_mib=limit_mib)
    return ModelShelf(options, find_devices(options)[0])


def loaded(shelf: ModelShelf) -> list[str]:
    return [report.name for report in shelf.reports() if report.is_loaded]


def model_mib() -> int:
    return -(-estimate_bytes(EMBEDDED_MODEL_FOLDER, 4) // 2**20)


def test_the_least_recently_used_gives_way(three_models: dict[str, str]) -> None:
    shelf = shelf_for(three_models, 2 * model_mib())
    first = shelf.get("a")
    shelf.get("b")
    assert shelf.get("a") is first
    shelf.get("c")
    assert loaded(shelf) == ["a", "c"]
    assert shelf.find_loaded("b") is None
    shelf.get("b")
    assert loaded(shelf) == ["b", "c"]
    assert shelf.get("a") is not first


def test_looking_is_no_use(three_models: dict[str, str]) -> None:
    shelf = shelf_for(three_models, 2 * model_mib())
    shelf.get("a")
    shelf.get("b")
    assert shelf.find_loaded("a") is not None
    shelf.get("c")
    assert loaded(shelf) == ["b", "c"]


def test_a_model_that_fails_to_load_costs_no_other_its_place(three_models: dict[str, str]) -> None:
    shelf = shelf_for(three_models, model_mib())
    shelf.get("a")
    (Path(three_models["b"]) / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    with pytest.raises(ModelUnavailable):
        shelf.get("b")
    assert loaded(shelf) == ["a"]


def test_a_model_larger_than_the_bound_is_refused(three_models: dict[str, str]) -> None:
    shelf = shelf_for(three_models, 1)
    with pytest.raises(ModelUnavailable) as caught:
        shelf.get("a")
    assert caught.value.reason == "model_too_large"
    assert loaded(shelf) == []


def test_on_a_cpu_half_of_the_memory_is_the_bound(three_models: dict[str, str]) -> None:
    shelf = shelf_for(three_models, 0)
    for name in three_models:
        shelf.get(name)
    assert loaded(shelf) == ["a", "b", "c"]
    shelf.drop("b")
    assert loaded(shelf) == ["a", "c"]
    shelf.drop_all()
    assert loaded(shelf) == []


def test_reports_name_every_model_in_the_operators_order(three_models: dict[str, str]) -> None:
    models = {"z": three_models["c"], EMBEDDED_MODEL: EMBEDDED_MODEL}
    reports = shelf_for(models, 0).reports()
    assert [(report.name, report.is_loaded, report.vram_mib) for report in reports] == [
        ("z", False, 0),
        (EMBEDDED_MODEL, False, 0),
    ]


def test_parts_of_a_dropped_model_are_freed(three_models: dict[str, str]) -> None:
    import weakref

    shelf = shelf_for(three_models, 0)
    unet: Any = weakref.ref(shelf.get("a").pipeline.unet)
    assert unet() is not None
    shelf.drop("a")
    assert unet() is None
