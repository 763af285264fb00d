"""`aitbc provider sla`: a signed statement of service, in a file, and its hash in the chain's registry."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from provider.commands.flags import AsJson, Keystore, NodeUrl, PasswordFile
from provider.commands.outcome import report, show

if TYPE_CHECKING:
    from chain.client import AsyncNodeClient
    from chain.primitives.keys import PrivateKey
    from chain.primitives.sla import ServiceLevel, SignedServiceLevel

_DAY_S: Final = 24 * 3600

File = Annotated[Path, typer.Argument(metavar="FILE", help="The statement: written where it is not there yet.")]
Availability = Annotated[
    int | None,
    typer.Option("--availability-basis-points", min=1, max=10_000, help="Promised: 9950 is 99.5 % of the time."),
]
Latency = Annotated[
    int | None, typer.Option("--p95-latency-ms", min=1, max=86_400_000, help="Promised for 95 of 100 requests.")
]
Days = Annotated[int, typer.Option("--valid-days", min=1, max=3_650, help="How long a new statement holds.")]
Publish = Annotated[bool, typer.Option("--publish", help="Enter its hash in the chain's registry as well.")]


def sla(
    file: File,
    availability_basis_points: Availability = None,
    p95_latency_ms: Latency = None,
    valid_days: Days = 90,
    publish: Publish = False,
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    node_url: NodeUrl = None,
    as_json: AsJson = False,
) -> None:
    """Promise a level of service: sign it into FILE, or check what is there; endpoint and price are the registry's."""
    import asyncio

    from chain.client import AsyncNodeClient
    from provider.commands.signing_key import load_provider_key
    from provider.settings import ProviderSettings

    def run() -> None:
        settings = ProviderSettings.build(keystore=keystore, password_file=password_file, node_url=node_url)
        key = load_provider_key(settings.keystore, settings.password_file)

        async def work() -> dict[str, Any]:
            async with AsyncNodeClient(settings.node_url) as client:
                if file.exists():
                    signed = _read(file, availability_basis_points, p95_latency_ms)
                else:
                    terms = (availability_basis_points, p95_latency_ms, valid_days)
                    signed = _write(file, key, await _statement(client, key, *terms))
                await _check_whose(client, key, signed)
                shown = {**signed.statement.to_object(), "sla_hash": "0x" + signed.statement.hash.hex()}
                return shown | (await _publish(client, key, signed) if publish else {})

        show(asyncio.run(work()), as_json)

    report(run)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(sla)


def _read(file: Path, *terms: int | None) -> "SignedServiceLevel":
    from chain.primitives.sla import MAX_STATEMENT_BYTES, SignedServiceLevel
    from provider.errors import ConfigurationError

    if any(term is not None for term in terms):
        message = f"{file} exists: a statement that was handed out stays as it is; sign a new one into another file"
        raise ConfigurationError(message, reason="sla_exists")
    with file.open("rb") as opened:
        return SignedServiceLevel.from_json(opened.read(MAX_STATEMENT_BYTES + 1))


async def _statement(
    client: "AsyncNodeClient", key: "PrivateKey", availability: int | None, latency_ms: int | None, valid_days: int
) -> "ServiceLevel":
    """About what the registry says that this provider offers; raises ConfigurationError where it offers nothing."""
    import time

    from chain.primitives.sla import ServiceLevel
    from chain.primitives.types import Amount
    from provider.errors import ConfigurationError
    from provider.minting.registration import find_provider

    if availability is None or latency_ms is None:
        message = "a new statement needs --availability-basis-points and --p95-latency-ms"
        raise ConfigurationError(message, reason="sla_incomplete")
    view = await find_provider(client, key.address)
    if view is None or not view.active:
        message = "this provider is not registered: first `aitbc provider register`"
        raise ConfigurationError(message, reason="not_registered")
    now_s = int(time.time())
    return ServiceLevel(
        chain_id=(await client.status()).chain_id,
        provider=key.address,
        endpoint=view.endpoint,
        availability_basis_points=availability,
        p95_latency_ms=latency_ms,
        price_per_unit=Amount(int(view.price_per_unit)),
        unit_type=view.unit_type,
        valid_from=now_s,
        valid_until=now_s + valid_days * _DAY_S,
    ).checked()


def _write(file: Path, key: "PrivateKey", statement: "ServiceLevel") -> "SignedServiceLevel":
    import json

    from chain.primitives.sla import sign_service_level
    from wallet.keystore import write_new_file

    signed = sign_service_level(key, statement)
    # Whole and on disk before its hash is published: what stands behind that must not be lost in a power cut.
    write_new_file(file.absolute(), json.dumps(signed.to_object(), indent=2).encode() + b"\n")
    return signed


async def _check_whose(client: "AsyncNodeClient", key: "PrivateKey", signed: "SignedServiceLevel") -> None:
    from provider.errors import ConfigurationError

    chain_id = (await client.status()).chain_id
    if signed.statement.provider != key.address:
        raise ConfigurationError("the statement is another provider's", reason="sla_of_another")
    if signed.statement.chain_id != chain_id:
        message = f"the statement is for chain {signed.statement.chain_id}, the node serves {chain_id}"
        raise ConfigurationError(message, reason="wrong_chain")


async def _publish(client: "AsyncNodeClient", key: "PrivateKey", signed: "SignedServiceLevel") -> dict[str, Any]:
    import time

    from provider.errors import ConfigurationError
    from provider.minting.chain_account import ChainAccount
    from provider.minting.registration import Registrar, find_provider

    if not signed.statement.valid_until > time.time():
        raise ConfigurationError("the statement holds no longer: sign a new one", reason="sla_expired")
    sla_hash = signed.statement.hash
    view = await find_provider(client, key.address)
    if view is not None and view.sla_hash == "0x" + sla_hash.hex():
        return {"published": True, "transaction_hash": None}
    sent = await Registrar(ChainAccount(client, key)).publish_sla(sla_hash)
    return {"published": True, "transaction_hash": sent.hash}
