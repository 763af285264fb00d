"""Settings: every one documented, flags before environment before `.env`, the plan's names, and clear refusals."""

from pathlib import Path
from typing import Any

import pytest

from provider.errors import ConfigurationError
from provider.generation import EMBEDDED_MODEL
from provider.settings import ENVIRONMENT_PREFIX, OTHER_NAMES, ProviderSettings, unknown_variables

README = Path(__file__).parents[2] / "provider" / "README.md"
PLAN_NAMES = {"api_key": "API_KEY", "model": "MODEL_ID", "bind_host": "BIND_HOST", "bind_port": "BIND_PORT"}


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Without the developer's own `.env` and variables."""
    monkeypatch.chdir(tmp_path)
    for name in ProviderSettings.model_fields:
        monkeypatch.delenv(ENVIRONMENT_PREFIX + name.upper(), raising=False)
    for name in OTHER_NAMES.values():
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_every_setting_is_documented() -> None:
    text = README.read_text(encoding="utf-8")
    for name, field in ProviderSettings.model_fields.items():
        assert field.description, name
        assert f"| `AITBC_PROVIDER_{name.upper()}` |" in text, f"{name} is missing in provider/README.md"
        assert field.description in text, f"provider/README.md says something else of {name}"


def test_the_documentation_names_no_setting_that_is_gone() -> None:
    import re

    named = set(re.findall(r"AITBC_PROVIDER_([A-Z0-9_]+)", README.read_text(encoding="utf-8")))
    assert named <= {name.upper() for name in ProviderSettings.model_fields} | {"URL"}


def test_flags_come_before_the_environment_and_that_before_dotenv(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (working_folder / ".env").write_text(
        "AITBC_PROVIDER_QUEUE_LIMIT=1\nAITBC_PROVIDER_MAX_PICTURES=1\nAITBC_PROVIDER_CPU_THREADS=1\nUNRELATED=x\n"
    )
    monkeypatch.setenv("AITBC_PROVIDER_QUEUE_LIMIT", "2")
    monkeypatch.setenv("AITBC_PROVIDER_MAX_PICTURES", "2")
    settings = ProviderSettings.build(queue_limit=3, cpu_threads=None)
    assert (settings.queue_limit, settings.max_pictures, settings.cpu_threads) == (3, 2, 1)


@pytest.mark.parametrize("place", ["environment", "dotenv"])
def test_the_plans_names_work(working_folder: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    variables = {
        "MODEL_ID": "runwayml/stable-diffusion-v1-5",
        "BIND_HOST": "127.0.0.2",
        "BIND_PORT": "9001",
        "API_KEY": "a-secret-$of-some-length",
    }
    if place == "environment":
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
    else:
        (working_folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    settings = ProviderSettings.build()
    assert settings.public_model_name == "runwayml/stable-diffusion-v1-5"
    assert (settings.bind_host, settings.bind_port) == ("127.0.0.2", 9001)
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "a-secret-$of-some-length"
    assert "a-secret" not in repr(settings)


@pytest.mark.parametrize(("setting", "plan_name"), PLAN_NAMES.items())
def test_of_two_names_the_nearer_place_wins_and_then_our_own(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch, setting: str, plan_name: str
) -> None:
    own_name = f"AITBC_PROVIDER_{setting.upper()}"
    own, plan, flag = ("8001", "8002", "8003") if setting == "bind_port" else ("own-name", "plan-name", "flag-name")

    def value() -> str:
        found = getattr(ProviderSettings.build(), setting)
        if setting == "model":
            return str(found[0])
        return str(found.get_secret_value() if setting == "api_key" else found)

    (working_folder / ".env").write_text(f"{own_name}={own}\n{plan_name}={plan}\n")
    assert value() == own
    monkeypatch.setenv(plan_name, plan)
    assert value() == plan
    monkeypatch.setenv(own_name, own)
    assert value() == own
    monkeypatch.setenv(own_name, "")
    assert value() == plan
    assert str(getattr(ProviderSettings.build(**{setting: flag}), setting)) != plan


def test_the_standard_variable_of_telemetry_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ProviderSettings.build().telemetry_endpoint is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/")
    assert ProviderSettings.build().telemetry_endpoint == "http://collector:4318"


def test_a_dotenv_that_cannot_be_read_is_named(working_folder: Path) -> None:
    (working_folder / ".env").write_bytes(b"API_KEY=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match=r"\.env"):
        ProviderSettings.build()


def test_misspelt_variables_are_found(working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (working_folder / ".env").write_text("AITBC_PROVIDER_PRICE=1\nOTHER=2\n")
    monkeypatch.setenv("AITBC_PROVIDER_QUEUE_LIMITS", "2")
    monkeypatch.setenv("AITBC_PROVIDER_QUEUE_LIMIT", "2")
    assert unknown_variables() == ["AITBC_PROVIDER_PRICE", "AITBC_PROVIDER_QUEUE_LIMITS"]


# Models and prices


def test_without_models_there_is_the_embedded_one() -> None:
    settings = ProviderSettings.build()
    assert settings.public_models == {EMBEDDED_MODEL: EMBEDDED_MODEL}
    assert settings.pipeline_options().models == settings.public_models


def test_several_models_have_names_and_prices(working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (working_folder / "my model").mkdir()
    monkeypatch.setenv("AITBC_PROVIDER_MODEL", "sd=runwayml/stable-diffusion-v1-5, my model ,aitbc/tiny-sd")
    monkeypatch.setenv("AITBC_PROVIDER_PRICES", "my-model=7,aitbc/tiny-sd=0")
    settings = ProviderSettings.build(preload=["my-model"], price_per_unit="5", warm_shapes="512x512,512x768")
    assert settings.public_models == {
        "sd": "runwayml/stable-diffusion-v1-5",
        "my-model": "my model",
        "aitbc/tiny-sd": "aitbc/tiny-sd",
    }
    assert [settings.price_of(name) for name in settings.public_models] == [5, 7, 0]
    options = settings.pipeline_options()
    assert (options.preload, options.warm_shapes) == (("my-model",), ((512, 512), (512, 768)))


def test_a_folders_path_never_leaves_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / "my, model=2"
    folder.mkdir()
    assert ProviderSettings.build(model=[str(folder)]).public_model_name == "my--model-2"
    assert ProviderSettings.build(model=[str(folder)], model_name="sd").public_model_name == "sd"
    assert ProviderSettings.build(model=[f"sd={folder}"]).public_models == {"sd": str(folder)}


@pytest.mark.parametrize(("host", "endpoint"), [("127.0.0.1", "http://127.0.0.1:7000"), ("::1", "http://[::1]:7000")])
def test_the_endpoint_follows_the_address(host: str, endpoint: str) -> None:
    assert ProviderSettings.build(bind_host=host, bind_port=7000).public_endpoint == endpoint


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:7000"),
        ("::", "http://[::1]:7000"),
        ("192.0.2.7", "http://192.0.2.7:7000"),
    ],
)
def test_this_machine_reaches_it_locally(host: str, url: str) -> None:
    assert ProviderSettings.build(bind_host=host, bind_port=7000).local_url == url


def test_pictures_lie_in_the_data_folder_unless_told_otherwise() -> None:
    assert ProviderSettings.build(data_dir="d").artifacts_location == "d/artifacts"
    assert ProviderSettings.build(data_dir="d", artifacts="s3://b/p").artifacts_location == "s3://b/p"


@pytest.mark.parametrize(
    "bad",
    [
        {"price_per_unit": "1.5"},
        {"price_per_unit": "-1"},
        {"price_per_unit": "²"},
        {"price_per_unit": True},
        {"price_per_unit": str(2**128 + 1)},
        {"prices": "aitbc/tiny-sd"},
        {"prices": "aitbc/tiny-sd=0.5"},
        {"prices": "unknown=5"},
        {"preload": "unknown"},
        {"model": "a=/tmp,a=/usr"},
        {"model": ","},
        {"model": "=/tmp"},
        {"model": "a="},
        {"model": "with space=/tmp"},
        {"model": ",".join(f"m{number}=/tmp" for number in range(17))},
        {"model": "x" * 1025},
        {"model_name": "with space"},
        {"model_name": "a=b"},
        {"bind_port": 65536},
        {"bind_port": "http"},
        {"bind_host": "x" * 256},
        {"payout": "0x12"},
        {"payout": "0xD8DA6bf26964af9d7eed9e03e53415d37aa96046"},
        {"node_url": "ftp://example.org"},
        {"node_url": "http://["},
        {"node_url": "http://host:99999"},
        {"telemetry_endpoint": "collector:4318"},
        {"endpoint": "http://:80"},
        {"rate_limit": "often"},
        {"failed_login_limit": "0/minute"},
        {"device": "tpu"},
        {"precision": "int8"},
        {"backend": "dask"},
        {"ray_address": "not an address"},
        {"ray_replicas": 0},
        {"unit_type": "hours"},
        {"job_timeout_s": 0},
        {"job_timeout_s": float("nan")},
        {"drain_timeout_s": -1},
        {"drain_timeout_s": float("inf")},
        {"batch_wait_ms": float("nan")},
        {"max_batch_rows": 0},
        {"max_pictures": 17},
        {"vram_limit_mib": -1},
        {"warm_shapes": "512"},
        {"warm_shapes": "512x513"},
        {"warm_shapes": "128x512"},
        {"cors_origins": "example.org"},
        {"cors_origins": "https://example.org/path"},
        {"trusted_proxies": "localhost"},
        {"trusted_proxies": ",".join(f"10.0.0.{number}" for number in range(65))},
        {"image_body_max_bytes": 1},
        {"link_ttl_s": 604_801},
        {"artifact_keep_count": -1},
        {"artifact_keep_mib": 0},
        {"job_keep_days": 0},
        {"receipt_keep_days": 0},
        {"trajectory_keep_hours": 0},
        {"retention_interval_s": 0},
        {"register_at_start": "perhaps"},
        {"no_such_setting": 1},
    ],
)
def test_bad_settings_are_named(bad: dict[str, Any]) -> None:
    (name,) = bad
    with pytest.raises(ConfigurationError, match=f"^{name}: ") as caught:
        ProviderSettings.build(**bad)
    assert caught.value.reason == "bad_setting"
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("hub.example.org", None),
        ("ftp://hub.example.org", None),
        ("wss://", None),
        ("wss://alice:secret@hub.example.org", None),
        ("wss://hub.example.org?token=secret", None),
        ("wss://hub.example.org/#hub", None),
        ("wss://hub.example.org", ("wss://hub.example.org/v1/workers",)),
        ("wss://hub.example.org,https://HUB.example.org/", ("wss://hub.example.org/v1/workers",)),
        ("https://hub.example.org/", ("wss://hub.example.org/v1/workers",)),
        ("http://127.0.0.1:8080,ws://h/path", ("ws://127.0.0.1:8080/v1/workers", "ws://h/path")),
    ],
)
def test_hubs_are_dialled_by_websocket(text: str, urls: tuple[str, ...] | None) -> None:
    if urls is None:
        with pytest.raises(ConfigurationError, match="hub:"):
            ProviderSettings.build(hub=text)
    else:
        assert ProviderSettings.build(hub=text).hub == urls
