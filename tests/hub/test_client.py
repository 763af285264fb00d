"""The client behind `aitbc hub submit`: signs for whom it means, and believes no hub what it can check for itself."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from hub.cli import app
from hub.client import HubClient, HubClientError, HubSigning
from hub.client_checks import check_job, check_pictures
from hub.commands.showing import print_job
from hub.orders.request import JobRequest
from tests.hub.dialled import DialledProvider
from tests.hub.running import CLIENT_KEYS, MODEL, Chain, HubProcess
from wallet.keystore import LIGHT_SCRYPT_N, save_key
from wallet.known_networks import KnownNetwork, KnownNetworks

pytestmark = pytest.mark.timeout(300)

Shared = tuple[HubProcess, DialledProvider, DialledProvider]
SMALL = ("--width", "256", "--height", "256", "--steps", "5")
CLIENT = PrivateKey(b"\x31" * 32)
PROVIDER = "0x" + "ab" * 20


def run(url: str, *arguments: object) -> Result:
    """The command line with a client's key."""
    environment = {"AITBC_HUB_URL": url, "AITBC_HUB_API_KEY": CLIENT_KEYS["alice"]}
    return CliRunner().invoke(app, list(map(str, arguments)), env=environment)


@pytest.fixture
def key_flags(tmp_path: Path) -> tuple[object, ...]:
    """Where the client's key is, and the most that it pays."""
    save_key(tmp_path / "key.json", CLIENT, "secret", scrypt_n=LIGHT_SCRYPT_N)
    (tmp_path / "password.txt").write_text("secret\n")
    return ("--keystore", tmp_path / "key.json", "--password-file", tmp_path / "password.txt", "--max-price", 5)


def know(home: Path, chain_id: int) -> None:
    """A wallet's folder that has met one network."""
    KnownNetworks(home).add(KnownNetwork(chain_id=chain_id, genesis_hash="0x" + "17" * 32, name="tests"))


@contextmanager
def answering(answer: Callable[[str], object]) -> Iterator[tuple[str, list[str]]]:
    """Something on a socket that answers every request by its path, with a body or only a status: its URL, and what was
    posted to it."""
    posted: list[str] = []

    class AnyHub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = answer(self.path)
            body = said if isinstance(said, bytes) else b"" if isinstance(said, int) else json.dumps(said).encode()
            self.send_response(said if isinstance(said, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.do_GET()

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), AnyHub) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()


class TestSigning:
    def test_a_signed_request_is_for_one_hub_on_one_network(
        self, shared: Shared, tmp_path: Path, key_flags: tuple[object, ...], chain: Chain
    ) -> None:
        hub, *_ = shared
        home = tmp_path / "home"
        order = ("submit", "a cat", "-o", tmp_path / "cat.png", *SMALL, *key_flags, "--home", home, "--json")
        nameless = run(hub.url, *order)
        assert (nameless.exit_code, "--hub-id" in nameless.stderr) == (1, True)
        unknown = run(hub.url, *order, "--hub-id", "hub")
        assert (unknown.exit_code, "--chain-id" in unknown.stderr) == (1, True)
        know(home, chain.chain_id)
        blank = run(hub.url, *(part for part in order if part not in ("--max-price", 5)), "--hub-id", "hub")
        assert (blank.exit_code, "--max-price" in blank.stderr) == (1, True)
        assert not (tmp_path / "cat.png").exists()
        made = run(hub.url, *order, "--hub-id", "hub-1")
        assert made.exit_code == 0, made.output
        receipt = json.loads(made.stdout)["receipt"]
        assert receipt["client"] == to_checksum_address(CLIENT.address)
        assert receipt["client_signature"]
        assert (receipt["hub_id"], receipt["chain_id"]) == ("hub-1", chain.chain_id)

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
        self, tmp_path: Path, key_flags: tuple[object, ...], said: object, words: str
    ) -> None:
        """It could use the request there: as a provider's client, at another hub, where coins have worth."""
        know(tmp_path / "home", 424_242)
        with answering(lambda _path: said) as (url, posted):
            order = ("submit", "a cat", "-o", tmp_path / "cat.png", *SMALL, *key_flags, "--home", tmp_path / "home")
            failed = run(url, *order, "--hub-id", "hub")
        assert failed.exit_code == 1, failed.exception
        assert words in failed.stderr
        assert "\x1b" not in failed.stderr
        assert posted == []

    def test_nothing_is_signed_for_an_address_even_where_the_client_means_it(
        self, tmp_path: Path, key_flags: tuple[object, ...]
    ) -> None:
        with answering(lambda _path: {"hub_id": PROVIDER, "chain_id": 7}) as (url, posted):
            order = ("submit", "a cat", "-o", tmp_path / "cat.png", *SMALL, *key_flags)
            failed = run(url, *order, "--hub-id", PROVIDER, "--chain-id", 7, "--home", tmp_path / "home")
        assert (failed.exit_code, posted) == (1, [])
        assert "must not look like an address" in failed.stderr


def made_by(hub: HubProcess, **fields: Any) -> tuple[dict[str, Any], list[bytes], JobRequest]:
    """A finished job, its pictures, and what was asked for."""
    asked = JobRequest(**{"width": 256, "height": 256, "steps": 5, "model": MODEL, **fields})
    with HubClient(hub.url, CLIENT_KEYS["alice"], timeout_s=60) as client:
        job, sent = client.submit(asked)
        job = client.wait_for_end(job["job_id"], 60)
        assert job["status"] == "done", job
        return job, [client.picture(job["job_id"], picture["number"]) for picture in job["pictures"]], sent


class TestChecking:
    """A receipt for another hub, network or job, for too much, or for other pictures, is no answer."""

    def test_the_answer_is_held_against_what_was_asked_for(self, shared: Shared, chain: Chain) -> None:
        job, pictures, asked = made_by(shared[0], prompt="a cat")
        check_job(job, pictures, asked)
        for change in ({"steps": 6}, {"seed": 7}, {"guidance": 7.0}, {"max_price": str(10**19)}):
            with pytest.raises(HubClientError, match="request_hash"):
                check_job(job, pictures, asked.model_copy(update=change))
        right = HubSigning(CLIENT, "hub-1", chain.chain_id)
        check_job(job, pictures, asked, right)
        for wrong, field in ((replace(right, hub_id="other"), "audience"), (replace(right, chain_id=7), "chain_id")):
            with pytest.raises(HubClientError, match=field):
                check_job(job, pictures, asked, wrong)

    def test_a_hub_that_lies_is_caught(self, shared: Shared) -> None:
        job, pictures, asked = made_by(shared[0], prompt="a cat on a mat")
        other, others, _ = made_by(shared[0], prompt="a dog")
        check_job(job, pictures, asked)
        for change in (
            {"receipt": other["receipt"]},
            {"receipt": job["receipt"] | {"amount": "1"}},
            {"receipt_hash": other["receipt_hash"]},
            {"provider_signature": other["provider_signature"]},
            {"provider_signature": None},
            {"prompt_salt": "0x" + "00" * 32},
            {"prompt_salt": None},
            {"receipt": None},
        ):
            with pytest.raises(HubClientError, match="the hub's answer"):
                check_job(job | change, pictures, asked)
        for false in (others, [b"no picture"], []):
            with pytest.raises(HubClientError, match=r"the hub's answer does not hold: .*pictures"):
                check_job(job, false, asked)
        with pytest.raises(HubClientError, match="another prompt"):
            check_job(job, pictures, asked.model_copy(update={"prompt": "a dog"}))

    def test_a_split_jobs_pictures_stand_in_their_shards_in_order(self, shared: Shared) -> None:
        job, pictures, asked = made_by(shared[0], prompts=["one", "two", "three", "four"])
        check_job(job, pictures, asked)
        assert len(job["receipt"]["shards"]) > 1
        for false in ([*pictures[2:], *pictures[:2]], pictures[::-1], [pictures[0], *pictures[:3]]):
            with pytest.raises(HubClientError, match="the hub's answer does not hold: pictures"):
                check_job(job, false, asked)
        with pytest.raises(HubClientError, match="another prompt"):
            check_job(job, pictures, asked.model_copy(update={"prompts": ["one", "two", "three", "five"]}))

    def test_a_part_of_a_job_is_held_against_it_as_well(self, shared: Shared) -> None:
        """Or a hub that calls a job cancelled could have any receipt taken for it."""
        hub, *_ = shared
        job, pictures, asked = made_by(hub, prompt="a part", n=1)
        more = asked.model_copy(update={"n": 2})
        for change in ({"prompt": "another"}, {"steps": 6}, {"seed": 1}):
            with pytest.raises(HubClientError, match="the hub's answer does not hold: "):
                check_job(job, pictures, more.model_copy(update=change))
        with pytest.raises(HubClientError, match="request_hash"):
            check_job(job, pictures, more)

    def test_pictures_alone_are_held_against_the_receipt(self, shared: Shared) -> None:
        """For who comes back for them and has not kept the request."""
        job, pictures, _ = made_by(shared[0], prompts=["one", "two", "three", "four"])
        check_pictures(job, pictures)
        check_pictures(job | {"receipt": None}, pictures)
        other, others, _ = made_by(shared[0], prompts=["five", "six", "seven", "eight"])
        named = {"pictures": other["pictures"]}
        for change, false in (
            ({}, others),
            ({}, pictures[::-1]),
            ({}, pictures[:-1]),
            ({"receipt": None}, others),
            (named, others),
            ({"pictures": []}, []),
            ({"pictures": job["pictures"][:-1]}, pictures[:-1]),
            ({"receipt_hash": other["receipt_hash"]}, pictures),
            ({"receipt": other["receipt"]}, pictures),
            ({"receipt": {}}, pictures),
        ):
            with pytest.raises(HubClientError, match="the hub's answer"):
                check_pictures(job | change, false)

    def test_what_the_receipt_is_not_for_is_not_written(self, shared: Shared, tmp_path: Path) -> None:
        job, (picture,), _ = made_by(shared[0], prompt="mine")
        other, (others,), _ = made_by(shared[0], prompt="not mine")

        def of(said: dict[str, Any], content: bytes) -> Callable[[str], object]:
            return lambda path: content if "/pictures/" in path else b"" if path.endswith("/events") else said

        out = tmp_path / "mine.png"
        for said, content in ((job, others), (job | {"pictures": other["pictures"]}, others)):
            with answering(of(said, content)) as (url, _posted):
                failed = run(url, "watch", job["job_id"], "-o", out)
            assert failed.exit_code == 1, failed.output
            assert "the hub's answer does not hold: pictures" in failed.stderr
            assert not out.exists()
        with answering(of(job, picture)) as (url, _posted):
            assert run(url, "watch", job["job_id"], "-o", out).exit_code == 0
        assert out.read_bytes() == picture


@pytest.mark.parametrize(
    "change",
    [
        {"status": None},
        {"mint": {}},
        {"receipt": {"units": 1, "unit_type": "images", "amount": "a lot"}},
        {"job_id": 7},
        {"job_id": "../../etc"},
        {"pictures": [{"number": 0}]},
        {"shards": [{"pictures": "many"}]},
        {"payouts": [{"provider": 1, "amount": "x"}]},
        {"detail": b'{"a":' * 100_000},
    ],
)
def test_a_hub_that_says_something_else_is_told_in_one_line(shared: Shared, change: dict[str, Any]) -> None:
    job = shared[0].post_job(prompt="something else").json()
    nested = change.get("detail")
    said: object = nested if isinstance(nested, bytes) else job | change
    with answering(lambda _path: said) as (url, _posted):
        failed = run(url, "status", "x")
    assert failed.exit_code == 1, failed.exception
    assert "is no hub" in failed.stderr or "without a JSON object" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_a_hub_that_is_away_for_a_while_is_waited_for(shared: Shared) -> None:
    """It starts anew, say; nginx answers meanwhile."""
    job = shared[0].post_job(prompt="patient").json()
    running = b'data: {"sequence": 1, "kind": "running"}\n\n'
    done = b'data: {"sequence": 2, "kind": "done"}\n\n'
    answers = {"/events": iter((running, 502, done)), "": iter((502, job | {"status": "running"}))}
    with (
        answering(lambda path: next(answers["/events" if path.endswith("/events") else ""])) as (url, _posted),
        HubClient(url, "any", timeout_s=60) as client,
    ):
        assert [event["kind"] for event in client.events(job["job_id"], 60)] == ["running", "done"]


def test_a_hub_that_stays_away_is_not_waited_for_longer_than_was_said() -> None:
    with (
        answering(lambda _path: 502) as (url, _posted),
        HubClient(url, "any", timeout_s=60) as client,
        pytest.raises(HubClientError, match="502"),
    ):
        list(client.events("0a1b", 0.5))


def test_an_end_and_a_mint_are_waited_for_beyond_a_hubs_restart(shared: Shared) -> None:
    job = shared[0].post_job(prompt="patient").json()
    ended = job | {"status": "done"}
    answers = iter(
        (502, job | {"status": "running"}, 502, ended, 502, ended | {"mint": job["mint"] | {"state": "minted"}})
    )
    with answering(lambda _path: next(answers)) as (url, _posted), HubClient(url, "any", timeout_s=60) as client:
        assert client.wait_for_end(job["job_id"], 60)["status"] == "done"
        assert client.wait_for_mint(job["job_id"], 60)["mint"]["state"] == "minted"


@pytest.mark.parametrize(
    ("form", "label"), [("settle", "settled"), ("mint", "mint"), ("mint_split", "mint"), (None, "mint")]
)
def test_what_a_deposit_pays_for_is_settled_and_not_minted(
    shared: Shared, capsys: pytest.CaptureFixture[str], form: str | None, label: str
) -> None:
    mint = {"form": form, "state": "minted", "transaction_hash": "0xfeed", "height": 7}
    print_job(shared[0].post_job(prompt="labelled").json() | {"mint": mint})
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "0xfeed" in line]
    assert line.split() == [label, "minted", "0xfeed"]


def test_nothing_that_a_hub_says_steers_the_terminal(shared: Shared, capsys: pytest.CaptureFixture[str]) -> None:
    print_job(shared[0].post_job(prompt="colours").json() | {"reason": "x", "detail": "\x1b[2Jgone"})
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("submit", "a cat", "--steps", "3"), 2, "--steps"),
        (("submit", "a cat", "--max-price", "a lot"), 2, "--max-price"),
        (("submit", "a cat", "--max-price", "0.0000000000000000001"), 2, "--max-price"),
        (("submit", "a cat", "--model", "nobody/has-it"), 1, "no provider of this hub offers this model"),
        (("submit", "a cat", "--hub", "nonsense"), 1, "http://"),
        (("submit", "a cat", "--hub", "http://127.0.0.1:9"), 1, "cannot reach"),
        (("status", "no-such-job"), 1, "no job's id"),
        (("status", "nosuchjob"), 1, "no job of yours"),
        (("watch", "nosuchjob"), 1, "no job of yours"),
        (("cancel", "nosuchjob"), 1, "no job of yours"),
        (("status", "../providers"), 1, "no job's id"),
        (("status", "x", "--api-key", "wrong-key-0123456789"), 1, "API key"),
    ],
)
def test_what_goes_wrong_is_one_line(
    shared: Shared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    failed = run(shared[0].url, *arguments)
    assert failed.exit_code == code, failed.output
    assert words in failed.stderr
    assert list(tmp_path.iterdir()) == []
