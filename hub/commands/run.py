"""`aitbc hub run`: serves until it is told to stop."""

from pathlib import Path
from typing import Annotated

import typer

from hub.commands.flags import DatabaseUrl, DataDir


def run(
    data_dir: DataDir = None,
    node_url: Annotated[str | None, typer.Option("--node-url", "--node", help="URL of a chain node.")] = None,
    attester_keystore: Annotated[Path | None, typer.Option(help="Keystore of the attester's key.")] = None,
    attester_password_file: Annotated[
        Path | None, typer.Option("--attester-password-file", help="File with the keystore's password.")
    ] = None,
    attester_signer_url: Annotated[
        str | None, typer.Option(help="Instead of a keystore: the remote signer that holds the attester's key.")
    ] = None,
    attester_signer_public_key: Annotated[str | None, typer.Option(help="Which of the signer's keys.")] = None,
    attester_signer_genesis_hash: Annotated[
        str | None, typer.Option(help="The one network that the signer's key serves.")
    ] = None,
    clients_file: Annotated[Path | None, typer.Option(help="TOML: [clients] name = API key; [quotas].")] = None,
    signed_orders: Annotated[
        str | None, typer.Option(help="Of clients who sign, without a key: none, paid or all (paid).")
    ] = None,
    hub_id: Annotated[str | None, typer.Option(help="This hub's name in receipts (hub).")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (8080); 0 takes a free one.")] = None,
    database_url: DatabaseUrl = None,
    artifacts: Annotated[str | None, typer.Option(help="Folder or s3://bucket/prefix of the pictures.")] = None,
    secrets_file: Annotated[
        Path | None, typer.Option(help="The hub's own secrets; processes of one hub share it.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Who gets work: round-robin, cheapest, fastest, reputation.")
    ] = None,
    max_waiting_pictures: Annotated[int | None, typer.Option(help="Pictures that may wait (10000).")] = None,
    longest_job_s: Annotated[float | None, typer.Option(help="A job's deadline without one of its own (3600).")] = None,
    challenge_window_s: Annotated[float | None, typer.Option(help="Receipts wait so long (0).")] = None,
    attesters_file: Annotated[
        Path | None, typer.Option(help="TOML of other hubs' attesters, where the chain wants several.")
    ] = None,
    endorse_window_s: Annotated[int | None, typer.Option(help="Other hubs' receipts wait so long (0).")] = None,
    fee_recipient: Annotated[str | None, typer.Option(help="Who gets the hub's share of paid jobs.")] = None,
    fee_basis_points: Annotated[int | None, typer.Option(help="That share: 100 are a percent (0).")] = None,
    moderation_words_file: Annotated[Path | None, typer.Option(help="Words whose prompts are not served.")] = None,
    moderation_url: Annotated[str | None, typer.Option(help="Asked about every job's prompts.")] = None,
    webhook_networks: Annotated[str | None, typer.Option(help="Inner networks that webhooks may reach.")] = None,
    shutdown_grace_s: Annotated[float | None, typer.Option(help="For work under way after SIGTERM (20).")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the node, and for the chain to list the attester.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve until stopped. Every setting can also be given as AITBC_HUB_… in the environment (docs/hub.md)."""
    flags = dict(locals())
    for name in ("wait", "log_level"):
        del flags[name]
    from chain.web.logs import set_up_logging
    from hub.errors import HubConfigurationError
    from hub.run import run_hub
    from hub.settings import HubSettings
    from wallet.passwords import read_password

    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter("must be debug, info, warning or error", param_hint="--log-level")
    try:
        settings = HubSettings.build(**flags)
    except HubConfigurationError as error:  # 2, with which a service is not started again.
        raise typer.BadParameter(str(error)) from None
    password = ""
    if settings.attester_keystore is not None:
        password = read_password(settings.attester_password_file, purpose=str(settings.attester_keystore))
    set_up_logging(log_level)
    run_hub(settings, password, wait=wait, on_ready=lambda url: print(f"hub {settings.hub_id} is at {url}", flush=True))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(run)
