"""`aitbc provider status`: the process, its jobs and receipts, and what the chain says, all that can be had."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provider.commands.flags import AsJson, DataDir, Keystore, NodeUrl
from provider.commands.outcome import EXIT_FAILED, report, show

if TYPE_CHECKING:
    from chain.primitives.types import Address
    from provider.settings import ProviderSettings

_DAY_MS = 86_400_000


def status(
    data_dir: DataDir = None,
    url: Annotated[str | None, typer.Option(help="The provider's URL; by default the one of its settings.")] = None,
    address: Annotated[
        str | None, typer.Option(help="The provider's address; else its folder or keystore says.")
    ] = None,
    keystore: Keystore = None,
    node_url: NodeUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show how a provider is: its process, queue, receipts by state, registry entry and balance.

    Exit code 1 where the chain could not be asked, 2 where nothing tells which provider is meant.
    """
    flags = {"data_dir": data_dir, "keystore": keystore, "node_url": node_url}
    sections = report(lambda: _collect(flags, url, address))
    if as_json:
        print(json.dumps(sections))
    else:
        for name, fields in sections.items():
            print(f"{name}:")
            show({f"  {field}": value for field, value in fields.items()}, as_json=False)
    if "error" in sections["chain"]:
        raise typer.Exit(EXIT_FAILED)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(status)


def _collect(flags: dict[str, Any], url: str | None, address: str | None) -> dict[str, dict[str, Any]]:
    from provider.settings import ProviderSettings

    settings = ProviderSettings.build(**flags)
    process = _process(settings, url)
    database = _database(settings.data_dir)
    named = address or database.get("provider") or process.get("provider")
    return {"process": process, "database": database, "chain": _chain(settings, _who(named, settings))}


def _who(named: str | None, settings: "ProviderSettings") -> "Address":
    from chain.primitives.hexadecimal import parse_address
    from provider.errors import ConfigurationError
    from wallet.keystore import read_keystore

    if named is not None:
        return parse_address(named)
    found = read_keystore(settings.keystore).address if settings.keystore is not None else None
    if found is None:
        message = "whose? pass --data-dir, --address, or --keystore with a file that names its address"
        raise ConfigurationError(message, reason="no_provider_named")
    return found


def _process(settings: "ProviderSettings", url: str | None) -> dict[str, Any]:
    from provider.commands.health import ask_health
    from provider.errors import ProviderError
    from provider.storage.folder_lock import lock_owner

    process_id = lock_owner(settings.data_dir)
    fields: dict[str, Any] = {"running": process_id is not None, "process_id": process_id}
    if process_id is None and url is None:
        return fields
    url = url or settings.local_url
    try:
        health = ask_health(url)
    except ProviderError as error:
        return fields | {"error": error.message}
    shown = ("status", "detail", "provider", "gpu", "model", "queue", "hubs", "version")
    return fields | {"url": url} | {name: health.get(name) for name in shown}


def _database(folder: Path) -> dict[str, Any]:
    from provider.errors import ConfigurationError
    from provider.storage.database import Database
    from provider.storage.identity import FolderIdentity
    from provider.storage.job_log import JobLog
    from provider.storage.outbox import Outbox

    try:
        database = Database(folder, read_only=True)
    except ConfigurationError as error:
        if error.reason != "no_database":
            raise
        return {"folder": str(folder), "error": error.message}
    with database:
        identity = FolderIdentity(database)
        day = JobLog(database).statistics(time.time_ns() // 1_000_000 - _DAY_MS)
        receipts = Outbox(database).counts()
        return {
            "folder": str(folder),
            "provider": identity.get("provider"),
            "chain_id": identity.get("chain_id"),
            "receipts": {state.value: number for state, number in receipts.items()},
            "jobs_last_day": {state.value: number for state, number in day.by_state.items()},
            "pictures_last_day": day.pictures,
            "gpu_seconds_last_day": day.compute_microseconds / 1_000_000,
            "p50_ms": day.p50_ms,
            "p95_ms": day.p95_ms,
        }


def _chain(settings: "ProviderSettings", provider: "Address") -> dict[str, Any]:
    import asyncio

    from chain.client import AsyncNodeClient, NodeError
    from chain.primitives.hexadecimal import format_ait, to_checksum_address
    from provider.minting.registration import find_provider

    async def ask() -> dict[str, Any]:
        async with AsyncNodeClient(settings.node_url) as client:
            view = await find_provider(client, provider)
            account = await client.account(provider)
        fields: dict[str, Any] = {"registered": bool(view and view.active)}
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

    known = {"node_url": settings.node_url, "provider": to_checksum_address(provider)}
    try:
        return known | asyncio.run(ask())
    except NodeError as error:
        return known | {"error": str(error)}
