"""The registry entry, against a real validator process: kept true, changed and taken back; one price for all models."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from typer.testing import CliRunner

from chain.client import NodeClient
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.sla import SignedServiceLevel, sign_service_level
from provider.cli import app
from provider.errors import ConfigurationError
from provider.minting.registration import Registrar, RegistryEntry, find_provider, registry_entry
from provider.settings import ProviderSettings
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from provider.storage.rows import ReceiptState
from wallet.keystore import LIGHT_SCRYPT_N, save_key

STRANGER = PrivateKey(b"\x63" * 32)
PRICE = 10**18
WithEarner = Callable[..., None]


def entry(**changes: Any) -> RegistryEntry:
    standard = RegistryEntry("http://127.0.0.1:8000", ("aitbc/tiny-sd",), PRICE, "gpu_seconds", 0)
    return dataclasses.replace(standard, **changes)


def test_the_registry_entry_is_kept_true(with_earner: WithEarner, key: PrivateKey) -> None:
    async def scenario(earner: Any) -> None:
        registrar = Registrar(earner.account)
        assert await registrar.view() is None
        payout = to_checksum_address(STRANGER.address)
        await registrar.ensure(entry(payout=payout))
        with structlog.testing.capture_logs() as logs:
            await registrar.ensure(entry(payout=payout))
            await registrar.ensure(entry(payout=to_checksum_address(key.address)))
        assert [(log["event"], log["payout"]) for log in logs] == [("payout_unchanged", payout)]
        assert (await earner.account.view()).nonce == 1
        await registrar.ensure(entry(price_per_unit=5, models=("a", "b"), unit_type="images", vram_mib=6144))
        view = await find_provider(earner.client, key.address)
        assert view is not None
        assert (view.active, int(view.price_per_unit), view.models, view.payout) == (True, 5, ["a", "b"], payout)
        receipt = earner.attested(1)
        before = (await earner.client.account(STRANGER.address)).balance
        await earner.mint_until((receipt, ReceiptState.FINAL))
        assert (await earner.client.account(STRANGER.address)).balance == before + PRICE
        await registrar.withdraw()
        view = await find_provider(earner.client, key.address)
        assert view is not None
        assert not view.active

    with_earner(scenario)


def test_a_data_folder_of_another_network_is_refused(with_earner: WithEarner, tmp_path: Path) -> None:
    async def nothing(_earner: Any) -> None:
        return None

    with Database(tmp_path / "data") as database:
        FolderIdentity(database).bind("genesis_hash", "0x" + "00" * 32)
    with pytest.raises(ConfigurationError, match="belongs to genesis_hash"):
        with_earner(nothing)


def test_the_commands_for_the_registry_entry(
    node: Any, tmp_path: Path, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_key(tmp_path / "key.json", key, "password", scrypt_n=LIGHT_SCRYPT_N)
    (tmp_path / "password").write_text("password")
    who = ["--keystore", str(tmp_path / "key.json"), "--node-url", node.url, "--json"]

    def run(*words: str, exit_code: int = 0) -> dict[str, Any]:
        secret = [] if words[0] == "status" else ["--password-file", str(tmp_path / "password")]
        result = CliRunner().invoke(app, [*words, *who, *secret])
        assert result.exit_code == exit_code, result.output
        fields: dict[str, Any] = json.loads(result.stdout) if exit_code == 0 else {"error": result.stderr}
        return fields["chain"] if words[0] == "status" else fields

    assert run("status")["registered"] is False
    assert "not registered" in run("withdraw", exit_code=1)["error"]
    registered = run("register", "--endpoint", "https://gpu.example.org", "--price-per-unit", "7", "--vram-mib", "6144")
    assert registered["provider"] == to_checksum_address(key.address)
    assert "already registered" in run("register", exit_code=1)["error"]
    run("update", "--price-per-unit", "8", "--model", "runwayml/stable-diffusion-v1-5")
    entry_now = run("status")
    assert (entry_now["registered"], entry_now["endpoint"]) == (True, "https://gpu.example.org")
    assert (entry_now["price_per_unit"], entry_now["vram_mib"]) == ("8", 6144)
    assert entry_now["models"] == ["runwayml/stable-diffusion-v1-5"]
    run("withdraw")
    assert run("status")["registered"] is False


def test_the_entry_names_the_models_at_the_one_price(tmp_path: Path) -> None:
    """Hubs refuse a receipt at another price than the registry's, so what costs something else is not offered there."""
    for name in ("small", "large", "third"):
        (tmp_path / name).mkdir()
    models = [f"{name}={tmp_path / name}" for name in ("small", "large", "third")]
    settings = ProviderSettings.build(model=models, price_per_unit="5", prices=["large=9"])
    found = registry_entry(settings, "http://host:1", 6144)
    assert (found.models, found.price_per_unit, found.endpoint) == (("small", "third"), 5, "http://host:1")
    dearer = ProviderSettings.build(model=models, price_per_unit="5", prices=["small=9", "large=9"])
    found = registry_entry(dearer, "http://host:1", 6144)
    assert (found.models, found.price_per_unit) == (("small", "large"), 9)


def test_an_endpoint_that_nobody_could_reach_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="hubs cannot reach"):
        registry_entry(ProviderSettings.build(), "http://0.0.0.0:8000", 0)


def test_the_command_for_a_statement_of_service(
    node: Any, tmp_path: Path, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_key(tmp_path / "key.json", key, "password", scrypt_n=LIGHT_SCRYPT_N)
    (tmp_path / "password").write_text("password")
    who = ["--keystore", "key.json", "--password-file", "password", "--node-url", node.url, "--json"]

    def run(*words: str, exit_code: int = 0) -> Any:
        result = CliRunner().invoke(app, [*words, *who])
        assert result.exit_code == exit_code, result.output
        return json.loads(result.stdout) if exit_code == 0 else result.stderr

    terms = ("--availability-basis-points", "9950", "--p95-latency-ms", "30000")
    assert "not registered" in run("sla", "sla.json", *terms, exit_code=2)
    run("register", "--endpoint", "https://gpu.example.org", "--price-per-unit", "7")
    assert "needs --availability" in run("sla", "sla.json", "--p95-latency-ms", "30000", exit_code=2)
    assert not (tmp_path / "sla.json").exists()

    written = run("sla", "sla.json", *terms, "--valid-days", "30")
    signed = SignedServiceLevel.from_json((tmp_path / "sla.json").read_bytes())
    assert (signed.statement.endpoint, signed.statement.price_per_unit) == ("https://gpu.example.org", 7)
    assert signed.statement.valid_until - signed.statement.valid_from == 30 * 24 * 3600
    assert written["sla_hash"] == "0x" + signed.statement.hash.hex()
    with NodeClient(node.url) as client:
        assert client.provider(key.address).sla_hash is None
        published = run("sla", "sla.json", "--publish")
        assert client.provider(key.address).sla_hash == written["sla_hash"]
        # Again changes nothing, and costs nothing.
        nonce = client.account(key.address).nonce
        assert run("sla", "sla.json", "--publish")["transaction_hash"] is None
        assert client.account(key.address).nonce == nonce
    assert published["published"] is True

    assert "stays as it is" in run("sla", "sla.json", *terms, exit_code=2)
    (tmp_path / "sla.json").write_text((tmp_path / "sla.json").read_text().replace("9950", "9951"))
    assert "not signed by its provider" in run("sla", "sla.json", "--publish", exit_code=2)
    theirs = sign_service_level(STRANGER, msgspec.structs.replace(signed.statement, provider=STRANGER.address))
    (tmp_path / "theirs.json").write_text(json.dumps(theirs.to_object()))
    assert "another provider's" in run("sla", "theirs.json", "--publish", exit_code=2)
    other_chain = sign_service_level(key, msgspec.structs.replace(signed.statement, chain_id=1))
    (tmp_path / "other.json").write_text(json.dumps(other_chain.to_object()))
    assert "is for chain 1" in run("sla", "other.json", "--publish", exit_code=2)
    over = sign_service_level(key, msgspec.structs.replace(signed.statement, valid_from=1, valid_until=2))
    (tmp_path / "over.json").write_text(json.dumps(over.to_object()))
    assert "holds no longer" in run("sla", "over.json", "--publish", exit_code=2)
