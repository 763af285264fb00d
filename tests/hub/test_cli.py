"""`aitbc hub`: a job sent, watched, asked for and taken back from the command line; providers listed and banned."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from hub.cli import app
from tests.hub.dialled import DialledProvider, serve_honestly
from tests.hub.running import CLIENT_KEYS, HubProcess, wait_until

pytestmark = pytest.mark.timeout(300)

Shared = tuple[HubProcess, DialledProvider, DialledProvider]
SMALL = ("--steps", "5", "--width", "256", "--height", "256")


def hub_cli(hub: HubProcess, *arguments: str) -> Result:
    environment = {"AITBC_HUB_URL": hub.url, "AITBC_HUB_API_KEY": CLIENT_KEYS["alice"]}
    return CliRunner().invoke(app, list(arguments), env=environment)


def jobs_of(hub: HubProcess) -> int:
    return len(hub.request("GET", "/v1/jobs", params={"limit": 200}).json()["items"])


def answer_of(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_submit_writes_pictures_that_the_receipt_is_for(shared: Shared, tmp_path: Path) -> None:
    hub, *_ = shared
    out = tmp_path / "cat.png"
    job = answer_of(hub_cli(hub, "submit", "a cat", "-n", "3", "-o", str(out), "--wait-mint", "--json", *SMALL))
    assert (job["status"], job["mint"]["state"]) == ("done", "minted")
    assert [Path(path).name for path in job["files"]] == ["cat-0.png", "cat-1.png", "cat-2.png"]
    for path in job["files"]:
        with Image.open(path) as picture:
            assert picture.size == (256, 256)
    again = answer_of(hub_cli(hub, "status", job["job_id"], "--json"))
    assert again["receipt_hash"] == job["receipt_hash"]
    watched = hub_cli(hub, "watch", job["job_id"], "--json")
    assert [json.loads(line)["kind"] for line in watched.stdout.splitlines()][-1] == "done"


def test_progress_without_a_terminal_says_which_job_and_how_many_pictures(shared: Shared, tmp_path: Path) -> None:
    told = hub_cli(shared[0], "submit", "a cat", "-n", "2", "-o", str(tmp_path / "cat.png"), *SMALL)
    lines = told.stderr.splitlines()
    job_id = lines[0].removeprefix("job ")
    assert hub_cli(shared[0], "status", job_id).exit_code == 0
    assert lines[1] == "queued"
    assert lines[-1] == "done"
    assert "2 of 2 pictures" in lines


def test_the_pictures_of_a_job_that_was_not_waited_for_are_written_later(shared: Shared, tmp_path: Path) -> None:
    job = answer_of(hub_cli(shared[0], "submit", "a", "b", "--no-wait", "--json", *SMALL))
    watched = hub_cli(shared[0], "watch", job["job_id"], "-o", str(tmp_path / "letter.png"))
    assert watched.exit_code == 0, watched.output
    for number in range(2):
        path = tmp_path / f"letter-{number}.png"
        assert str(path) in watched.stdout
        with Image.open(path) as picture:
            assert picture.size == (256, 256)


def test_nothing_is_ordered_that_could_not_be_written(shared: Shared, tmp_path: Path) -> None:
    before = jobs_of(shared[0])
    for out in (tmp_path / "nowhere" / "cat.png", tmp_path):
        refused = hub_cli(shared[0], "submit", "a cat", "-o", str(out), *SMALL)
        assert refused.exit_code == 2
        assert "--out" in refused.stderr
    assert jobs_of(shared[0]) == before


def test_a_refusal_says_what_to_do(shared: Shared) -> None:
    refused = hub_cli(shared[0], "submit", "a cat", "--max-price", "0.000001", *SMALL)
    assert refused.exit_code == 1
    assert "(price_too_low); --dry-run without a maximum says what it costs" in refused.stderr


def test_a_dry_run_and_a_job_that_is_taken_back(
    make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider]
) -> None:
    hub = make_hub()

    async def never(_provider: DialledProvider, _assignment: Any) -> None:
        """Nothing."""

    provider = dial(hub, behaviour=never)
    assert "AIT, done in about" in hub_cli(hub, "submit", "a dog", "--dry-run", *SMALL).stdout
    job = answer_of(hub_cli(hub, "submit", "a dog", "--no-wait", "--json", *SMALL))
    assert answer_of(hub_cli(hub, "cancel", job["job_id"], "--json"))["status"] == "cancelled"
    provider.behaviour = serve_honestly
    assert hub_cli(hub, "submit", "a dog", "--model", "nobody/has-it", *SMALL).exit_code == 1


def test_a_banned_provider_is_sent_away_until_it_is_not_banned(
    make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider]
) -> None:
    hub = make_hub()
    provider = dial(hub)
    data_dir = ("--data-dir", str(hub.folder / "data"))
    listed = answer_of(hub_cli(hub, "providers", "--json"))
    assert [each["address"] for each in listed] == [provider.address]
    assert hub_cli(hub, "ban", provider.address, "--reason", "a test", *data_dir).exit_code == 0
    wait_until(lambda: not answer_of(hub_cli(hub, "providers", "--json"))[0]["is_connected"])
    assert " banned: a test" in hub_cli(hub, "providers").stdout
    public = hub.request("GET", f"/v1/providers/{provider.address}/reputation").json()
    assert public["banned"] == answer_of(hub_cli(hub, "providers", "--json"))[0]["banned"] == "a test"
    assert hub_cli(hub, "unban", provider.address, *data_dir).exit_code == 0
    assert hub.request("GET", f"/v1/providers/{provider.address}/reputation").json()["banned"] is None
    wait_until(lambda: answer_of(hub_cli(hub, "providers", "--json"))[0]["is_connected"])


def test_init_makes_what_a_hub_needs_and_overwrites_nothing(shared: Shared, chain: Any, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    made = answer_of(hub_cli(shared[0], "init", "--data-dir", str(folder), "--node", chain.url, "--json"))
    assert made["chain_id"] == chain.chain_id
    for name in ("attester.json", "attester-password", "clients.toml"):
        assert (folder / name).stat().st_mode & 0o077 == 0
    assert hub_cli(shared[0], "init", "--data-dir", str(folder), "--node", chain.url).exit_code == 1


@pytest.mark.parametrize("name", [("--hub-id", "bad id"), ("--hub-id", "0x" + "ab" * 20), ("--client", "a b")])
def test_init_refuses_names_that_no_hub_would_run_with(
    shared: Shared, chain: Any, tmp_path: Path, name: tuple[str, str]
) -> None:
    folder = tmp_path / "new"
    refused = hub_cli(shared[0], "init", "--data-dir", str(folder), "--node", chain.url, *name)
    assert refused.exit_code == 2
    assert name[0] in refused.stderr
    assert not folder.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "", *SMALL),
        ("submit", "a", "--steps", "1"),
        ("submit", "a", "--escrow"),
        ("submit", "a", "-n", "999"),
    ],
)
def test_wrong_usage(shared: Shared, arguments: tuple[str, ...]) -> None:
    assert hub_cli(shared[0], *arguments).exit_code != 0
