"""`aitbc provider drain`: finishes what was accepted, takes nothing new, and waits for the end."""

import asyncio
import json
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain.primitives.keys import PrivateKey
from tests.hub.workers.rig import RunningHub, grant_to, serving, until

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


# Hubs


async def joined_and_brought(
    hub: RunningHub, key: PrivateKey, start: Callable[..., Any], arguments: Callable[..., list[str]]
) -> Any:
    """A provider whose one result a hub has taken, and looks at."""
    hub.desk.open_checks = 1
    words = arguments(hub=hub.url, cpu_threads=1, api_keys_file=None)
    child = await asyncio.to_thread(start, *words)
    await until(lambda: hub.workers.count)
    grant = grant_to(1, unit_type="gpu_seconds", price_per_unit=str(10**17))
    hub.desk.waiting.append(replace(grant, provider=key.address))
    await until(lambda: hub.desk.deliveries)
    return child


async def test_it_stays_until_hubs_have_concluded_what_they_were_brought(
    folder: Path, tmp_path: Path, provider_key: PrivateKey, run: Run, start: Any, arguments: Any
) -> None:
    """Nothing is under way any more, but a hub still looks at it: gone now, it would have failed the check."""
    async with serving(tmp_path / "hub") as hub:
        child = await joined_and_brought(hub, provider_key, start, arguments)
        words = ("drain", "--data-dir", str(folder / "data"))
        impatient = await asyncio.to_thread(run, *words, "--timeout-s", "0")
        assert impatient.returncode == 1
        await until(lambda: hub.desk.questions)
        shown = await asyncio.to_thread(child.health)
        assert (shown["status"], shown["hubs"][0]["outstanding"]["checks"]) == ("draining", 1)
        status = await asyncio.to_thread(
            run, "status", "--data-dir", str(folder / "data"), "--url", child.url(), "--json"
        )
        assert json.loads(status.stdout)["process"]["hubs"][0]["outstanding"]["checks"] == 1
        waiting = asyncio.create_task(asyncio.to_thread(run, *words))
        asked = hub.desk.questions
        await until(lambda: hub.desk.questions > asked)
        assert hub.workers.count == 1
        hub.desk.open_checks = 0
        ended = await waiting
        assert (ended.returncode, await asyncio.to_thread(child.wait)) == (0, 0)
        assert "0 running, 0 queued; open at hubs: main-hub: 1 check" in ended.stderr
        assert ended.stderr.splitlines()[-1] == "drained"
        told = [line["waits_for"] for line in child.lines() if line["event"] == "waiting_for_hubs"]
        assert told[-2:] == [["main-hub: 1 check"], []]  # Each once, however often it asked.


@pytest.mark.parametrize("way", ["its time is over", "a second Ctrl-C"])
async def test_it_does_not_wait_for_ever_and_does_not_call_that_drained(
    folder: Path, tmp_path: Path, provider_key: PrivateKey, run: Run, start: Any, arguments: Any, way: str
) -> None:
    bound_s = 1 if way == "its time is over" else 3_600
    (folder / ".env").write_text(f"AITBC_PROVIDER_DRAIN_HUBS_TIMEOUT_S={bound_s}\n")
    async with serving(tmp_path / "hub") as hub:
        child = await joined_and_brought(hub, provider_key, start, arguments)
        waiting = asyncio.create_task(asyncio.to_thread(run, "drain", "--data-dir", str(folder / "data")))
        await until(lambda: hub.desk.questions)

        def is_hurried() -> bool:
            """Again and again, as one within a second of the first counts as the same wish."""
            if not any(line["event"] == "left_before_hubs_concluded" for line in child.lines()):
                child.send_signal(signal.SIGINT)
                return False
            return True

        if way == "a second Ctrl-C":
            await until(is_hurried)
        ended = await waiting
        assert await asyncio.to_thread(child.wait) == 0
    assert ended.returncode == 0
    assert ended.stderr.splitlines()[-1] == "ended before its hubs had concluded: main-hub: 1 check"
