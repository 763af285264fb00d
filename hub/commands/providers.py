"""`aitbc hub providers`, `ban` and `unban`: who works here, and who may not (any more)."""

import json
from typing import Annotated, Any

import typer

from hub.commands.database import opened_store
from hub.commands.flags import DEFAULT_URL, AsJson, DatabaseUrl, DataDir, HubUrl
from hub.commands.outcome import reporting

Provider = Annotated[str, typer.Argument(metavar="ADDRESS", help="The provider's address.")]


def providers(
    hub: HubUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List the providers that a hub knows: standing, score, what came of their work."""
    from hub.client import HubClient
    from wallet.terminal import plain

    with reporting(), HubClient(hub, "", timeout_s=30) as client:
        listed = client.providers()
    if as_json:
        print(json.dumps(listed, indent=2))
        return
    for each in listed:
        presence = "connected" if each.get("is_connected") else "away"
        trouble = ""
        if each.get("is_banned"):
            trouble = f" banned: {each.get('banned')}"
        elif each.get("suspended"):
            trouble = f" paused: {each['suspended']}"
        models = ", ".join(each.get("models", {}))
        counts = f"{each.get('accepted')} accepted, {each.get('refused')} refused, {each.get('failed')} failed"
        score = float(each.get("score") or 0)
        print(
            plain(
                f"{each.get('address')} {presence:9} {each.get('standing'):7} {score:.2f}  {counts}  {models}{trouble}"
            )
        )


def ban(
    address: Provider,
    reason: Annotated[
        str, typer.Option(help="Why, in a sentence: the provider is told, and everybody may read it.")
    ] = "banned by the operator",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Take no more work from a provider. Its session ends within seconds; what it has earned stays its own."""
    from hub.store import providers as records
    from hub.store.store import now_ms

    name = _checksummed(address)
    with reporting(), opened_store(data_dir, database_url) as store:
        now = now_ms()
        store.write_now(lambda t: records.ban(t, name, reason="banned", detail=reason[:500], now_ms=now))
    print(f"{name} is banned")


def unban(address: Provider, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Take work from a provider again: ends its ban, and its pause."""
    from hub.store import providers as records
    from hub.store.store import now_ms

    name = _checksummed(address)

    def unit(transaction: Any) -> None:
        known, now = records.get(transaction, name), now_ms()
        if known is not None and known.suspended_until_ms is not None:
            records.lift(transaction, name, now)
        records.unban(transaction, name, now)

    with reporting(), opened_store(data_dir, database_url) as store:
        store.write_now(unit)
    print(f"{name} may work again: it is neither banned nor paused any more")


def _checksummed(address: str) -> str:
    from chain.primitives.hexadecimal import parse_address, to_checksum_address

    return to_checksum_address(parse_address(address, "ADDRESS"))


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (providers, ban, unban):
        app.command()(command)
