"""One order, one picture, one receipt: repeated, concurrent, abandoned and refused orders on a running provider."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

StartProvider = Callable[..., Any]
Eventually = Callable[..., None]
LONG = {"steps": 100, "width": 1024, "height": 1024}


def named(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def assert_refused(answer: httpx.Response, status: int, reason: str) -> None:
    assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text


def receipt_hashes(provider: Any) -> list[str]:
    return [item["receipt_hash"] for item in provider.mine("/v1/receipts?limit=200").json()["items"]]


def hang_up(provider: Any, **options: Any) -> None:
    """Asks for a picture that takes long, and goes away."""
    body = {"api_key": provider.client_secret, "prompt": "a red circle", **LONG, **options.pop("fields", {})}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(provider.url + "/v1/generate-image", json=body, timeout=1.5, **options)


# The same order again


def test_the_same_key_and_body_get_the_same_answer_once(running: Any) -> None:
    first = running.generate(headers=named("one"), count=2)
    again = running.generate(headers=named("one"), count=2)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert running.generate(headers=named("two"), count=2).json()["job_id"] != first.json()["job_id"]


def test_the_same_key_with_another_body_is_a_conflict(running: Any) -> None:
    assert running.generate(headers=named("three"), seed=1).status_code == 200
    assert_refused(running.generate(headers=named("three"), seed=2), 409, "idempotency_mismatch")
    assert_refused(running.generate(headers=named("three")), 409, "idempotency_mismatch")


def test_keys_of_two_callers_are_two_keys(running: Any) -> None:
    mine = running.generate(headers=named("shared"), seed=1)
    theirs = running.generate(headers=named("shared"), seed=2, api_key=running.other_secret)
    assert (mine.status_code, theirs.status_code) == (200, 200)
    assert mine.json()["job_id"] != theirs.json()["job_id"]


def test_repeats_that_come_at_once_share_one_job(running: Any) -> None:
    before = len(receipt_hashes(running))
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: running.generate(headers=named("six"), steps=40), range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["receipt_hash"] for answer in answers}) == 1
    assert len(receipt_hashes(running)) == before + 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_bad_idempotency_keys(running: Any, key: str) -> None:
    answer = running.generate(headers={"Idempotency-Key": key.encode()})
    assert answer.status_code == 422
    assert answer.json()["field"] == "Idempotency-Key"


def test_an_answer_outlives_a_restart(start_provider: StartProvider) -> None:
    first_run = start_provider()
    answers = [first_run.generate(headers=named("kept"), count=2, output_format="webp").json()]
    first_run.stop()
    second_run = start_provider(data_dir=first_run.settings.data_dir)
    again = [second_run.generate(headers=named("kept"), count=2, output_format="webp").json()]
    assert again == answers
    link = second_run.mine(f"/v1/jobs/{answers[0]['job_id']}").json()["artifacts"][1]
    assert httpx.get(link).headers["content-type"] == "image/webp"


def test_a_picture_that_is_no_longer_kept_is_gone(start_provider: StartProvider) -> None:
    provider = start_provider(artifact_keep_count=0)
    made = provider.generate(headers=named("gone")).json()
    assert_refused(provider.generate(headers=named("gone")), 410, "artifact_gone")
    assert_refused(provider.mine(f"/v1/jobs/{made['job_id']}/artifacts/0"), 410, "artifact_gone")
    assert_refused(provider.mine(f"/v1/jobs/{made['job_id']}/answer"), 410, "artifact_gone")
    assert len(receipt_hashes(provider)) == 1


# Clients that go away


def test_a_client_that_hangs_up_ends_its_job(start_provider: StartProvider, eventually: Eventually) -> None:
    provider = start_provider()
    hang_up(provider)
    eventually(lambda: provider.mine("/v1/jobs").json()["items"][0]["state"] == "cancelled")
    eventually(lambda: not provider.get("/v1/health").json()["queue"]["busy"])
    assert receipt_hashes(provider) == []
    assert provider.generate().status_code == 200


def test_a_job_with_an_idempotency_key_goes_on_and_can_be_fetched(
    start_provider: StartProvider, eventually: Eventually
) -> None:
    provider = start_provider()
    hang_up(provider, headers=named("mine"), fields={"steps": 30, "seed": 4})
    job = provider.mine("/v1/jobs").json()["items"][0]
    assert job["state"] in ("queued", "running")
    # In the middle of it, by the same words; and once it is done.
    fields = {**LONG, "steps": 30, "seed": 4, "prompt": "a red circle"}
    body = {"api_key": provider.client_secret, **fields}
    waited = provider.post("/v1/generate-image", body, headers=named("mine"))
    assert waited.status_code == 200
    assert waited.json()["job_id"] == job["job_id"]
    fetched = provider.post("/v1/generate-image", body, headers=named("mine"))
    assert fetched.json() == waited.json()
    assert len(receipt_hashes(provider)) == 1


# Limits


def test_each_key_has_its_own_limits(start_provider: StartProvider) -> None:
    limits = '[limits.alice]\nrate = "5/minute"\nconcurrent_jobs = 1\n'
    provider = start_provider(rate_limit="2/minute", key_limits=limits)
    assert provider.generate(count=3).status_code == 200
    refused = provider.generate(count=3)
    assert_refused(refused, 429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert provider.generate(count=2, headers=named("one")).status_code == 200
    assert provider.generate(count=2, headers=named("one")).status_code == 200, "a repeat is not charged"
    assert provider.generate(api_key=provider.other_secret).status_code == 200


def test_pictures_of_a_day_are_counted_over_a_restart(start_provider: StartProvider) -> None:
    limits = "[limits.alice]\npictures_per_day = 3\n"
    first_run = start_provider(key_limits=limits)
    assert first_run.generate(count=2).status_code == 200
    first_run.stop()
    provider = start_provider(data_dir=first_run.settings.data_dir, key_limits=limits)
    assert_refused(provider.generate(count=2), 429, "daily_limit_reached")
    assert provider.generate().status_code == 200
    assert_refused(provider.generate(), 429, "daily_limit_reached")


def test_a_key_may_have_so_many_jobs_at_once(start_provider: StartProvider) -> None:
    provider = start_provider(key_limits="[limits.alice]\nconcurrent_jobs = 2\n")
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: provider.generate(steps=100, width=512, height=512), range(5)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 200, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert_refused(refused, 429, "too_many_jobs")
    assert provider.generate().status_code == 200


def test_a_full_queue_says_when_to_come_back(start_provider: StartProvider) -> None:
    provider = start_provider(queue_limit=2, max_batch_rows=1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: provider.generate(steps=60, width=512, height=512), range(8)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 2 <= len(answers) - len(refused) < 8
    for answer in refused:
        assert_refused(answer, 503, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
    states = {item["state"] for item in provider.mine("/v1/jobs").json()["items"]}
    assert states == {"done"}, "what found no place was never a job"
    served = len(answers) - len(refused)
    job_id = provider.generate().json()["job_id"]
    assert job_id.endswith(f"-{served + 1:06d}"), "nothing was written for what was refused"


def test_a_job_that_takes_too_long_is_a_504(start_provider: StartProvider) -> None:
    provider = start_provider(job_timeout_s=1.5)
    assert_refused(provider.generate(**LONG), 504, "generation_timed_out")
    assert provider.generate().status_code == 200
    ended = provider.mine("/v1/jobs").json()["items"][1]
    assert (ended["state"], ended["reason"]) == ("failed", "generation_timed_out")


# A store of pictures that does not answer


def test_a_store_that_does_not_answer_holds_up_nothing_else(
    start_provider: StartProvider,
    start_s3: Callable[[], Any],
    s3_environment: Any,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    store = start_s3()
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
    store.make_bucket("pictures")
    provider = start_provider(artifacts="s3://pictures/p")
    made = provider.generate(headers=named("kept")).json()
    picture = f"/v1/jobs/{made['job_id']}/artifacts/0"
    with ThreadPoolExecutor(32) as pool:
        store.pause()
        try:
            looks = [pool.submit(provider.mine, picture) for _ in range(24)]
            repeated = pool.submit(provider.generate, headers=named("kept"))
            ends = [pool.submit(provider.generate, seed=seed) for seed in range(4)]
            # The log answers, and the same key's other orders are taken on, though one of them is being restored.
            eventually(lambda: provider.get("/v1/health").json()["queue"]["busy"] is False, timeout_s=60)
            eventually(lambda: len(provider.mine("/v1/jobs").json()["items"]) == 5, timeout_s=60)
            assert provider.get("/metrics").status_code == 200
            assert not any(asked.done() for asked in (*looks, repeated, *ends))
        finally:
            store.go_on()
        assert {look.result().status_code for look in looks} == {200}
        assert repeated.result().json() == made
        assert {end.result().status_code for end in ends} == {200}


# What is never written


def test_neither_logs_nor_files_hold_the_prompt(
    start_provider: StartProvider, capfd: pytest.CaptureFixture[str]
) -> None:
    provider = start_provider()
    secret_word = "swordfish"
    made = provider.generate(prompt=f"a red circle and a {secret_word}", headers=named("quiet")).json()
    assert made["status"] == "ok"
    assert provider.generate(prompt=f"a {secret_word}\x00").status_code == 422
    assert provider.generate(negative_prompt=f"a {secret_word}", model="no-such-model").status_code == 404
    assert secret_word not in provider.get("/metrics").text
    captured = capfd.readouterr()
    assert secret_word not in captured.out + captured.err
    assert made["receipt"]["prompt_hash"] in captured.out + captured.err
    for path in provider.settings.data_dir.rglob("*"):
        if path.is_file():
            assert secret_word.encode() not in path.read_bytes()
