"""`aitbc provider run --backend ray` as an operator runs it: a picture, a SIGTERM at work, and nothing left behind."""

import signal
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

PATIENCE_S = 300.0
"""Far more than any of this takes; a test that runs into it has failed."""

pytestmark = pytest.mark.timeout(900)


def until(condition: Callable[[], Any], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} did not come true"
        time.sleep(0.2)


def test_a_picture_by_a_replica_and_one_that_is_finished_after_a_sigterm(
    start: Callable[..., Any], run: Callable[..., Any], arguments: Callable[..., list[str]], folder: Path
) -> None:
    """Ray's own handler of SIGTERM would abort the process three seconds after it, in the middle of the work."""
    provider = start(*arguments(backend="ray", ray_replicas=1))
    family = psutil.Process(provider.process_id).children(recursive=True)
    assert any(process.name().startswith("ray::ServeReplica") for process in family)
    words = " ".join(argument for process in family for argument in process.cmdline())
    (ray_folder,) = (each for each in Path(tempfile.gettempdir()).glob("aitbc-ray-*") if str(each) in words)

    (folder / "secret").write_text("client-secret-0123456789\n")
    (folder / "secret").chmod(0o600)
    quick = ("--steps", "5", "--size", "256x256", "--url", provider.url(), "--api-key-file", str(folder / "secret"))
    made = run("generate", "a red circle", "-o", str(folder / "quick.png"), *quick)
    assert made.returncode == 0, made.stderr
    assert (folder / "quick.png").read_bytes().startswith(b"\x89PNG")

    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(provider.generate, steps=100, width=512, height=512)
        until(lambda: provider.health()["queue"]["busy"], "the batch")
        provider.send_signal(signal.SIGTERM)
        answer: httpx.Response = slow.result()
    assert answer.status_code == 200, answer.text
    assert provider.wait() == 0
    assert "SIGTERM received" not in provider.log_text()
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert alive == []
    assert not ray_folder.exists()
