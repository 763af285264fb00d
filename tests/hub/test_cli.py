"""`aitbc hub submit` and `status` against a running hub."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from hub.cli import app, print_job
from hub.client import HubClientError, HubSigning, check_finished_job
from hub.request import JobRequest
from wallet.keystore import LIGHT_SCRYPT_N, save_key
from wallet.known_networks import KnownNetwork, KnownNetworks

Run = Callable[..., Result]
QUICK = ("--width", "256", "--height", "256", "--steps", "5", "--model", "good/model")


@pytest.fixture
def run(hub: Any) -> Run:
    """The command line with the shared hub's URL and a client's key."""
    environment = {"AITBC_HUB_URL": hub.url, "AITBC_HUB_API_KEY": "alice-0123456789abcdef"}
    return lambda *arguments, **more: CliRunner().invoke(app, list(map(str, arguments)), env=environment | more)


def test_submit_writes_the_picture_and_status_finds_the_job(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    made = run("submit", "a cat", "-o", path, *QUICK, "--json")
    assert made.exit_code == 0, made.output
    job = json.loads(made.stdout)
    assert job["status"] == "done"
    assert job["image"] == str(path)
    assert "image_base64" not in job
    assert Image.open(io.BytesIO(path.read_bytes())).size == (256, 256)

    found = run("status", job["job_id"])
    assert found.exit_code == 0, found.output
    assert job["receipt_hash"] in found.stdout
    assert "pending" in found.stdout
    in_vain = run("status", job["job_id"], "--wait-mint", "--timeout-s", "1")
    assert in_vain.exit_code == 1
    assert "not minted in time" in in_vain.stderr


@pytest.fixture
def key_flags(tmp_path: Path, client_key: PrivateKey) -> tuple[object, ...]:
    """Where the client's key is, and the most that it pays."""
    save_key(tmp_path / "key.json", client_key, "secret", scrypt_n=LIGHT_SCRYPT_N)
    (tmp_path / "password.txt").write_text("secret\n")
    return ("--keystore", tmp_path / "key.json", "--password-file", tmp_path / "password.txt", "--max-price", 5)


def know(home: Path, chain_id: int) -> KnownNetworks:
    """A wallet's folder that has met one network."""
    networks = KnownNetworks(home)
    networks.add(KnownNetwork(chain_id=chain_id, genesis_hash="0x" + "17" * 32, name="tests"))
    return networks


def test_signed_request(
    run: Run, tmp_path: Path, client_key: PrivateKey, key_flags: tuple[object, ...], chain: Any
) -> None:
    order = ("submit", "a cat", "-o", tmp_path / "cat.png", *QUICK, *key_flags, "--home", tmp_path / "home", "--json")
    nameless = run(*order)
    assert (nameless.exit_code, "--hub-id" in nameless.stderr) == (1, True)
    unknown = run(*order, "--hub-id", "hub")
    assert (unknown.exit_code, "--chain-id" in unknown.stderr) == (1, True)
    know(tmp_path / "home", chain.chain_id)
    blank = run(*(part for part in order if part not in ("--max-price", 5)), "--hub-id", "hub")
    assert (blank.exit_code, "--max-price" in blank.stderr) == (1, True)
    assert not (tmp_path / "cat.png").exists()
    made = run(*order, "--hub-id", "hub-1")
    assert made.exit_code == 0, made.output
    receipt = json.loads(made.stdout)["receipt"]
    assert receipt["client"] == to_checksum_address(client_key.address)
    assert receipt["client_signature"]
    assert (receipt["hub_id"], receipt["chain_id"]) == ("hub-1", chain.chain_id)


@contextmanager
def answering(answer: Callable[[str], object]) -> Iterator[tuple[str, list[str]]]:
    """Something on a socket that answers every request by its path: its URL, and the paths that were posted to."""
    posted: list[str] = []

    class AnyHub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = answer(self.path)
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), AnyHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()


PROVIDER = "0x" + "ab" * 20


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"hub_id": PROVIDER, "chain_id": 424_242}, "must not look like an address"),
        ({"hub_id": PROVIDER.upper(), "chain_id": 424_242}, "must not look like an address"),
        ({"hub_id": "another-hub", "chain_id": 424_242}, "'another-hub'"),
        ({"hub_id": "hub", "chain_id": 1}, "on chain 1"),
        ({"hub_id": "hub", "chain_id": "424242"}, "is no hub"),
        ({"hub_id": "hub", "chain_id": True}, "is no hub"),
        ({"hub_id": None, "chain_id": 424_242}, "is no hub"),
        ({"hub_id": "hub\u001b[2J" * 100, "chain_id": 424_242}, "calls itself"),
        ([], "without a JSON object"),
        (b'{"a":' * 100_000, "without a JSON object"),
    ],
)
def test_nothing_is_signed_for_whom_a_hub_calls_itself(
    run: Run, tmp_path: Path, key_flags: tuple[object, ...], said: object, words: str
) -> None:
    """It could use the request there: as a provider's client, at another hub, on a network whose coins have worth."""
    know(tmp_path / "home", 424_242)
    with answering(lambda _path: said) as (url, posted):
        order = ("submit", "a cat", "-o", tmp_path / "cat.png", *QUICK, *key_flags, "--home", tmp_path / "home")
        failed = run(*order, "--hub", url, "--hub-id", "hub")
    assert failed.exit_code == 1, failed.exception
    assert words in failed.stderr
    assert "\x1b" not in failed.stderr
    assert posted == []


def test_nothing_is_signed_for_an_address_even_where_the_client_means_it(
    run: Run, tmp_path: Path, key_flags: tuple[object, ...]
) -> None:
    with answering(lambda _path: {"hub_id": PROVIDER, "chain_id": 7}) as (url, posted):
        order = ("submit", "a cat", "-o", tmp_path / "cat.png", *QUICK, *key_flags, "--hub", url)
        failed = run(*order, "--hub-id", PROVIDER, "--chain-id", 7, "--home", tmp_path / "home")
    assert (failed.exit_code, posted) == (1, [])
    assert "must not look like an address" in failed.stderr


def test_the_answer_is_held_against_what_was_asked_for(hub: Any, client_key: PrivateKey, chain: Any) -> None:
    """A receipt for another hub, network or job, or for too much, is no answer to it."""
    asked = JobRequest(prompt="a cat", width=256, height=256, steps=5, model="good/model")
    job = hub.post_job(prompt="a cat", model="good/model").json()
    assert check_finished_job(job, asked)
    for change in ({"steps": 6}, {"seed": 7}, {"guidance": 7.0}, {"max_price": str(10**19)}):
        with pytest.raises(HubClientError, match="request_hash"):
            check_finished_job(job, asked.model_copy(update=change))
    right = HubSigning(client_key, "hub-1", chain.chain_id)
    assert check_finished_job(job, asked, right)
    for wrong, field in ((replace(right, hub_id="other"), "audience"), (replace(right, chain_id=7), "chain_id")):
        with pytest.raises(HubClientError, match=field):
            check_finished_job(job, asked, wrong)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("submit", "a cat", "--steps", "3"), 2, "--steps"),
        (("submit", "a cat", "--model", "nobody/has-it"), 1, "no active provider offers this model"),
        (("submit", "a cat", "--hub", "nonsense"), 1, "http://"),
        (("submit", "a cat", "--hub", "http://127.0.0.1:9"), 1, "cannot reach"),
        (("status", "no-such-job"), 1, "no job of yours"),
        (("status", "../providers"), 1, "no job's id"),
        (("status", "x", "--api-key", "wrong-key-0123456789"), 1, "API key"),
    ],
)
def test_what_goes_wrong_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    failed = run(*arguments)
    assert failed.exit_code == code, failed.output
    assert words in failed.stderr
    assert list(tmp_path.iterdir()) == []


def test_hub_that_lies_is_caught(hub: Any, good: Any) -> None:
    """The client checks hash, signatures, picture and prompt for itself."""
    job = hub.post_job(prompt="a cat", model="good/model").json()
    request = JobRequest(prompt="a cat", width=256, height=256, steps=5, model="good/model")
    assert check_finished_job(job, request).startswith(b"\x89PNG")
    other = hub.post_job(prompt="a dog", model="good/model").json()
    for change in (
        {"image_base64": "data:image/png;base64,AAAA"},
        {"image_base64": None},
        {"receipt": other["receipt"]},
        {"receipt": job["receipt"] | {"amount": "1"}},
        {"receipt_hash": other["receipt_hash"]},
        {"provider_signature": other["provider_signature"]},
        {"prompt_salt": "0x" + "00" * 32},
        {"prompt_salt": None},
        {"receipt": None},
    ):
        with pytest.raises(HubClientError, match="the hub's answer"):
            check_finished_job(job | change, request)
    with pytest.raises(HubClientError, match="another prompt"):
        check_finished_job(job, request.model_copy(update={"prompt": "a dog"}))


@pytest.mark.parametrize(
    "change",
    [
        {"status": None},
        {"mint": {}},
        {"receipt": {"units": 1, "unit_type": "images", "amount": "a lot"}},
        {"job_id": 7},
    ],
)
def test_hub_that_says_something_else_is_told_in_one_line(run: Run, hub: Any, change: Any) -> None:
    job = hub.post_job(model="good/model").json() | change

    with answering(lambda _path: job) as (url, _posted):
        failed = run("status", "x", "--hub", url)
    assert failed.exit_code == 1, failed.exception
    assert "is no hub" in failed.stderr


def test_nothing_that_a_hub_says_steers_the_terminal(capsys: pytest.CaptureFixture[str], hub: Any) -> None:
    job = hub.post_job(model="good/model").json() | {"reason": "x", "detail": "\x1b[2Jgone"}
    print_job(job)
    assert "\x1b" not in capsys.readouterr().out


def test_failed_job_writes_nothing(run: Run, liar: Any, tmp_path: Path) -> None:
    def refuse(_server: Any, _answering: Any, handler: BaseHTTPRequestHandler) -> None:
        handler.send_error(500)

    liar.behaviour = refuse
    failed = run("submit", "a cat", "-o", tmp_path / "cat.png", "--model", "liar/model")
    assert failed.exit_code == 1
    assert "server_error" in failed.stderr
    assert not (tmp_path / "cat.png").exists()
