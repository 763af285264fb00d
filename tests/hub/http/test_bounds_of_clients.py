"""What clients do without ordering anything: they have a judge asked, ask for prices, hold connections open."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from hub.http.live import Close
from tests.hub.dialled import DialledProvider
from tests.hub.running import CLIENT_KEYS, HubProcess, wait_until

pytestmark = pytest.mark.timeout(300)
JOB = {"prompt": "a cat", "width": 256, "height": 256, "steps": 5}


@pytest.fixture
def judge() -> Iterator[tuple[str, list[Any]]]:
    """One that allows nothing; its URL, and what it was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            answer = b'{"allowed": false, "reason": "no"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_what_the_judge_refuses_is_of_the_days_quota(
    make_hub: Callable[..., HubProcess], judge: tuple[str, list[Any]]
) -> None:
    url, asked = judge
    hub = make_hub(moderation_url=url)
    # Bob may order three pictures in a day: that bounds nothing that comes to none.
    clients = hub.settings()["clients_file"]
    hub.stop()
    clients.write_text(clients.read_text().partition("[quotas]")[0] + "[quotas]\nbob = { jobs = 2 }\n")
    hub.start()

    def reason() -> str:
        answer = hub.request("POST", "/v1/jobs", json=JOB, api_key=CLIENT_KEYS["bob"])
        return str(answer.json()["reason"])

    assert [reason() for _ in range(4)] == ["prompt_refused", "prompt_refused", "quota_exceeded", "quota_exceeded"]
    assert len(asked) == 2


def test_estimates_are_bounded_for_each_client(
    make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider]
) -> None:
    hub = make_hub(AITBC_HUB_ESTIMATES_PER_MINUTE=2)
    dial(hub)

    def ask(client: str, path: str, **fields: Any) -> httpx.Response:
        return hub.request("POST", path, json={**JOB, **fields}, api_key=CLIENT_KEYS[client])

    assert ask("alice", "/v1/estimate").status_code == 200
    assert ask("alice", "/v1/jobs", dry_run=True).status_code == 200
    third = ask("alice", "/v1/estimate")
    assert (third.status_code, third.json()["reason"]) == (429, "too_many_estimates")
    assert int(third.headers["retry-after"]) >= 1
    assert ask("carol", "/v1/estimate").status_code == 200


def test_streams_are_bounded_for_each_client(
    make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider]
) -> None:
    async def never(_provider: DialledProvider, _assignment: object) -> None:
        """Takes work and does nothing."""

    hub = make_hub(AITBC_HUB_MAX_STREAMS_PER_CLIENT=2)
    dial(hub, 0, behaviour=never)
    job_id = hub.post_job(wait_s=0).json()["job_id"]
    path, key = f"/v1/jobs/{job_id}/events", CLIENT_KEYS["alice"]
    headers = {"Authorization": f"Bearer {key}"}
    live = hub.url.replace("http", "ws", 1) + f"/v1/jobs/{job_id}/live"
    with ExitStack() as stack:
        # given as many of both kinds as one client may have
        stream = stack.enter_context(httpx.stream("GET", hub.url + path, headers=headers))
        lines = stream.iter_lines()  # Kept: what reads them no more closes the connection.
        assert next(lines).startswith("id:")
        socket = stack.enter_context(connect(live, additional_headers=headers))
        assert "queued" in str(socket.recv())

        # then there is none of either kind beyond these, and it is said what to do
        refused = hub.request("GET", path, api_key=key)
        assert (refused.status_code, refused.json()["reason"]) == (429, "too_many_streams")
        assert "GET /v1/jobs/{id}" in refused.json()["detail"]
        with connect(live, additional_headers=headers) as third:
            assert json.loads(third.recv())["reason"] == "too_many_streams"
            with pytest.raises(ConnectionClosed) as closed:
                third.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == Close.TOO_MANY
    # and those that were closed make room
    wait_until(lambda: _is_open(hub.url + path, headers))


def _is_open(url: str, headers: dict[str, str]) -> bool:
    with httpx.stream("GET", url, headers=headers) as answer:
        return answer.status_code == 200
