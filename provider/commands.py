"""What the commands of `aitbc provider` do beside serving: registry entry, status, receipts, health."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx

from chain.client import AsyncNodeClient
from chain.primitives.hexadecimal import format_ait, parse_address, to_checksum_address
from chain.primitives.keys import PrivateKey
from provider.chain_account import ChainAccount
from provider.errors import ConfigurationError, ProviderError
from provider.outbox import Outbox
from provider.registration import Registrar, RegistryEntry, find_provider, registry_entry
from provider.schemas import receipt_entry
from provider.settings import ProviderSettings
from wallet.keystore import load_key, read_keystore
from wallet.passwords import read_password

T = TypeVar("T")


def load_provider_key(keystore: Path | None, password_file: Path | None) -> PrivateKey:
    """The key of a keystore; its password from the file, the environment or a prompt."""
    if keystore is None:
        message = "no key: pass --keystore (make one with `aitbc wallet new`)"
        raise ConfigurationError(message, reason="no_keystore")
    return load_key(keystore, read_password(password_file, purpose=str(keystore)))


def show(fields: dict[str, Any], as_json: bool) -> None:
    """Prints names and values, for people or as JSON."""
    if as_json:
        print(json.dumps(fields))
        return
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        print(f"{name:<{width}}  {', '.join(value) if isinstance(value, list) else value}")


def change_entry(action: str, flags: dict[str, Any]) -> None:
    """Sends `register`, `update` or `withdraw` and waits until it is final."""
    as_json, vram_mib = flags.pop("as_json"), flags.pop("vram_mib", None)
    settings = ProviderSettings.build(**flags)
    entry = registry_entry(settings, settings.public_endpoint, vram_mib or 0)
    key = load_provider_key(settings.keystore, settings.password_file)

    async def change(client: AsyncNodeClient) -> dict[str, Any]:
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

    show(_with_node(settings.node_url, change), as_json)


async def _merged(registrar: Registrar, entry: RegistryEntry, given: set[str], vram_mib: int | None) -> RegistryEntry:
    """The present entry with what was given on the command line or in the environment."""
    view = await registrar.view()
    if view is None:
        return entry  # The chain will say that there is nothing to update.
    return replace(
        entry,
        endpoint=entry.endpoint if "endpoint" in given else view.endpoint,
        models=entry.models if given & {"model", "model_name"} else tuple(view.models),
        price_per_unit=entry.price_per_unit if "price_per_unit" in given else int(view.price_per_unit),
        unit_type=entry.unit_type if "unit_type" in given else view.unit_type,
        vram_mib=view.vram_mib if vram_mib is None else vram_mib,
    )


def _with_node(url: str, work: Callable[[AsyncNodeClient], Coroutine[Any, Any, T]]) -> T:
    """Runs `work` with a client of the node."""

    async def connected() -> T:
        async with AsyncNodeClient(url) as client:
            return await work(client)

    return asyncio.run(connected())


def show_status(address: str | None, keystore: Path | None, node_url: str | None, as_json: bool) -> None:
    """Prints what the chain says of a provider."""
    settings = ProviderSettings.build(keystore=keystore, node_url=node_url)
    if address is not None:
        provider = parse_address(address)
    else:
        named = read_keystore(settings.keystore).address if settings.keystore is not None else None
        if named is None:
            raise ConfigurationError("whose? pass --address, or --keystore with a file that names its address")
        provider = named

    async def ask(client: AsyncNodeClient) -> dict[str, Any]:
        view = await find_provider(client, provider)
        account = await client.account(provider)
        fields: dict[str, Any] = {"provider": to_checksum_address(provider), "registered": bool(view and view.active)}
        if view is not None:
            fields |= {
                "endpoint": view.endpoint,
                "models": list(view.models),
                "price_per_unit": str(int(view.price_per_unit)),
                "unit_type": view.unit_type,
                "vram_mib": view.vram_mib,
                "payout": view.payout,
            }
        return fields | {"balance_atoms": str(int(account.balance)), "balance": f"{format_ait(account.balance)} AIT"}

    show(_with_node(settings.node_url, ask), as_json)


def show_receipts(data_dir: Path | None, limit: int, as_json: bool) -> None:
    """Prints the newest receipts of an outbox."""
    settings = ProviderSettings.build(data_dir=data_dir)
    with Outbox(settings.data_dir, read_only=True) as outbox:
        entries = [receipt_entry(stored) for stored in outbox.page(None, before=None, limit=limit)]
        counts = {state.value: number for state, number in outbox.counts().items()}
    if as_json:
        print(json.dumps({"counts": counts, "items": [entry.model_dump() for entry in entries]}))
        return
    print("  ".join(f"{state} {number}" for state, number in counts.items()))
    for entry in entries:
        reason = f"  {entry.reason}" if entry.reason else ""
        print(f"{entry.receipt_hash}  {entry.state:<9}  {entry.job_id}  {entry.receipt['amount']} atoms{reason}")


def ask_health(url: str) -> dict[str, Any]:
    """What a provider says of itself; raises ProviderError where none answers."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/v1/health", timeout=5.0)
        fields = answer.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ProviderError(f"no answer from a provider at {url}: {error}") from None
    if not isinstance(fields, dict):
        raise ProviderError(f"what answers at {url} is no provider")
    return fields
