"""`aitbc provider run`: serves until it is told to stop."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from provider.commands.flags import (
    CpuThreads,
    DataDir,
    Device,
    Endpoint,
    Keystore,
    ModelName,
    Models,
    NodeUrl,
    PasswordFile,
    Payout,
    Precision,
    Price,
    Prices,
    UnitType,
)
from provider.commands.outcome import report

_OTHERS_VARIABLES: Final = ("AWS_", "OTEL_", "HF_")
"""What libraries read from the environment themselves: credentials of a store of pictures, for instance."""

Backend = Annotated[str | None, typer.Option(help="local, or ray: replicas on many GPUs and machines.")]
RayAddress = Annotated[str | None, typer.Option(help="Address of a Ray cluster.")]
RayReplicas = Annotated[int | None, typer.Option(help="Replicas on Ray, one per GPU.")]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.")]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 takes a free one.")]
KeysFile = Annotated[Path | None, typer.Option(help="TOML file with the table [clients].")]
RateLimit = Annotated[str | None, typer.Option(help="Pictures per API key, such as 60/minute.")]
QueueLimit = Annotated[int | None, typer.Option(help="Pictures that may wait.")]
JobTimeout = Annotated[float | None, typer.Option(help="Longest time for one job, in seconds.")]
Artifacts = Annotated[str | None, typer.Option(help="Where pictures are kept: a folder, or s3://bucket/prefix.")]
Hubs = Annotated[
    list[str] | None,
    typer.Option("--hub", help="A hub to dial and serve: wss://hub.org; may be repeated."),
]
Register = Annotated[
    bool | None, typer.Option("--register/--no-register", help="Keep the registry entry true, from the start.")
]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]


def run(
    model: Models = None,
    model_name: ModelName = None,
    device: Device = None,
    precision: Precision = None,
    cpu_threads: CpuThreads = None,
    backend: Backend = None,
    ray_address: RayAddress = None,
    ray_replicas: RayReplicas = None,
    bind_host: Host = None,
    bind_port: Port = None,
    api_keys_file: KeysFile = None,
    rate_limit: RateLimit = None,
    queue_limit: QueueLimit = None,
    job_timeout_s: JobTimeout = None,
    data_dir: DataDir = None,
    artifacts: Artifacts = None,
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    node_url: NodeUrl = None,
    price_per_unit: Price = None,
    prices: Prices = None,
    unit_type: UnitType = None,
    hub: Hubs = None,
    register_at_start: Register = None,
    endpoint: Endpoint = None,
    payout: Payout = None,
    log_level: LogLevel = "info",
) -> None:
    """Serve images until stopped.

    Every setting is a variable AITBC_PROVIDER_… too, in the environment or in the file .env of the working folder;
    provider/README.md lists them all.
    """
    flags = dict(locals())
    flags.pop("log_level")
    if report(lambda: _run(flags, log_level)):
        sys.stderr.flush()
        os._exit(0)


def _run(flags: dict[str, Any], log_level: str) -> bool:
    """Whether the process may end at once, without an orderly end of the interpreter.

    Everything is stored, told and closed by then. To take torch apart piece by piece takes seconds, on a busy machine
    tens of them, in which whoever stops the service waits; and where the worker is still inside a library, an orderly
    end would wait for it, or crash. Only Ray has something of its own to do then.
    """
    import asyncio

    import structlog

    from chain.web.logs import set_up_logging
    from chain.web.server import listen
    from provider.api_keys import load_api_keys
    from provider.commands.signing_key import load_provider_key
    from provider.errors import ConfigurationError
    from provider.settings import ProviderSettings, unknown_variables

    if log_level not in ("debug", "info", "warning", "error"):
        raise ConfigurationError("--log-level: debug, info, warning or error")
    _take_others_variables()
    settings = ProviderSettings.build(**flags)

    from provider.process import ProviderProcess, check_model_folder, describe

    single_key = None if settings.api_key is None else settings.api_key.get_secret_value()
    api_keys = load_api_keys(settings.api_keys_file, single_key, is_needed=not settings.hub)
    check_model_folder(settings)
    key = load_provider_key(settings.keystore, settings.password_file)
    os.umask(0o077)  # Pictures and receipts are nobody's business, and the data folder may be open to others.
    listener = listen(settings.bind_host, settings.bind_port)
    set_up_logging(log_level)
    if misspelt := unknown_variables():
        structlog.get_logger("provider").warning("unknown_settings", names=misspelt)

    def on_ready(url: str) -> None:
        if sys.stderr.isatty():
            print(describe(settings, key, url), file=sys.stderr)

    async def serve() -> bool:
        process = ProviderProcess(settings, key, api_keys)
        await process.serve(listener, on_ready)
        return process.worker_is_alive or settings.backend != "ray"

    with listener:
        return asyncio.run(serve())


def _take_others_variables() -> None:
    """Gives libraries the variables of theirs that stand in `.env`; the environment comes first."""
    from provider.settings import read_dotenv

    for name, value in read_dotenv().items():
        if value and name.startswith(_OTHERS_VARIABLES):
            os.environ.setdefault(name, value)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(run)
