"""`aitbc provider`: run a provider, keep its registry entry, look at its receipts.

Keys come from a keystore and a password file, secrets never from the command line. Exit codes: 0 done, 1 it failed, 2
wrong usage or settings.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeVar

import typer

from chain.primitives.rejection import Rejected
from provider.errors import ConfigurationError, ProviderError

T = TypeVar("T")

EXIT_FAILED = 1
EXIT_USAGE = 2

app = typer.Typer(help="Serve images and earn AIT for every attested job.", no_args_is_help=True)

Keystore = Annotated[Path | None, typer.Option("--keystore", help="The provider's key: a Web3 keystore, version 3.")]
PasswordFile = Annotated[Path | None, typer.Option("--password-file", help="File with the keystore's password.")]
NodeUrl = Annotated[str | None, typer.Option("--node-url", "--node", help="URL of a chain node.")]
Price = Annotated[str | None, typer.Option("--price-per-unit", help="Price in atoms (10^18 are 1 AIT); 0 is free.")]
UnitType = Annotated[str | None, typer.Option("--unit-type", help="What the price is per: gpu_seconds or images.")]
Endpoint = Annotated[str | None, typer.Option("--endpoint", help="Public URL of this provider, for the registry.")]
Payout = Annotated[str | None, typer.Option("--payout", help="Address that minted tokens go to; default: the key's.")]
Model = Annotated[str | None, typer.Option("--model", help="Model folder or hub id; default: the embedded model.")]
ModelName = Annotated[str | None, typer.Option("--model-name", help="Name of the model in receipts and registry.")]
VramMib = Annotated[
    int | None,
    typer.Option("--vram-mib", min=0, max=2**32 - 1, help="Memory of the GPU in MiB; 0, for a CPU, by default."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _fail(message: str, code: int) -> typer.Exit:
    print(f"aitbc provider: {message}", file=sys.stderr)
    return typer.Exit(code)


def _commands() -> ModuleType:
    """Imported late, so that the help comes at once."""
    from provider import commands

    return commands


def _report(command: Callable[[], T]) -> T:
    """Runs a command; expected failures become one line on stderr and an exit code."""
    import sqlite3

    from chain.client import NodeError

    try:
        return command()
    except ConfigurationError as error:
        raise _fail(error.message, EXIT_USAGE) from None
    except ProviderError as error:
        raise _fail(error.message, EXIT_FAILED) from None
    except Rejected as error:
        raise _fail(error.message, EXIT_USAGE) from None
    except (NodeError, OSError) as error:
        raise _fail(str(error), EXIT_FAILED) from None
    except sqlite3.Error as error:
        raise _fail(f"the outbox cannot be used any more: {error} (is the disk full?)", EXIT_FAILED) from None


@app.command()
def run(
    model: Model = None,
    model_name: ModelName = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32, float16 or bfloat16.")] = None,
    cpu_threads: Annotated[int | None, typer.Option(help="Threads on a CPU; 0 chooses.")] = None,
    bind_host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None,
    bind_port: Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 takes a free one.")] = None,
    api_keys_file: Annotated[Path | None, typer.Option(help="TOML file with tables [clients] and [hubs].")] = None,
    rate_limit: Annotated[str | None, typer.Option(help="Pictures per API key, such as 60/minute.")] = None,
    queue_limit: Annotated[int | None, typer.Option(help="Jobs that may wait.")] = None,
    job_timeout_s: Annotated[float | None, typer.Option(help="Longest time for one job, in seconds.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the outbox and recent pictures.")] = None,
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    node_url: NodeUrl = None,
    price_per_unit: Price = None,
    unit_type: UnitType = None,
    register_at_start: Annotated[
        bool | None, typer.Option("--register/--no-register", help="Keep the registry entry true, from the start.")
    ] = None,
    endpoint: Endpoint = None,
    payout: Payout = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve images until stopped. Every flag can be set as AITBC_PROVIDER_… in the environment too."""
    flags = dict(locals())
    flags.pop("log_level")
    worker_is_alive = _report(lambda: _run(flags, log_level))
    if worker_is_alive:
        # Inside a library, loading or computing: an orderly end of the interpreter would wait for it, or crash.
        sys.stderr.flush()
        os._exit(0)


def _run(flags: dict[str, Any], log_level: str) -> bool:
    """Whether the worker was still busy at the end."""
    from chain.web.logs import set_up_logging
    from chain.web.server import listen
    from provider.api_keys import load_api_keys
    from provider.process import ProviderProcess, check_model_folder, describe
    from provider.settings import ProviderSettings

    if log_level not in ("debug", "info", "warning", "error"):
        raise ConfigurationError("--log-level: debug, info, warning or error")
    settings = ProviderSettings.build(**flags)
    single_key = None if settings.api_key is None else settings.api_key.get_secret_value()
    api_keys = load_api_keys(settings.api_keys_file, single_key)
    check_model_folder(settings)
    key = _commands().load_provider_key(settings.keystore, settings.password_file)
    os.umask(0o077)  # Pictures and receipts are nobody's business, and the data folder may be open to others.
    listener = listen(settings.bind_host, settings.bind_port)
    set_up_logging(log_level)

    def on_ready(url: str) -> None:
        if sys.stderr.isatty():
            print(describe(settings, key, url), file=sys.stderr)

    async def serve() -> bool:
        process = ProviderProcess(settings, key, api_keys)
        await process.serve(listener, on_ready)
        return process.worker_is_alive

    with listener:
        return asyncio.run(serve())


@app.command()
def register(
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    node_url: NodeUrl = None,
    endpoint: Endpoint = None,
    model: Model = None,
    model_name: ModelName = None,
    price_per_unit: Price = None,
    unit_type: UnitType = None,
    vram_mib: VramMib = None,
    payout: Payout = None,
    as_json: AsJson = False,
) -> None:
    """Enter this provider in the chain's registry."""
    flags = dict(locals())
    _report(lambda: _commands().change_entry("register", flags))


@app.command()
def update(
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    node_url: NodeUrl = None,
    endpoint: Endpoint = None,
    model: Model = None,
    model_name: ModelName = None,
    price_per_unit: Price = None,
    unit_type: UnitType = None,
    vram_mib: VramMib = None,
    as_json: AsJson = False,
) -> None:
    """Change this provider's registry entry: what is given; the rest stays as it is."""
    flags = dict(locals())
    _report(lambda: _commands().change_entry("update", flags))


@app.command()
def withdraw(
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    node_url: NodeUrl = None,
    as_json: AsJson = False,
) -> None:
    """Take this provider's registry entry back; hubs stop sending jobs."""
    flags = dict(locals())
    _report(lambda: _commands().change_entry("withdraw", flags))


@app.command()
def status(
    address: Annotated[str | None, typer.Option(help="The provider's address; or pass --keystore.")] = None,
    keystore: Keystore = None,
    node_url: NodeUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show what the chain's registry says of a provider, and its account."""
    _report(lambda: _commands().show_status(address, keystore, node_url, as_json))


@app.command()
def receipts(
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the provider's outbox.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the outbox: which receipts are attested, sent, minted. The provider may be running."""
    _report(lambda: _commands().show_receipts(data_dir, limit, as_json))


@app.command()
def health(
    url: Annotated[str, typer.Option(help="The provider's URL.")] = "http://127.0.0.1:8000",
    as_json: AsJson = False,
) -> None:
    """Ask a provider how it is; exit code 1 unless it takes jobs."""
    fields = _report(lambda: _commands().ask_health(url))
    _commands().show(fields, as_json)
    if fields.get("status") != "ok":
        raise typer.Exit(EXIT_FAILED)
