"""`aitbc provider drain`: finishes what was accepted, takes nothing new, and waits for the end."""

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_where_nobody_runs_there_is_nothing_to_wait_for(folder: Path, run: Run) -> None:
    for data_dir in (folder / "data", folder / "nowhere"):
        ended = run("drain", "--data-dir", str(data_dir))
        assert (ended.returncode, "no provider runs" in ended.stderr) == (0, True)
    assert not (folder / "nowhere").exists()


def test_jobs_are_finished_and_no_new_ones_taken(
    folder: Path,
    run: Run,
    start: Callable[..., Any],
    arguments: Callable[..., list[str]],
    eventually: Callable[..., None],
) -> None:
    child = start(*arguments(cpu_threads=1))
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(child.generate(steps=100, width=512, height=512))

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    eventually(lambda: child.health()["queue"]["busy"])
    impatient = run("drain", "--data-dir", str(folder / "data"), "--timeout-s", "0")
    assert impatient.returncode == 1
    assert f"process {child.process_id}" in impatient.stderr
    refused = child.generate()
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    patient = run("drain", "--data-dir", str(folder / "data"))
    for client in clients:
        client.join()
    assert (patient.returncode, child.wait()) == (0, 0)
    assert patient.stderr.splitlines()[-1] in ("drained", f"no provider runs in {folder / 'data'}")
    assert [answer.status_code for answer in answers] == [200, 200]
    listed = json.loads(run("jobs", "--data-dir", str(folder / "data"), "--json").stdout)
    assert {item["state"] for item in listed["items"]} == {"done"}
