"""`aitbc provider models`: what would be served, and whether it can be."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provider.generation import EMBEDDED_MODEL_FOLDER

Invoke = Callable[..., tuple[int, str, str]]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_embedded_model_is_whole(invoke: Invoke) -> None:
    exit_code, stdout, _ = invoke("models", "--json")
    (model,) = json.loads(stdout)["models"]
    assert exit_code == 0
    assert (model["name"], model["state"], model["loaded"]) == ("aitbc/tiny-sd", "embedded", None)
    assert 1 < model["size_mib"] < 100


def test_what_is_missing_is_named(working_folder: Path, invoke: Invoke) -> None:
    whole = working_folder / "whole"
    shutil.copytree(EMBEDDED_MODEL_FOLDER, whole)
    (working_folder / "empty").mkdir()
    for name, damage in (
        ("no-unet", lambda folder: shutil.rmtree(folder / "unet")),
        ("no-weights", lambda folder: [path.unlink() for path in (folder / "vae").glob("*.safetensors")]),
        ("bad-index", lambda folder: (folder / "model_index.json").write_text("[]")),
    ):
        shutil.copytree(whole, working_folder / name)
        damage(working_folder / name)
    names = ["whole", "empty", "no-unet", "no-weights", "bad-index", "./gone", "someone/model"]
    words = [word for name in names for word in ("--model", f"{name.strip('./')}={name}")]
    exit_code, stdout, _ = invoke("models", *words, "--price", "whole=5", "--json")
    states = {model["name"]: model["state"] for model in json.loads(stdout)["models"]}
    assert exit_code == 1
    assert states == {
        "whole": "folder",
        "empty": "folder without a readable model_index.json",
        "no-unet": "folder without unet",
        "no-weights": "folder without vae/*.safetensors",
        "bad-index": "folder without a readable model_index.json",
        "gone": "folder missing",
        "someone/model": "from the model hub, when first needed",
    }
    assert json.loads(stdout)["models"][0]["price_per_unit"] == "5"


def test_a_running_provider_says_what_is_loaded(running: Any, run: Run) -> None:
    for words in ([], ["--data-dir", str(running.settings.data_dir)]):
        ended = run("models", "--url", running.url, *words, "--json")
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["models"][0]["loaded"] is True
    table = run("models", "--url", running.url).stdout.splitlines()
    assert table[0].split()[:3] == ["name", "source", "state"]
    assert " yes " in table[1]
    assert run("models", "--url", "http://127.0.0.1:9").returncode == 1
