"""Settings: bounds, the environment, and that every one is documented."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub.cli import app
from hub.errors import HubConfigurationError
from hub.settings import HubSettings

DOCUMENT = Path(__file__).parents[2] / "docs" / "hub.md"
NEEDED: dict[str, Any] = {
    "data_dir": Path("d"),
    "node_url": "http://n",
    "attester_keystore": Path("k"),
    "clients_file": Path("c"),
}
REMOTE: dict[str, Any] = {
    "attester_keystore": None,
    "attester_signer_url": "https://s",
    "attester_signer_public_key": "0x02",
    "attester_signer_genesis_hash": "0x00",
}


def test_every_setting_is_documented_with_its_default() -> None:
    text = DOCUMENT.read_text()
    for name, field in HubSettings.model_fields.items():
        rows = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert len(rows) == 1, name
        if field.default is not None and not field.is_required():
            assert f"| {field.default} |" in rows[0], name


def test_environment_and_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AITBC_HUB_PORT", "9999")
    monkeypatch.setenv("AITBC_HUB_HUB_ID", "from-environment")
    settings = HubSettings.build(**NEEDED, hub_id="from-flag", host=None)
    assert (settings.port, settings.hub_id, settings.host) == (9999, "from-flag", "127.0.0.1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_dir": None}, "--data-dir is missing"),
        ({"hub_id": "two words"}, "--hub-id"),
        ({"hub_id": "x" * 65}, "--hub-id"),
        ({"hub_id": "0x" + "aB" * 20}, "--hub-id"),  # It would pass for a provider, for whom clients sign.
        ({"port": 65536}, "--port"),
        ({"max_attempts": 0}, "--max-attempts"),
        ({"check_proven": 0}, "--check-proven"),
        ({"newcomer_share": 0.6}, "--newcomer-share"),
        ({"webhook_networks": "10.0.0.1/8"}, "--webhook-networks"),
        ({"policy": "mine"}, "--policy"),
        ({"longest_job_s": float("nan")}, "--longest-job-s"),
        ({"fee_recipient": "0x12", "fee_basis_points": 5}, "--fee-recipient"),
        ({"fee_recipient": "0x" + "22" * 20}, "go together"),
        ({"fee_basis_points": 5}, "go together"),
        ({"fee_recipient": "0x" + "22" * 20, "fee_basis_points": 5_001}, "--fee-basis-points"),
        (REMOTE | {"record_outcomes": True}, "needs --attester-keystore"),
        ({"database_url": "postgresql://h/d", "artifacts": "a"}, "--secrets-file"),  # Each process would draw its own.
        ({"database_url": "postgresql://h/d", "secrets_file": Path("s")}, "--artifacts"),
        ({"keep_pictures_days": 3, "longest_job_s": 100_000}, "--keep-pictures-days"),
    ],
)
def test_setting_that_cannot_work(change: dict[str, Any], words: str) -> None:
    with pytest.raises(HubConfigurationError, match=words):
        HubSettings.build(**NEEDED | change)


def test_setting_that_cannot_work_is_wrong_usage(tmp_path: Path) -> None:
    """Exit code 2: systemd starts such a hub no second time."""
    refused = CliRunner().invoke(app, ["run", "--data-dir", str(tmp_path)], env={"AITBC_HUB_NODE_URL": None})
    assert refused.exit_code == 2
    assert "--node-url is missing" in refused.output
