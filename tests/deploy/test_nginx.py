"""The sites of deploy/nginx: taken by nginx, and, for the provider, in front of a real one."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from genesis.processes import free_port
from tests.deploy.machine import DEPLOY, run_program, until
from tests.deploy.nginx_server import SERVER_NAME, Nginx
from tests.provider.conftest import RunningProvider, StartProvider

pytestmark = pytest.mark.programs("nginx", "openssl")
ORDER = {"prompt": "a green square on white", "steps": 5, "width": 256, "height": 256, "guidance": 2.5}


@pytest.fixture(scope="module")
def behind(start_provider: StartProvider) -> RunningProvider:
    """A provider that believes its proxy, and that locks an address out after three wrong keys."""
    return start_provider(trusted_proxies=("127.0.0.1",), failed_login_limit="3/hour", rate_limit="10000/minute")


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, behind: RunningProvider) -> Iterator[Nginx]:
    """nginx in front of it."""
    server = Nginx.prepare(tmp_path_factory.mktemp("nginx"))
    server.render("provider", "--upstream", behind.url.removeprefix("http://"))
    process = server.start()
    yield server
    process.terminate()
    process.wait(30)


class _ByName(httpx.HTTPTransport):
    """Finds gpu.example on loopback, as a resolver would."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)


@pytest.fixture
def web(nginx: Nginx) -> Iterator[httpx.Client]:
    """A client of https://gpu.example."""
    url = f"https://{SERVER_NAME}:{nginx.https_port}"
    with httpx.Client(transport=_ByName(verify=nginx.tls()), base_url=url, timeout=120) as client:
        yield client


@pytest.mark.parametrize("role", ["provider", "hub", "node"])
def test_nginx_takes_each_site(tmp_path: Path, role: str) -> None:
    server = Nginx.prepare(tmp_path)
    server.render(role)
    done = server.check()
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.replace("error.log", "")


def test_all_sites_together_also_on_ipv6(tmp_path: Path) -> None:
    server = Nginx.prepare(tmp_path)
    for role in ("provider", "hub", "node"):
        server.render(role)
    site = tmp_path / "sites-available/aitbc-hub.conf"
    site.write_text(site.read_text().replace(SERVER_NAME, "hub.example"))
    assert server.check().returncode == 0
    printed = run_program(DEPLOY / "nginx/render.sh", "node", "n.example").stdout
    assert "listen [::]:443 ssl http2;" in printed
    assert "/etc/letsencrypt/live/n.example/fullchain.pem" in printed
    assert "@" not in printed.replace("@aitbc", "")


def test_what_an_operator_has_allowed_stays(tmp_path: Path) -> None:
    server = Nginx.prepare(tmp_path)
    server.render("provider")
    (tmp_path / "aitbc-allow.conf").write_text("allow 203.0.113.7;\ndeny all;\n")
    server.render("provider")
    assert (tmp_path / "aitbc-allow.conf").read_text() == "allow 203.0.113.7;\ndeny all;\n"


@pytest.mark.parametrize("name", ["", "a b", "x;y", "$host", "../x", "-x"])
def test_no_name_gets_into_the_configuration_that_is_none(name: str) -> None:
    done = run_program(DEPLOY / "nginx/render.sh", "provider", name)
    assert (done.returncode, done.stdout) == (2, "")


def test_http_leads_to_https(nginx: Nginx) -> None:
    answer = httpx.get(f"http://127.0.0.1:{nginx.http_port}/v1/health?x=1", headers={"Host": SERVER_NAME})
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"https://{SERVER_NAME}/v1/health?x=1"


def test_a_picture_through_tls(web: httpx.Client, behind: RunningProvider) -> None:
    answer = web.post("/v1/generate-image", json={"api_key": behind.client_secret, **ORDER})
    assert answer.status_code == 200, answer.text
    assert answer.json()["image_base64"].startswith("data:image/png;base64,")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] == "nginx"


def test_a_websocket_through_tls(nginx: Nginx, behind: RunningProvider) -> None:
    raw = socket.create_connection(("127.0.0.1", nginx.https_port), timeout=60)
    url = f"wss://{SERVER_NAME}:{nginx.https_port}/v1/live"
    headers = {"Authorization": f"Bearer {behind.client_secret}"}
    # The page of this very site: the provider compares its origin with the Host that nginx passes on.
    origin: Any = f"https://{SERVER_NAME}:{nginx.https_port}"
    with connect(url, sock=raw, ssl=nginx.tls(), additional_headers=headers, origin=origin) as live:
        assert json.loads(live.recv(timeout=60))["type"] == "authenticated"
        live.send(json.dumps({"type": "generate", **ORDER}))
        kinds: list[str] = []
        while not kinds or kinds[-1] not in ("finished", "failed", "error"):
            kinds.append(json.loads(live.recv(timeout=120))["type"])
    assert kinds[-1] == "finished"
    assert "step" in kinds


def test_bodies_over_the_limit(web: httpx.Client) -> None:
    for path, limit in (("/v1/jobs/x/cancel", 64 * 1024), ("/v1/generate-image", 16 * 1024 * 1024)):
        answer = web.post(path, content=b"x" * (limit + 1), headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_stranger_with_wrong_keys_locks_nobody_else_out(
    web: httpx.Client, nginx: Nginx, behind: RunningProvider
) -> None:
    """The provider sees the client's own address, not nginx's; and nobody can choose one for himself."""
    strange = "wrong-key-0123456789"
    answers = [_from_address(nginx, "127.0.0.2", strange, forwarded_for=f"192.0.2.{number}") for number in range(5)]
    assert answers == [401, 401, 401, 429, 429]
    assert _from_address(nginx, "127.0.0.3", behind.client_secret) == 200
    assert web.post("/v1/generate-image", json={"api_key": behind.client_secret, **ORDER}).status_code == 200


def _from_address(nginx: Nginx, address: str, key: str, forwarded_for: str = "") -> int:
    """The status of a request for the caller's jobs, sent from another of loopback's addresses."""
    raw = socket.create_connection(("127.0.0.1", nginx.https_port), timeout=60, source_address=(address, 0))
    with nginx.tls().wrap_socket(raw, server_hostname=SERVER_NAME) as connection:
        lines = ["GET /v1/jobs HTTP/1.1", f"Host: {SERVER_NAME}", f"Authorization: Bearer {key}", "Connection: close"]
        lines += [f"X-Forwarded-For: {forwarded_for}"] if forwarded_for else []
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(connection.recv(65536).split()[1])


def test_figures_are_for_operators(nginx: Nginx, web: httpx.Client) -> None:
    assert "aitbc_provider_ready 1.0" in web.get("/metrics").text
    operators = nginx.folder / "aitbc-operators.conf"
    before = operators.read_text()
    assert "deny all;" in before
    operators.write_text("deny all;\n")
    nginx.reload()
    until(lambda: _status(web, "/metrics") == 403, "the new list")
    until(lambda: _status(web, "/healthz") == 403, "the new list, for /healthz")
    until(lambda: _status(web, "/v1/health") == 200, "the provider")
    operators.write_text(before)
    nginx.reload()
    until(lambda: _status(web, "/metrics") == 200, "the old list")


def _status(web: httpx.Client, path: str) -> int | None:
    """None where a worker of the former configuration has just closed the connection."""
    try:
        return web.get(path).status_code
    except httpx.TransportError:
        return None


def test_neither_keys_nor_links_nor_prompts_stand_in_the_log(
    web: httpx.Client, nginx: Nginx, behind: RunningProvider
) -> None:
    """nginx writes a line once the whole answer is sent: a client that has it may look too early."""
    file = nginx.folder / "aitbc-provider.log"
    seen = len(file.read_text())
    path = "/v1/jobs/2025-01-01-000001/artifacts/0"
    assert web.post("/v1/generate-image", json={"api_key": behind.client_secret, **ORDER}).status_code == 200
    web.get("/v1/jobs", headers={"Authorization": f"Bearer {behind.client_secret}"})
    web.get(f"{path}?expires=1&signature=secret-signature")
    for line in ('"POST /v1/generate-image HTTP/1.1" 200', '"GET /v1/jobs HTTP/1.1" 200', f'"GET {path} HTTP/1.1"'):
        until(lambda line=line: line in file.read_text()[seen:], f"the log's line {line}")  # type: ignore[misc]
    log = file.read_text() + (nginx.folder / "error.log").read_text()
    for secret in ("secret-signature", "expires=1", "green square", behind.client_secret):
        assert secret not in log


def test_a_service_that_is_away_is_told_as_a_problem(tmp_path: Path) -> None:
    server = Nginx.prepare(tmp_path)
    server.render("hub", "--upstream", f"127.0.0.1:{free_port()}")
    process = server.start()
    try:
        url = f"https://{SERVER_NAME}:{server.https_port}"
        with httpx.Client(transport=_ByName(verify=server.tls()), base_url=url, timeout=60) as client:
            answer = client.get("/v1/hub")
    finally:
        process.terminate()
        process.wait(30)
    assert (answer.status_code, answer.json()["reason"]) == (503, "away")
    assert answer.headers["Retry-After"] == "5"
    assert answer.headers["Strict-Transport-Security"]


def test_old_versions_of_tls_are_refused(nginx: Nginx) -> None:
    context = nginx.tls()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    raw = socket.create_connection(("127.0.0.1", nginx.https_port), timeout=60)
    with context.wrap_socket(raw, server_hostname=SERVER_NAME) as connection:
        assert connection.version() == "TLSv1.2"
    port = f"127.0.0.1:{nginx.https_port}"
    offered = run_program("openssl", "s_client", "-connect", port, "-tls1_1", input="")
    assert offered.returncode != 0
