"""`aitbc provider generate`: pictures, job files and receipts in a folder, and what it refuses."""

import hashlib
import json
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, recover_provider
from provider.cli import app
from provider.receipts.job_file import read_job_file
from wallet.keystore import LIGHT_SCRYPT_N, save_key
from wallet.known_networks import KnownNetwork, KnownNetworks

PROMPT = "a red circle on a blue background"
PROGRAM = [sys.executable, "-m", "genesis.cli", "provider"]
QUICK = ["--steps", "5", "--size", "256x256", "--guidance", "2.5"]


class Command:
    """The command in a folder of its own, against one provider."""

    def __init__(self, running: Any, folder: Path) -> None:
        self.running = running
        self.folder = folder
        self.key_file = folder / "api.key"
        self.key_file.write_text(running.client_secret + "\n")
        self.key_file.chmod(0o600)

    def arguments(self, *words: str) -> list[str]:
        return ["generate", PROMPT, "--url", self.running.url, "--api-key-file", str(self.key_file), *QUICK, *words]

    def run(self, *words: str) -> Result:
        """In this process, whose standard output has the provider's log as well."""
        return CliRunner().invoke(app, self.arguments(*words))

    def output(self, *words: str) -> str:
        """Of a process of its own that ends well."""
        arguments = [*PROGRAM, *self.arguments(*words)]
        ended = subprocess.run(arguments, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    def made(self, *words: str) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.output("--json", *words))
        return said


@pytest.fixture
def command(running: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    for name in ("AITBC_API_KEY", "API_KEY", "AITBC_PROVIDER_URL"):
        monkeypatch.delenv(name, raising=False)
    return Command(running, tmp_path)


# What it leaves


def test_a_picture_its_job_file_and_its_receipt(command: Command, provider_key: PrivateKey) -> None:
    said = command.output("-o", "out.png", "--seed", "7", "--negative", "noise", "--receipt-file", "receipt.json")
    assert said.startswith("out.png  seed 7\n")
    assert to_checksum_address(provider_key.address) in said
    picture = (command.folder / "out.png").read_bytes()
    with Image.open(command.folder / "out.png") as opened:
        assert opened.size == (256, 256)

    job_path = command.folder / "out.png.job.json"
    assert stat.S_IMODE(job_path.stat().st_mode) == 0o600, "it holds the prompt"
    job = json.loads(job_path.read_text())
    assert (job["request"]["prompt"], job["request"]["negative_prompt"], job["request"]["seed"]) == (PROMPT, "noise", 7)
    assert job["pictures"] == [{"file": "out.png", "seed": 7, "sha256": hashlib.sha256(picture).hexdigest()}]
    read = read_job_file(job_path.read_bytes())
    assert read.asked_for is not None
    assert read.asked_for.prompt == PROMPT
    assert len(read.profiles) == 1, "the run was committed to"

    signed = json.loads((command.folder / "receipt.json").read_text())
    receipt = Receipt.from_object(signed["receipt"])
    assert recover_provider(receipt, bytes.fromhex(signed["provider_signature"][2:])) == provider_key.address
    assert receipt.artifact_sha256 == hashlib.sha256(picture).hexdigest()
    assert PROMPT not in (command.folder / "receipt.json").read_text()
    assert {path.name for path in command.folder.iterdir()} == {
        "api.key",
        "out.png",
        "out.png.job.json",
        "receipt.json",
    }


def test_several_pictures_as_json(command: Command) -> None:
    said = command.made("-o", "many.webp", "--count", "2", "--seed", "1", "--quality", "50", "--scheduler", "euler_a")
    assert said["pictures"] == [{"file": "many-1.webp", "seed": 1}, {"file": "many-2.webp", "seed": 2}]
    for name in ("many-1.webp", "many-2.webp"):
        with Image.open(command.folder / name) as opened:
            assert opened.format == "WEBP"
    assert said["job_file"] == "many.webp.job.json"
    assert read_job_file((command.folder / "many.webp.job.json").read_bytes()).picture_names == (
        "many-1.webp",
        "many-2.webp",
    )


def test_a_picture_drawn_anew_and_its_source_named(command: Command) -> None:
    (command.folder / "in").mkdir()
    Image.new("RGB", (100, 80), (200, 0, 0)).save(command.folder / "in" / "source.jpg")
    command.made("-o", "anew.jpg", "--init-image", "in/source.jpg", "--strength", "0.5")
    with Image.open(command.folder / "anew.jpg") as opened:
        assert opened.format == "JPEG"
    job = json.loads((command.folder / "anew.jpg.job.json").read_text())
    source = (command.folder / "in" / "source.jpg").read_bytes()
    assert job["source"] == "in/source.jpg"
    assert job["request"]["source_sha256"] == hashlib.sha256(source).hexdigest()
    assert job["request"]["strength"] == 0.5
    assert read_job_file((command.folder / "anew.jpg.job.json").read_bytes()).asked_for is not None


def test_a_signed_request(command: Command, provider_key: PrivateKey) -> None:
    client_key = PrivateKey(b"\x53" * 32)
    save_key(command.folder / "key.json", client_key, "password", scrypt_n=LIGHT_SCRYPT_N)
    (command.folder / "password").write_text("password\n")
    provider = to_checksum_address(provider_key.address)
    flags = ("--keystore", "key.json", "--password-file", "password", "--max-price", "1.5", "--home", "home")
    for more, complaint in (((), "--provider"), (("--provider", provider), "--chain-id")):
        refused = command.run(*flags, *more)
        assert (refused.exit_code, complaint in refused.stderr) == (2, True), refused.stderr
    network = KnownNetwork(chain_id=424_242, genesis_hash="0x" + "17" * 32, name="tests")
    KnownNetworks(command.folder / "home").add(network)
    elsewhere = command.run(*flags, "--provider", provider, "--chain-id", "7")
    assert elsewhere.exit_code == 1, elsewhere.stderr
    said = command.made(*flags, "--provider", provider)
    assert said["provider"] == provider
    job = json.loads((command.folder / "out.png.job.json").read_text())
    assert job["client_request"]["client"] == job["receipt"]["client"] == to_checksum_address(client_key.address)
    assert job["client_request"]["max_price"] == str(15 * 10**17)
    read = read_job_file((command.folder / "out.png.job.json").read_bytes())
    assert read.asked_for is not None
    assert read.asked_for.claim is not None


def test_a_prompt_from_standard_input_and_a_key_from_the_environment(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", command.running.client_secret)
    monkeypatch.setenv("AITBC_PROVIDER_URL", command.running.url)
    result = CliRunner().invoke(app, ["generate", "-", *QUICK], input="a grüner Kreis\n")
    assert result.exit_code == 0, result.stderr
    assert json.loads((command.folder / "out.png.job.json").read_text())["request"]["prompt"] == "a grüner Kreis"


def test_nothing_is_replaced_without_being_told(command: Command) -> None:
    for taken in ("out.png", "out.png.job.json"):
        (command.folder / taken).write_text("mine")
        result = command.run()
        assert (result.exit_code, "--force" in result.stderr) == (2, True)
        assert (command.folder / taken).read_text() == "mine"
        assert len(list(command.folder.iterdir())) == 2, "nothing else was written"
        (command.folder / taken).unlink()
    (command.folder / "out.png").write_text("old")
    command.made("--force")
    assert (command.folder / "out.png").read_bytes().startswith(b"\x89PNG")


# What it refuses


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["-o", "out.gif"], 2, "must end in .png"),
        (["-o", "."], 2, "must end in .png"),
        (["--size", "512"], 2, "WIDTHxHEIGHT"),
        (["--size", "100x100"], 1, "width"),
        (["--steps", "3"], 1, "steps"),
        (["--guidance", "nan"], 1, "guidance"),
        (["--scheduler", "magic"], 1, "scheduler"),
        (["--model", "another"], 1, "model"),
        (["--init-image", "nowhere.png"], 1, "nowhere.png"),
        (["--max-price", "1"], 2, "--keystore"),
        (["--keystore", "key.json"], 2, "--max-price"),
        (["--provider", "0x12"], 2, "--provider"),
        (["--provider", "0x" + "11" * 20], 1, "not by"),
        (["--url", "nonsense"], 1, "URL"),
        (["--url", "http://127.0.0.1:9"], 1, "no answer"),
        (["--api-key-file", "nowhere"], 1, "nowhere"),
    ],
)
def test_what_goes_wrong_is_one_line(command: Command, words: list[str], code: int, complaint: str) -> None:
    result = command.run(*words)
    assert (result.exit_code, complaint in result.stderr) == (code, True), result.stderr
    assert result.stderr.count("\n") == 1
    assert PROMPT not in result.stderr
    assert [path.name for path in command.folder.iterdir()] == ["api.key"]


def test_keys_that_are_none(command: Command) -> None:
    (command.folder / "open.key").write_text(command.running.client_secret)
    (command.folder / "open.key").chmod(0o644)
    (command.folder / "wrong.key").write_text("wrong-secret-0123456789")
    (command.folder / "wrong.key").chmod(0o600)
    for file_name, complaint in (("open.key", "chmod 600"), ("wrong.key", "not known")):
        result = command.run("--api-key-file", file_name)
        assert (result.exit_code, complaint in result.stderr) == (1, True), result.stderr
        assert "secret" not in result.stderr
    result = CliRunner().invoke(app, ["generate", PROMPT])
    assert (result.exit_code, "AITBC_API_KEY" in result.stderr) == (2, True)


# Ctrl-C


def test_ctrl_c_cancels_the_job(command: Command, eventually: Callable[..., None]) -> None:
    long = command.arguments("--steps", "100", "--size", "1024x1024")
    before = newest_job(command.running)
    # Whoever runs the tests in a shell's background has SIGINT ignored, which programs inherit.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *PROGRAM, *long],
        cwd=command.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def is_running() -> bool:
        job = newest_job(command.running)
        return job is not None and job != before and job["state"] == "running"

    eventually(is_running, timeout_s=120)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "aitbc provider: cancelled\n"
    cancelled = newest_job(command.running)
    assert cancelled is not None
    assert cancelled["state"] == "cancelled"
    assert [path.name for path in command.folder.iterdir()] == ["api.key"]


def newest_job(running: Any) -> dict[str, Any] | None:
    items = running.mine("/v1/jobs?limit=1").json()["items"]
    return items[0] if items else None
