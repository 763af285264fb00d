"""The WebSocket on a real socket: who may speak, what is said, and what happens to those who do not listen."""

import base64
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from provider.http.live import MAX_JOBS_PER_CONNECTION

StartProvider = Callable[..., Any]
Eventually = Callable[..., None]
QUICK = {"type": "generate", "prompt": "a red circle on a blue background", "steps": 5, "width": 256, "height": 256}
LONG = {**QUICK, "steps": 100, "width": 768, "height": 768, "count": 4}


@contextlib.contextmanager
def opened(provider: Any, *, key: str | None = None, **options: Any) -> Iterator[ClientConnection]:
    """A connection; authenticated by its first message where a key is given."""
    url = provider.url.replace("http://", "ws://") + "/v1/live"
    # Without pings: a client of these tests may be deaf for a while on purpose.
    with connect(url, max_size=2**26, ping_interval=None, **options) as connection:
        if key is not None:
            say(connection, {"type": "authenticate", "api_key": key})
            assert hear(connection)["type"] == "authenticated"
        yield connection


def say(connection: ClientConnection, message: Any) -> None:
    connection.send(json.dumps(message))


def hear(connection: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(connection.recv(timeout=60))
    return message


def hear_until(connection: ClientConnection, *kinds: str) -> list[dict[str, Any]]:
    heard = [hear(connection)]
    while heard[-1]["type"] not in kinds:
        heard.append(hear(connection))
    return heard


def closing(connection: ClientConnection) -> tuple[int, list[dict[str, Any]]]:
    """The code that the connection ends with, and what was said before."""
    heard: list[dict[str, Any]] = []
    with contextlib.suppress(ConnectionClosedError):  # Unless it ends with 1000, iterating raises it.
        heard.extend(json.loads(message) for message in connection)
    assert connection.close_code is not None
    return connection.close_code, heard


# A job


def test_progress_previews_log_lines_and_the_picture(running: Any) -> None:
    with opened(running, key=running.client_secret) as connection:
        say(connection, {**QUICK, "steps": 10, "seed": 5, "preview_every": 2, "request_id": "mine"})
        heard = hear_until(connection, "finished", "failed", "error")
    assert heard[0]["type"] == "accepted"
    job_id = heard[0]["job_id"]
    assert {(message["job_id"], message["request_id"]) for message in heard[:-1]} == {(job_id, "mine")}
    steps = [message["step"] for message in heard if message["type"] == "step"]
    assert steps == sorted(set(steps))
    assert steps[-1] == 10
    previews = [message for message in heard if message["type"] == "preview"]
    assert previews
    for preview in previews:
        small = Image.open(io.BytesIO(base64.b64decode(preview["image_base64"].split(",")[1])))
        assert (small.format, max(small.size) <= 512) == ("JPEG", True)
    lines = [json.loads(message["line"]) for message in heard if message["type"] == "log"]
    assert [line["event"] for line in lines] == ["accepted", "pictures_started", "picture_done", "finished"]
    assert "circle" not in json.dumps(lines)
    finished = heard[-1]
    assert (finished["type"], finished["seed"], finished["job_id"]) == ("finished", 5, job_id)
    same = running.generate(seed=5, steps=10, guidance=7.5).json()
    assert finished["image_base64"] == same["image_base64"]
    assert running.mine(f"/v1/receipts/{finished['receipt_hash']}").status_code == 200
    assert running.mine(f"/v1/jobs/{job_id}").json()["way_in"] == "live"


def test_several_jobs_on_one_connection(running: Any) -> None:
    with opened(running, key=running.client_secret) as connection:
        for number in range(3):
            say(connection, {**QUICK, "seed": number, "request_id": f"r{number}"})
        finished: dict[str, int] = {}
        while len(finished) < 3:
            message = hear(connection)
            if message["type"] == "finished":
                finished[message["request_id"]] = message["seed"]
    assert finished == {"r0": 0, "r1": 1, "r2": 2}


def test_a_job_is_cancelled_by_message(running: Any) -> None:
    with opened(running, key=running.client_secret) as connection:
        say(connection, LONG)
        job_id = hear_until(connection, "step")[-1]["job_id"]
        say(connection, {"type": "cancel", "job_id": job_id})
        failed = hear_until(connection, "failed")[-1]
        assert (failed["reason"], failed["job_id"]) == ("generation_cancelled", job_id)
        say(connection, {"type": "cancel", "job_id": job_id})
        assert hear(connection)["reason"] == "not_found"


def test_a_closed_connection_ends_its_jobs(running: Any, eventually: Eventually) -> None:
    with opened(running, key=running.client_secret) as connection:
        say(connection, LONG)
        job_id = hear_until(connection, "step")[-1]["job_id"]
    eventually(lambda: running.mine(f"/v1/jobs/{job_id}").json()["state"] == "cancelled")


def test_a_job_with_an_idempotency_key_is_watched_again(running: Any) -> None:
    order = {**QUICK, "steps": 100, "seed": 3, "idempotency_key": "live-1"}
    with opened(running, key=running.client_secret) as connection:
        say(connection, order)
        job_id = hear_until(connection, "step")[-1]["job_id"]
    with opened(running, key=running.client_secret) as connection:
        say(connection, {"type": "watch", "job_id": job_id, "request_id": "again"})
        watched = hear_until(connection, "finished", "failed")
        assert watched[0] == {"type": "accepted", "job_id": job_id, "request_id": "again"}
        say(connection, order)
        repeated = hear_until(connection, "finished", "failed")[-1]
        say(connection, {"type": "watch", "job_id": job_id})
        late = hear(connection)
    assert watched[-1]["type"] == repeated["type"] == late["type"] == "finished"
    assert watched[-1]["receipt_hash"] == repeated["receipt_hash"] == late["receipt_hash"]


def test_the_same_order_by_http_is_the_same_job(running: Any) -> None:
    with opened(running, key=running.client_secret) as connection:
        say(connection, {**QUICK, "seed": 4, "guidance": 2.5, "idempotency_key": "both", "request_id": "a"})
        finished = hear_until(connection, "finished", "failed", "error")[-1]
        say(connection, {**QUICK, "seed": 4, "guidance": 2.5, "idempotency_key": "both", "preview_every": 0})
        again = hear_until(connection, "finished", "failed", "error")[-1]
    fields = {name: value for name, value in QUICK.items() if name != "type"}
    by_http = running.generate(**fields, seed=4, headers={"Idempotency-Key": "both"})
    assert by_http.status_code == 200, by_http.text
    assert finished["job_id"] == again["job_id"] == by_http.json()["job_id"]


def test_jobs_of_others_cannot_be_watched_or_cancelled(running: Any) -> None:
    made = running.generate().json()
    with opened(running, key=running.other_secret) as connection:
        for kind in ("watch", "cancel"):
            say(connection, {"type": kind, "job_id": made["job_id"], "request_id": kind})
            refused = hear(connection)
            assert (refused["type"], refused["reason"], refused["request_id"]) == ("error", "not_found", kind)


# Who may speak


def test_a_header_authenticates_too(running: Any) -> None:
    headers = {"Authorization": f"Bearer {running.client_secret}"}
    with opened(running, additional_headers=headers) as connection:
        assert hear(connection) == {"type": "authenticated", "name": "alice"}
    with opened(running, additional_headers={"Authorization": "Bearer wrong-key-wrong-key"}) as connection:
        code, heard = closing(connection)
        assert (code, heard[0]["reason"]) == (4401, "invalid_api_key")


@pytest.mark.parametrize(
    "first",
    [
        {"type": "authenticate", "api_key": "wrong-key-wrong-key"},
        {"type": "authenticate", "api_key": 5},
        {"type": "authenticate"},
        QUICK,
        [],
        "text",
        None,
    ],
)
def test_who_does_not_authenticate_is_sent_away(running: Any, first: Any) -> None:
    with opened(running) as connection:
        say(connection, first)
        code, heard = closing(connection)
    assert code == 4401
    assert [message["type"] for message in heard] == ["error"]


def test_pages_of_other_origins_are_refused_unless_named(running: Any, start_provider: StartProvider) -> None:
    with pytest.raises(InvalidStatus) as caught, opened(running, origin="https://elsewhere.example"):
        pass
    assert caught.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as caught, opened(running, origin="http://["):
        pass
    assert caught.value.response.status_code == 403
    with opened(running, key=running.client_secret, origin=running.url):
        pass
    named = start_provider(cors_origins=("https://gallery.example",))
    with opened(named, key=named.client_secret, origin="https://gallery.example"):
        pass


# What is refused


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({**QUICK, "steps": 4}, "steps"),
        ({**QUICK, "steps": True}, "steps"),
        ({**QUICK, "width": 257}, "width"),
        ({**QUICK, "prompt": "a\x00b"}, "prompt"),
        ({**QUICK, "prompt": "x" * 1001}, "prompt"),
        ({**QUICK, "count": 5}, "count"),
        ({**QUICK, "preview_every": -1}, "preview_every"),
        ({**QUICK, "idempotency_key": "a b"}, "idempotency_key"),
        ({**QUICK, "init_image": "no base64!"}, "init_image"),
        ({**QUICK, "model": "nothing"}, "model"),
        ({**QUICK, "api_key": "x"}, "api_key"),
        ({**QUICK, "surprise": 1}, "surprise"),
        ({"type": "cancel"}, "job_id"),
        ({"type": "watch", "job_id": 5}, "job_id"),
    ],
)
def test_bad_messages_are_answered_and_the_connection_lives(running: Any, message: Any, field: str) -> None:
    with opened(running, key=running.client_secret) as connection:
        say(connection, {**message, "request_id": "bad"})
        answer = hear(connection)
        assert (answer["type"], answer["field"], answer["request_id"]) == ("error", field, "bad")
        say(connection, QUICK)
        assert hear_until(connection, "finished", "failed", "error")[-1]["type"] == "finished"


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '{"type": "dance"}', '{"type": 5}', "{}", "[" * 50_000])
def test_messages_that_mean_nothing(running: Any, text: str) -> None:
    with opened(running, key=running.client_secret) as connection:
        connection.send(text)
        assert hear(connection)["type"] == "error"
        connection.send(text.encode())
        assert hear(connection)["type"] == "error"


def test_a_message_of_a_megabyte_ends_the_connection_only(running: Any) -> None:
    with opened(running, key=running.client_secret) as connection:
        connection.send(json.dumps({**QUICK, "prompt": "x" * 2**20}))
        code, _ = closing(connection)
    assert code == 1009
    assert running.get("/v1/health").json()["status"] == "ok"


def test_who_talks_without_end_is_sent_away(running: Any) -> None:
    with opened(running, key=running.client_secret) as connection:
        for _ in range(61):
            say(connection, {"type": "cancel", "job_id": "x"})
        code, heard = closing(connection)
    assert code == 1008
    assert heard[-1]["reason"] == "rate_limited"


def test_jobs_on_one_connection_are_bounded(running: Any, eventually: Eventually) -> None:
    with opened(running, key=running.client_secret) as connection:
        for number in range(MAX_JOBS_PER_CONNECTION + 1):
            say(connection, {**LONG, "request_id": str(number), "preview_every": 0})
        refused = hear_until(connection, "error")[-1]
        assert (refused["reason"], refused["request_id"]) == ("too_many_jobs", str(MAX_JOBS_PER_CONNECTION))
    eventually(lambda: not running.get("/v1/health").json()["queue"]["busy"])


def test_who_does_not_read_holds_up_nobody(running: Any) -> None:
    with opened(running, key=running.client_secret) as deaf:
        for number in range(3):
            say(deaf, {**QUICK, "steps": 30, "preview_every": 1, "seed": number})
        assert running.generate().status_code == 200
        assert running.get("/v1/health").json()["status"] == "ok"
        ends = 0
        while ends < 3:
            ends += hear(deaf)["type"] == "finished"
