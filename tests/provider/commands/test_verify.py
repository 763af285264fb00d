"""`aitbc provider verify` from end to end: a provider draws, a client keeps the job file, whoever has it checks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from chain.primitives.keys import PrivateKey
from provider.commands import generate, verify
from wallet.keystore import LIGHT_SCRYPT_N, save_key

Verify = Callable[..., Result]

app = typer.Typer()
generate.register(app)
verify.register(app)

DONE, OPEN, USAGE, FALSE = 0, 1, 2, 3


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def key_file(running: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's API key."""
    path: Path = tmp_path_factory.mktemp("key") / "key"
    path.write_text(running.client_secret)
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def job_file(running: Any, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two pictures that the running provider drew and committed to, signed for by a client with a key."""
    folder = tmp_path_factory.mktemp("job")
    save_key(folder / "client.json", PrivateKey(b"\x31" * 32), "secret", scrypt_n=LIGHT_SCRYPT_N)
    (folder / "password").write_text("secret\n")
    (folder / "password").chmod(0o600)
    flags = {
        "-o": folder / "out.png",
        "--url": running.url,
        "--api-key-file": key_file,
        "--steps": 6,
        "--size": "256x256",
        "--count": 2,
        "--guidance": 2.5,
        "--keystore": folder / "client.json",
        "--password-file": folder / "password",
        "--max-price": 100,
        "--provider": running.get("/v1/health").json()["provider"],
        "--chain-id": 424_242,
    }
    made = invoke("generate", "a red circle", *(part for pair in flags.items() for part in pair))
    assert made.exit_code == DONE, made.output
    path: Path = folder / "out.png.job.json"
    return path


@pytest.fixture
def check(job_file: Path) -> Verify:
    """Runs `verify … --json` on the job file."""
    return lambda *arguments: invoke("verify", job_file, "--json", *arguments)


def answer(result: Result) -> dict[str, Any]:
    """The JSON that was printed; the provider, which runs in this process, may have logged lines before it."""
    return dict(json.loads(result.stdout.splitlines()[-1]))


def states(result: Result) -> dict[str, bool | None]:
    return {entry["name"]: entry["passed"] for entry in answer(result)["checks"]}


def test_what_the_file_alone_shows(check: Verify) -> None:
    result = check()
    assert result.exit_code == DONE, result.output
    assert states(result) == {
        "receipt": True,
        "receipt_hash": True,
        "provider_signature": True,
        "trajectory_root": None,
        "request": True,
        "parameters": True,
        "client_signature": True,
        "artifact": True,
    }


def test_steps_are_opened_and_computed_again(check: Verify, running: Any, key_file: Path) -> None:
    result = check("--url", running.url, "--api-key-file", key_file, "--samples", 3)
    assert result.exit_code == DONE, result.output
    found = answer(result)
    assert states(result) | {"profile": True, "trajectory": True, "steps": True} == states(result)
    assert len([step for step in found["steps"] if 1 < step["step"] < 6]) == 3
    assert {0, 1, 6} < {step["step"] for step in found["steps"]}
    assert found["holds"] is True
    assert all(step["bit_equal"] for step in found["steps"])
    assert found["declared_profile"] == found["our_profile"]


def test_named_steps_for_people(job_file: Path, running: Any, key_file: Path) -> None:
    flags = ("--url", running.url, "--api-key-file", key_file, "--steps", "0,6", "--picture", 1)
    result = invoke("verify", job_file, *flags)
    assert result.exit_code == DONE, result.output
    assert "picture 1, step 0: bit for bit\npicture 1, step 6: bit for bit\n" in result.stdout


def test_proofs_alone(check: Verify, running: Any, key_file: Path) -> None:
    result = check("--url", running.url, "--api-key-file", key_file, "--only-open")
    assert result.exit_code == DONE, result.output
    assert states(result)["trajectory"] is True
    assert answer(result)["steps"] == []


def test_bare_receipt(job_file: Path, tmp_path: Path, running: Any, key_file: Path) -> None:
    """With its signature, as a provider answers; prompt, parameters and pictures are not asked for."""
    receipt = tmp_path / "receipt.json"
    known = json.loads(job_file.read_text())
    receipt.write_text(json.dumps({name: known[name] for name in ("receipt", "receipt_hash", "provider_signature")}))
    result = invoke("verify", receipt, "--json")
    assert (result.exit_code, states(result)["request"]) == (DONE, None)
    asked = ("--url", running.url, "--api-key-file", key_file)
    assert invoke("verify", receipt, *asked, "--only-open").exit_code == DONE
    refused = invoke("verify", receipt, *asked)
    assert (refused.exit_code, "job file" in refused.stderr) == (USAGE, True)


def test_receipt_that_nobody_signed(job_file: Path, tmp_path: Path) -> None:
    """Anybody can write one that names a provider."""
    known = json.loads(job_file.read_text())
    for number, unsigned in enumerate((known["receipt"], known | {"provider_signature": None})):
        path = job_file.parent / f"unsigned-{number}.json"
        path.write_text(json.dumps(unsigned))
        result = invoke("verify", path, "--json")
        assert (result.exit_code, states(result)["provider_signature"]) == (OPEN, None)
        assert answer(result)["holds"] is None


def test_job_without_its_pictures(job_file: Path, tmp_path: Path) -> None:
    """They are not beside the job file, or it names none: then nobody has seen what the receipt is for."""
    known = json.loads(job_file.read_text())
    for names in (known["pictures"], known["pictures"][:0]):
        (tmp_path / "job.json").write_text(json.dumps(known | {"pictures": names}))
        result = invoke("verify", tmp_path / "job.json", "--json")
        assert (result.exit_code, states(result)["artifact"]) == (OPEN, None)
        assert answer(result)["holds"] is None
    elsewhere = [flag for each in known["pictures"] for flag in ("--picture-file", job_file.parent / each["file"])]
    result = invoke("verify", tmp_path / "job.json", "--json", *elsewhere)
    assert (result.exit_code, answer(result)["holds"]) == (DONE, True)


def test_other_picture(check: Verify, tmp_path: Path) -> None:
    (tmp_path / "other.png").write_bytes(b"another picture")
    result = check("--picture-file", tmp_path / "other.png")
    assert (result.exit_code, states(result)["artifact"]) == (FALSE, False)
    assert answer(result)["holds"] is False


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"prompt_salt": "0x" + "00" * 32}, "parameters"),
        ({"receipt_hash": "0x" + "00" * 32}, "receipt_hash"),
        ({"provider_signature": "0x" + "11" * 65}, "provider_signature"),
        ({"client_request": None}, "client_signature"),
    ],
)
def test_forged_file(job_file: Path, tmp_path: Path, change: dict[str, Any], name: str) -> None:
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(json.loads(job_file.read_text()) | change))
    result = invoke("verify", forged, "--json")
    assert (result.exit_code, states(result)[name]) == (FALSE, False)


def test_more_steps_claimed_than_were_run(job_file: Path, tmp_path: Path, running: Any, key_file: Path) -> None:
    """The client asked for 20 and got 6: the receipt's hash shows it, and so does the run itself."""
    fields = json.loads(job_file.read_text())
    fields["parameters"]["steps"] = 20
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(fields))
    result = invoke("verify", forged, "--json", "--url", running.url, "--api-key-file", key_file)
    assert result.exit_code == FALSE
    assert (states(result)["request"], states(result)["trajectory"]) == (False, False)


def test_nobody_answers(check: Verify, key_file: Path) -> None:
    result = check("--url", "http://127.0.0.1:9", "--api-key-file", key_file)
    assert (result.exit_code, states(result)["trajectory"]) == (OPEN, None)
    assert answer(result)["holds"] is None
    result = check("--node-url", "http://127.0.0.1:9")
    assert (result.exit_code, states(result)["chain"]) == (OPEN, None)


def test_step_that_there_is_not(check: Verify, running: Any, key_file: Path) -> None:
    result = check("--url", running.url, "--api-key-file", key_file, "--steps", "7")
    assert (result.exit_code, states(result)["trajectory"]) == (OPEN, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--url", "http://127.0.0.1:9", "--steps", "one"), "--steps"),
        (("--url", "http://127.0.0.1:9", "--steps", "1,,2"), "--steps"),
        (("--url", "nonsense"), "http"),
        (("--url", "http://127.0.0.1:9", "--api-key-file", "no-such-file"), "no-such-file"),
        (("--picture-file", "no-such-file"), "no-such-file"),
        (("--picture-file", "/dev/zero"), "no file"),
    ],
)
def test_wrong_usage(check: Verify, key_file: Path, arguments: tuple[str, ...], words: str) -> None:
    keyed = arguments if "--api-key-file" in arguments else (*arguments, "--api-key-file", str(key_file))
    result = check(*keyed)
    assert result.exit_code in (OPEN, USAGE)
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_what_is_no_receipt(tmp_path: Path) -> None:
    for text in ("", "{}", "[" * 10_000, '{"receipt": {}}'):
        (tmp_path / "file").write_text(text)
        result = invoke("verify", tmp_path / "file")
        assert (result.exit_code, result.stdout) == (USAGE, "")
        assert result.stderr.count("\n") == 1
    assert invoke("verify", tmp_path / "nothing").exit_code == OPEN


def test_no_torch_unless_steps_are_computed(job_file: Path) -> None:
    import subprocess
    import sys

    script = (
        "import sys; from provider.commands.verifying_receipts import verify_receipt; "
        "from provider.commands.verify import VerifyOptions; from pathlib import Path; "
        f"verify_receipt(VerifyOptions(Path({str(job_file)!r}), (), None, None, None, None, 0, 2, False, None, 'auto', "
        "None, None, True)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, stdout=subprocess.DEVNULL)
