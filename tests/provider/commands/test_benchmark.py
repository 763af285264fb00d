"""`aitbc provider benchmark`: real numbers of the real pipeline, within the time that it was given."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest


def test_the_embedded_model_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--seconds", "3", "--size", "256x256", "--steps", "5", "--max-batch-rows", "2", "--cpu-threads", "1"]
    exit_code, stdout, _ = invoke("benchmark", *words, "--json")
    assert exit_code == 0
    measured = json.loads(stdout)
    assert (measured["model"], measured["width"], measured["steps"]) == ("aitbc/tiny-sd", 256, 5)
    assert [batch["rows"] for batch in measured["batches"]][:1] == [1]
    for batch in measured["batches"]:
        seconds = batch["rows"] * batch["batches"] / batch["pictures_per_second"]
        assert batch["latency_worst_s"] >= batch["latency_median_s"] > 0
        assert seconds >= batch["latency_worst_s"] * 0.99
    assert list(tmp_path.iterdir()) == []
