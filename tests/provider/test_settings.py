"""Settings: every one documented, flags before environment, the plan's names, and clear words for what cannot be."""

from pathlib import Path
from typing import Any

import pytest

from provider.errors import ConfigurationError
from provider.settings import ProviderSettings

README = Path(__file__).parents[2] / "provider" / "README.md"


def test_every_setting_is_documented() -> None:
    text = README.read_text(encoding="utf-8")
    for name, field in ProviderSettings.model_fields.items():
        assert field.description, name
        assert f"`AITBC_PROVIDER_{name.upper()}`" in text, f"{name} is missing in provider/README.md"


def test_environment_plan_names_and_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_ID", "runwayml/stable-diffusion-v1-5")
    monkeypatch.setenv("BIND_PORT", "9001")
    monkeypatch.setenv("API_KEY", "a-secret-of-some-length")
    monkeypatch.setenv("AITBC_PROVIDER_QUEUE_LIMIT", "3")
    settings = ProviderSettings.build(bind_port=9002, price_per_unit="0")
    assert settings.model == settings.public_model_name == "runwayml/stable-diffusion-v1-5"
    assert (settings.bind_port, settings.queue_limit, settings.price_per_unit) == (9002, 3, 0)
    assert settings.api_key is not None
    assert "a-secret" not in repr(settings)


def test_a_folders_path_never_leaves_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    assert ProviderSettings.build(model=str(folder)).public_model_name == "my-model"
    assert ProviderSettings.build(model=str(folder), model_name="sd").public_model_name == "sd"


@pytest.mark.parametrize(("host", "endpoint"), [("127.0.0.1", "http://127.0.0.1:7000"), ("::1", "http://[::1]:7000")])
def test_the_endpoint_follows_the_address(host: str, endpoint: str) -> None:
    assert ProviderSettings.build(bind_host=host, bind_port=7000).public_endpoint == endpoint


@pytest.mark.parametrize(
    "bad",
    [
        {"price_per_unit": "1.5"},
        {"price_per_unit": "-1"},
        {"price_per_unit": str(2**128 + 1)},
        {"bind_port": 65536},
        {"payout": "0x12"},
        {"payout": "0xD8DA6bf26964af9d7eed9e03e53415d37aa96046"},
        {"node_url": "ftp://example.org"},
        {"node_url": "http://["},
        {"node_url": "http://host:99999"},
        {"endpoint": "http://:80"},
        {"rate_limit": "often"},
        {"device": "tpu"},
        {"unit_type": "hours"},
        {"job_timeout_s": 0},
        {"model_name": "with space"},
        {"no_such_setting": 1},
    ],
)
def test_bad_settings_are_named(bad: dict[str, Any]) -> None:
    (name,) = bad
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        ProviderSettings.build(**bad)
