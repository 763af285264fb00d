"""Jobs over HTTP: found by whose they are, ended before time, their pictures fetched by key or by link."""

import base64
import hashlib
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from chain.primitives.hexadecimal import parse_hash
from chain.primitives.trajectory import Opening, TrajectoryContext, verify_opening
from provider.generation import OUTPUT_FORMATS

AssertProblem = Callable[..., None]
Eventually = Callable[..., None]


def as_other(running: Any, path: str) -> httpx.Response:
    answer: httpx.Response = running.get(path, headers={"Authorization": f"Bearer {running.other_secret}"})
    return answer


def begin_long_job(running: Any, eventually: Eventually) -> tuple[str, threading.Thread, list[httpx.Response]]:
    """A job that would take minutes, once it is at work; its request waits in a thread."""
    answers: list[httpx.Response] = []
    before = {item["job_id"] for item in running.mine("/v1/jobs").json()["items"]}

    def ask() -> None:
        answers.append(running.generate(steps=100, width=1024, height=1024, count=4))

    def started() -> list[str]:
        items = running.mine("/v1/jobs").json()["items"]
        return [item["job_id"] for item in items if item["job_id"] not in before and item["state"] == "running"]

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(started)
    return started()[0], thread, answers


def test_a_finished_job_and_its_answer(running: Any) -> None:
    made = running.generate(count=2, seed=9).json()
    job = running.mine(f"/v1/jobs/{made['job_id']}").json()
    assert (job["state"], job["count"], job["way_in"], job["reason"]) == ("done", 2, "plan", None)
    assert (job["receipt_hash"], job["gpu_seconds"]) == (made["receipt_hash"], made["gpu_seconds"])
    assert job["progress"] is None
    assert job["created_at_ms"] <= job["started_at_ms"] <= job["ended_at_ms"]
    assert running.mine(f"/v1/jobs/{made['job_id']}/answer").json() == made


def test_jobs_are_listed_newest_first_to_whose_they_are(running: Any, assert_problem: AssertProblem) -> None:
    made = [running.generate().json()["job_id"] for _ in range(3)]
    page = running.mine("/v1/jobs?limit=2").json()
    assert [item["job_id"] for item in page["items"]] == made[:0:-1]
    older = running.mine(f"/v1/jobs?limit=1&cursor={page['next_cursor']}").json()
    assert [item["job_id"] for item in older["items"]] == made[:1]
    assert made[0] not in as_other(running, "/v1/jobs?limit=200").text
    for path in ("", "/answer", "/artifacts/0", "/steps/0"):
        assert_problem(as_other(running, f"/v1/jobs/{made[0]}{path}"), 404, "not_found", "job_id")


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=-1", "cursor=x", "cursor=" + "9" * 40])
def test_bad_pages(running: Any, assert_problem: AssertProblem, query: str) -> None:
    assert_problem(running.mine(f"/v1/jobs?{query}"), 422, None, query.split("=", maxsplit=1)[0])


@pytest.mark.parametrize("job_id", ["2026-01-01-000001", "nothing", "%00", "x" * 65, "a%20b"])
def test_unknown_jobs(running: Any, job_id: str) -> None:
    for path in ("", "/answer", "/artifacts/0", "/steps/1"):
        assert running.mine(f"/v1/jobs/{job_id}{path}").status_code in (404, 422)
    assert running.mine(f"/v1/jobs/{job_id}", "DELETE").status_code in (404, 422)


def test_pictures_by_key_and_by_link(running: Any, assert_problem: AssertProblem) -> None:
    for output_format, media_type in OUTPUT_FORMATS.items():
        made = running.generate(count=2, output_format=output_format).json()
        path = f"/v1/jobs/{made['job_id']}/artifacts/1"
        expected = base64.b64decode(made["images"][1].split(",")[1])
        by_key = running.mine(path)
        assert (by_key.status_code, by_key.headers["content-type"], by_key.content) == (200, media_type, expected)
        link = running.mine(f"/v1/jobs/{made['job_id']}").json()["artifacts"][1]
        assert urlsplit(link).path == path
        assert httpx.get(link).content == expected
        assert running.get(path).status_code == 401
        for changed in (link.replace("artifacts/1", "artifacts/0"), link[:-1] + ("0" if link[-1] != "0" else "1")):
            assert_problem(httpx.get(changed), 403, "bad_link")
        assert httpx.get(link.split("&")[0]).status_code == 401
        assert httpx.get(link + "0").status_code == 422
        for index in ("2", "99999"):
            assert_problem(running.mine(f"/v1/jobs/{made['job_id']}/artifacts/{index}"), 404, "not_found", "index")
        for index in ("-1", "x", "9" * 30):
            assert running.mine(f"/v1/jobs/{made['job_id']}/artifacts/{index}").status_code == 422


@pytest.mark.parametrize(("method", "path"), [("POST", "/cancel"), ("DELETE", "")])
def test_a_running_job_is_ended(
    running: Any, eventually: Eventually, assert_problem: AssertProblem, method: str, path: str
) -> None:
    job_id, thread, answers = begin_long_job(running, eventually)
    progress = running.mine(f"/v1/jobs/{job_id}").json()["progress"]
    assert 0 <= progress["step"] <= progress["steps"]
    assert as_other(running, f"/v1/jobs/{job_id}").status_code == 404
    ended = running.mine(f"/v1/jobs/{job_id}{path}", method)
    assert (ended.status_code, ended.json()["state"], ended.json()["receipt_hash"]) == (200, "cancelled", None)
    thread.join(60)
    assert_problem(answers[0], 409, "generation_cancelled")
    assert_problem(running.mine(f"/v1/jobs/{job_id}{path}", method), 409, "job_not_under_way")
    assert_problem(running.mine(f"/v1/jobs/{job_id}/answer"), 404, "not_found")


def test_steps_are_opened_against_the_receipts_root(running: Any, assert_problem: AssertProblem) -> None:
    made = running.generate(count=2).json()
    root = parse_hash(made["receipt"]["trajectory_root"])
    for step, picture in ((0, 0), (5, 1)):
        opened = running.mine(f"/v1/jobs/{made['job_id']}/steps/{step}?picture={picture}").json()
        opening = Opening.from_object(opened["opening"])
        assert (opening.step, opening.picture) == (step, picture)
        assert hashlib.sha256(base64.b64decode(opened["latents"])).digest() == opening.latents_sha256
        assert verify_opening(root, TrajectoryContext.from_object(opened["context"]), opening)
        assert opened["profiles"] == made["profiles"]
    for query in ("steps/6", "steps/0?picture=2", "steps/-1", "steps/x", "steps/0?picture=-1", "steps/" + "9" * 30):
        answer = running.mine(f"/v1/jobs/{made['job_id']}/{query}")
        assert 400 <= answer.status_code < 500, answer.text
    ended = running.mine(f"/v1/jobs/{made['job_id']}", "DELETE")
    assert_problem(ended, 409, "job_not_under_way", "job_id")


def test_a_job_without_a_commitment_opens_no_step(start_provider: Callable[..., Any], assert_problem: Any) -> None:
    provider = start_provider(trajectory=False)
    made = provider.generate().json()
    assert "trajectory_root" not in made["receipt"]
    assert "profiles" not in made
    assert_problem(provider.mine(f"/v1/jobs/{made['job_id']}/steps/0"), 404, "not_found", "job_id")
