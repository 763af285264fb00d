"""Jobs that are ordered by a client's signature alone, without an API key: real signatures of eth_account."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import httpx
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from typer.testing import CliRunner
from websockets.sync.client import connect

from chain.primitives.keys import PrivateKey
from hub.cli import app
from tests.hub.dialled import DialledProvider
from tests.hub.running import CLIENT_KEYS, PATIENCE_S, Chain, HubProcess, wait_until
from tests.hub.signing_clients import SMALL, new_account, signed_order
from wallet.accounts import Accounts
from wallet.keystore import LIGHT_SCRYPT_N

pytestmark = pytest.mark.timeout(300)

EACH_JOBS = 3
TOGETHER_PICTURES = 40


class Judge(BaseHTTPRequestHandler):
    """Of prompts, outside the hub: allows all of them, and remembers them."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """One question."""
        self.asked.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompts"])
        answer = b'{"allowed": true}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_words: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def judge() -> Iterator[str]:
    """The URL of one that runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Judge) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def hub(
    tmp_path_factory: pytest.TempPathFactory, chain: Chain, provider_keys: list[PrivateKey], judge: str
) -> Iterator[HubProcess]:
    """Takes them from everybody, within quotas."""
    signers = f"each = {{ jobs = {EACH_JOBS} }}\ntogether = {{ pictures = {TOGETHER_PICTURES} }}\n"
    flags = {"signed_orders": "all", "signers": signers, "AITBC_HUB_MODERATION_URL": judge}
    made = HubProcess(tmp_path_factory.mktemp("hub"), chain, **flags).start()
    provider = DialledProvider(provider_keys[0], chain).dial(made.workers_url)
    yield made
    provider.hang_up()
    assert made.stop() == 0, made.log


def post(hub: HubProcess, body: dict[str, Any], path: str = "/v1/jobs", **headers: str) -> httpx.Response:
    """Without an API key."""
    return hub._http.post(hub.url + path, json=body, headers=headers)


def is_taken(answer: httpx.Response) -> bool:
    """As a job, which may have ended already."""
    return answer.status_code in (200, 202)


def opened(hub: HubProcess, token: str | None, path: str, method: str = "GET") -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return hub._http.request(method, hub.url + path, headers=headers)


def test_a_signature_alone_orders_a_job_and_its_token_opens_it(hub: HubProcess, chain: Chain) -> None:
    account = new_account()
    answer = post(hub, signed_order(account, chain.chain_id, seed=3, wait_s=50))
    assert answer.status_code == 200, (answer.text, hub.log)
    job, token = answer.json(), answer.json()["job_token"]
    assert (job["status"], job["client"], job["receipt"]["client"]) == ("done", account.address, account.address)
    assert job["receipt"]["client_signature"] is not None
    path = f"/v1/jobs/{job['job_id']}"
    again = opened(hub, token, path).json()
    assert (again["receipt_hash"], again["job_token"]) == (job["receipt_hash"], None)
    assert opened(hub, token, path + "/pictures/0").headers["content-type"] == "image/png"
    assert "event: done" in opened(hub, token, path + "/events").text
    with connect(hub.url.replace("http", "ws") + path + "/live") as socket:
        socket.send(json.dumps({"type": "authenticate", "api_key": token}))
        assert json.loads(socket.recv(PATIENCE_S))["kind"] == "queued"
    wait_until(lambda: opened(hub, token, path).json()["mint"]["state"] == "minted")


def test_nobody_else_opens_or_cancels_it(hub: HubProcess, chain: Chain) -> None:
    first, second = (
        post(hub, signed_order(new_account(), chain.chain_id, prompt=prompt)).json() for prompt in ("one", "two")
    )
    path, token = f"/v1/jobs/{first['job_id']}", first["job_token"]
    assert token not in hub.log
    forged = token[:-1] + ("0" if token[-1] != "0" else "1")
    other_job = second["job_token"].replace(second["job_id"], first["job_id"])
    for way in ("", "/events", "/pictures/0", "/cancel"):
        method = "POST" if way == "/cancel" else "GET"
        for nobodys in (None, "nobody", forged, other_job, first["client"], "job." + first["job_id"]):
            assert opened(hub, nobodys, path + way, method).status_code == 401, (way, nobodys)
        for others in (second["job_token"], CLIENT_KEYS["alice"]):
            assert opened(hub, others, path + way, method).status_code == 404, (way, others)
    # A token opens its job, and nothing else.
    assert opened(hub, token, "/v1/jobs").status_code == 401
    assert opened(hub, token, "/v1/models").status_code == 401
    assert post(hub, {"prompt": "a cat", **SMALL}, Authorization=f"Bearer {token}").status_code == 401
    assert opened(hub, token, path + "/cancel", "POST").status_code == 200
    assert opened(hub, second["job_token"], f"/v1/jobs/{second['job_id']}", "DELETE").status_code == 200


def test_what_is_not_signed_so_is_refused(hub: HubProcess, chain: Chain) -> None:
    account, other = new_account(), new_account()
    order = signed_order(account, chain.chain_id, seed=5)
    part = order["client_request"]
    changes: list[dict[str, Any]] = [
        {"prompt": "another prompt"},
        {"n": 2},
        {"seed": 6},
        {"steps": 6},
        {"client_request": part | {"client": other.address}},
        {"client_request": part | {"nonce": "0x" + "01" * 32}},
        {"client_request": part | {"expiry": part["expiry"] + 1}},
        {"client_request": part | {"max_price": str(10**21)}},
        {"client_request": part | {"salt": "0x" + "01" * 32}},
        {"client_request": part | {"signature": "0x" + "01" * 65}},
        signed_order(account, chain.chain_id + 1),
        signed_order(account, chain.chain_id, "another-hub"),
    ]
    blind = Account.sign_message(encode_defunct(b"a lamp"), account.key).signature
    changes.append({"client_request": part | {"signature": "0x" + bytes(blind).hex()}})
    for change in changes:
        for path in ("/v1/jobs", "/v1/estimate"):
            refused = post(hub, order | change, path)
            assert refused.status_code == 400, (change, refused.text)
            assert refused.json()["reason"] == "bad_signature", (change, refused.text)
    for expires_in_s, reason in ((-5, "request_expired"), (2 * 86_400, "out_of_range")):
        late = post(hub, signed_order(account, chain.chain_id, expires_in_s=expires_in_s))
        assert (late.status_code, late.json()["reason"]) == (400, reason), late.text
    assert post(hub, {"prompt": "a cat", **SMALL}).json()["reason"] == "invalid_api_key"
    assert post(hub, order, Authorization="Bearer nobody's key").status_code == 401
    # None of these has used anything up.
    assert post(hub, order, "/v1/estimate").status_code == 200
    taken = post(hub, order)
    assert is_taken(taken), taken.text
    assert opened(hub, taken.json()["job_token"], f"/v1/jobs/{taken.json()['job_id']}", "DELETE").status_code == 200


def test_a_signed_request_is_one_job_however_often_it_comes(hub: HubProcess, chain: Chain) -> None:
    account, nonce = new_account(), b"\x07" * 32
    order = signed_order(account, chain.chain_id, nonce=nonce)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(hub, order), range(8)))
    assert sum(map(is_taken, answers)) == 1
    refused = [answer.json() for answer in answers if not is_taken(answer)]
    assert {answer["reason"] for answer in refused} <= {"nonce_used", "request_used"}
    assert not any("job_token" in answer for answer in refused)
    # The same nonce for another order, and with an API key beside it: used is used.
    another = signed_order(account, chain.chain_id, nonce=nonce, prompt="another")
    assert post(hub, another).json()["reason"] == "nonce_used"
    assert hub.request("POST", "/v1/jobs", json=another).json()["reason"] == "nonce_used"
    # Another client's nonce of the same bytes is another nonce.
    assert is_taken(post(hub, signed_order(new_account(), chain.chain_id, nonce=nonce)))


def test_nobody_outside_is_asked_about_what_cannot_be_taken(hub: HubProcess, chain: Chain) -> None:
    """Who asks for it has paid nothing, and can ask again: a judge of prompts costs its operator something."""
    account, prompt = new_account(), "asked about once"
    order = signed_order(account, chain.chain_id, prompt=prompt)
    assert is_taken(post(hub, order))
    again = [post(hub, order) for _ in range(3)]
    assert {(answer.status_code, answer.json()["reason"]) for answer in again} == {(409, "nonce_used")}
    unfunded = post(hub, signed_order(new_account(), chain.chain_id, prompt=prompt, payment="escrow"))
    assert (unfunded.status_code, unfunded.json()["reason"]) == (402, "deposit_too_small")
    assert "and 0 AIT of the deposit are not promised already" in unfunded.json()["detail"]
    assert "atoms" not in unfunded.json()["detail"]
    many = post(hub, signed_order(account, chain.chain_id, prompt=prompt, n=TOGETHER_PICTURES + 1))
    assert many.status_code == 429, many.text
    assert Judge.asked.count(prompt) == 1


def test_a_repetition_needs_a_key_that_nobody_guesses(hub: HubProcess, chain: Chain) -> None:
    """A provider sees the signature: with an Idempotency-Key that it can guess, it would be told the token."""
    order = signed_order(new_account(), chain.chain_id)
    short = post(hub, order, **{"Idempotency-Key": "order-1"})
    assert (short.status_code, short.json()["reason"]) == (422, "idempotency_key_too_short")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(hub, order, **{"Idempotency-Key": "k" * 32}), range(4)))
    assert all(map(is_taken, answers)), [answer.text for answer in answers]
    assert len({(answer.json()["job_id"], answer.json()["job_token"]) for answer in answers}) == 1
    assert post(hub, order, **{"Idempotency-Key": "l" * 32}).status_code == 409
    changed = post(hub, order | {"priority": 9}, **{"Idempotency-Key": "k" * 32})
    assert changed.json()["reason"] == "idempotency_key_reused"


def test_the_command_line_signs_with_an_account_of_the_wallet(hub: HubProcess, chain: Chain, tmp_path: Path) -> None:
    account = Accounts(tmp_path / "home").create("anna", PrivateKey.generate(), "secret", scrypt_n=LIGHT_SCRYPT_N)
    (tmp_path / "password").write_text("secret\n")

    def run(*arguments: object, api_key: str = "") -> Any:
        environment = {"AITBC_HUB_URL": hub.url, "AITBC_HUB_API_KEY": api_key}
        return CliRunner().invoke(app, list(map(str, arguments)), env=environment)

    small = ("--width", 256, "--height", 256, "--steps", 5)
    order: tuple[object, ...] = ("submit", "a boat", "-o", tmp_path / "boat.png", *small)
    nobody = run(*order)
    assert (nobody.exit_code, "--from" in nobody.stderr) == (1, True)
    signing: tuple[object, ...] = (
        "--from",
        "anna",
        "--password-file",
        tmp_path / "password",
        "--home",
        tmp_path / "home",
    )
    signing += ("--hub-id", "hub-1", "--chain-id", chain.chain_id, "--max-price", 5)
    estimated = run(*order, *signing, "--dry-run")
    assert (estimated.exit_code, "AIT" in estimated.output) == (0, True), estimated.output
    made = run(*order, *signing, "--json")
    assert made.exit_code == 0, made.output
    job = json.loads(made.stdout)
    assert (tmp_path / "boat.png").read_bytes().startswith(b"\x89PNG")
    assert int(job["receipt"]["client"], 16) == int.from_bytes(account.address)
    shown = run("status", job["job_id"], "--json", api_key=job["job_token"])
    assert json.loads(shown.stdout)["receipt_hash"] == job["receipt_hash"]
    assert run("watch", job["job_id"], api_key=job["job_token"]).exit_code == 0
    assert run("status", job["job_id"]).exit_code == 1


def test_addresses_are_bounded_each_and_together(hub: HubProcess, chain: Chain) -> None:
    account = new_account()
    answers = [post(hub, signed_order(account, chain.chain_id)) for _ in range(EACH_JOBS + 1)]
    assert [is_taken(answer) for answer in answers] == [True] * EACH_JOBS + [False]
    assert (answers[-1].status_code, answers[-1].json()["reason"]) == (429, "quota_exceeded")
    # New addresses are no way around it: all of them together have a bound as well.
    many = [post(hub, signed_order(new_account(), chain.chain_id, n=TOGETHER_PICTURES // 2)) for _ in range(3)]
    assert many[-1].status_code == 429, many[-1].text
    assert "pictures" in many[-1].json()["detail"]
    assert is_taken(hub.post_job(wait_s=0))  # Those with a key are not held up by it.
    for answer in many:
        if is_taken(answer):
            opened(hub, answer.json()["job_token"], f"/v1/jobs/{answer.json()['job_id']}", "DELETE")
