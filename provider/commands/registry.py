"""`aitbc provider register`, `update` and `withdraw`: the entry in the chain's registry."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provider.commands.flags import (
    AsJson,
    Endpoint,
    Keystore,
    ModelName,
    Models,
    NodeUrl,
    PasswordFile,
    Payout,
    Price,
    Prices,
    UnitType,
)
from provider.commands.outcome import report, show

if TYPE_CHECKING:
    from provider.minting.registration import Registrar, RegistryEntry

VramMib = Annotated[
    int | None,
    typer.Option("--vram-mib", min=0, max=2**32 - 1, help="Memory of the GPU in MiB; 0, for a CPU, by default."),
]


def enter(
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    node_url: NodeUrl = None,
    endpoint: Endpoint = None,
    model: Models = None,
    model_name: ModelName = None,
    price_per_unit: Price = None,
    prices: Prices = None,
    unit_type: UnitType = None,
    vram_mib: VramMib = None,
    payout: Payout = None,
    as_json: AsJson = False,
) -> None:
    """Enter this provider in the chain's registry."""
    flags = dict(locals())
    report(lambda: _change_entry("register", flags))


def update(
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    node_url: NodeUrl = None,
    endpoint: Endpoint = None,
    model: Models = None,
    model_name: ModelName = None,
    price_per_unit: Price = None,
    prices: Prices = None,
    unit_type: UnitType = None,
    vram_mib: VramMib = None,
    as_json: AsJson = False,
) -> None:
    """Change this provider's registry entry: what is given; the rest stays as it is."""
    flags = dict(locals())
    report(lambda: _change_entry("update", flags))


def withdraw(
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    node_url: NodeUrl = None,
    as_json: AsJson = False,
) -> None:
    """Take this provider's registry entry back; hubs stop sending jobs."""
    flags = dict(locals())
    report(lambda: _change_entry("withdraw", flags))


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("register")(enter)
    app.command()(update)
    app.command()(withdraw)


def _change_entry(action: str, flags: dict[str, Any]) -> None:
    """Sends the call and waits until it is final."""
    import asyncio

    from chain.client import AsyncNodeClient
    from chain.primitives.hexadecimal import to_checksum_address
    from provider.commands.signing_key import load_provider_key
    from provider.minting.chain_account import ChainAccount
    from provider.minting.registration import Registrar, registry_entry
    from provider.settings import ProviderSettings

    as_json, vram_mib = flags.pop("as_json"), flags.pop("vram_mib", None)
    settings = ProviderSettings.build(**flags)
    entry = registry_entry(settings, settings.public_endpoint, vram_mib or 0)
    key = load_provider_key(settings.keystore, settings.password_file)

    async def change() -> dict[str, Any]:
        async with AsyncNodeClient(settings.node_url) as client:
            registrar = Registrar(ChainAccount(client, key))
            if action == "register":
                sent = await registrar.register(entry)
            elif action == "update":
                sent = await registrar.update(await _merged(registrar, entry, settings.model_fields_set, vram_mib))
            else:
                sent = await registrar.withdraw()
        return {
            "provider": to_checksum_address(key.address),
            "action": action,
            "transaction_hash": sent.hash,
            "height": sent.height,
        }

    show(asyncio.run(change()), as_json)


async def _merged(
    registrar: "Registrar", entry: "RegistryEntry", given: set[str], vram_mib: int | None
) -> "RegistryEntry":
    """The present entry with what was given on the command line or in the environment."""
    view = await registrar.view()
    if view is None:
        return entry  # The chain will say that there is nothing to update.
    return replace(
        entry,
        endpoint=entry.endpoint if "endpoint" in given else view.endpoint,
        models=entry.models if given & {"model", "model_name", "prices"} else tuple(view.models),
        price_per_unit=entry.price_per_unit if given & {"price_per_unit", "prices"} else int(view.price_per_unit),
        unit_type=entry.unit_type if "unit_type" in given else view.unit_type,
        vram_mib=view.vram_mib if vram_mib is None else vram_mib,
    )
