"""`aitbc provider`: run a provider, keep its registry entry, look at its receipts.

Keys come from a keystore and a password file, secrets never from the command line. Exit codes: 0 done, 1 it failed, 2
wrong usage or settings.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.keys import PrivateKey
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
VramMib = Annotated[int, typer.Option("--vram-mib", min=0, max=2**32 - 1, help="Memory of the GPU, 0 for a CPU.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _fail(message: str, code: int) -> typer.Exit:
    print(f"aitbc provider: {message}", file=sys.stderr)
    return typer.Exit(code)


def _report(command: Callable[[], T]) -> T:
    """Runs a command; expected failures become one line on stderr and an exit code."""
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
        raise _fail(getattr(error, "strerror", None) or str(error), EXIT_FAILED) from None


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
    key = _load_key(settings.keystore, settings.password_file)
    set_up_logging(log_level)
    listener = listen(settings.bind_host, settings.bind_port)

    def on_ready(url: str) -> None:
        if sys.stderr.isatty():
            print(describe(settings, key, url), file=sys.stderr)

    async def serve() -> bool:
        process = ProviderProcess(settings, key, api_keys)
        await process.serve(listener, on_ready)
        return process.worker_is_alive

    with listener:
        return asyncio.run(serve())


def _load_key(keystore: Path | None, password_file: Path | None) -> PrivateKey:
    from wallet.keystore import load_key
    from wallet.passwords import read_password

    if keystore is None:
        message = "no key: pass --keystore (make one with `aitbc wallet new`)"
        raise ConfigurationError(message, reason="no_keystore")
    return load_key(keystore, read_password(password_file, purpose=str(keystore)))


def _show(fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(fields))
        return
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        print(f"{name:<{width}}  {', '.join(value) if isinstance(value, list) else value}")


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
    vram_mib: VramMib = 0,
    payout: Payout = None,
    as_json: AsJson = False,
) -> None:
    """Enter this provider in the chain's registry."""
    flags = dict(locals())
    _report(lambda: _change_entry("register", flags))


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
    vram_mib: VramMib = 0,
    as_json: AsJson = False,
) -> None:
    """Replace this provider's registry entry; its payout address stays."""
    flags = dict(locals())
    _report(lambda: _change_entry("update", flags))


@app.command()
def withdraw(
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    node_url: NodeUrl = None,
    as_json: AsJson = False,
) -> None:
    """Take this provider's registry entry back; hubs stop sending jobs."""
    flags = dict(locals())
    _report(lambda: _change_entry("withdraw", flags))


def _change_entry(action: str, flags: dict[str, Any]) -> None:
    from chain.client import AsyncNodeClient
    from provider.process import registry_entry
    from provider.registration import Registrar
    from provider.settings import ProviderSettings

    as_json, vram_mib = flags.pop("as_json"), flags.pop("vram_mib", 0)
    settings = ProviderSettings.build(**flags)
    entry = registry_entry(settings, settings.public_endpoint, vram_mib)
    key = _load_key(settings.keystore, settings.password_file)

    async def change(client: AsyncNodeClient) -> dict[str, Any]:
        registrar = Registrar(client, key, asyncio.Lock())
        if action == "register":
            sent = await registrar.register(entry)
        elif action == "update":
            sent = await registrar.update(entry)
        else:
            sent = await registrar.withdraw()
        return {
            "provider": to_checksum_address(key.address),
            "action": action,
            "transaction_hash": sent.hash,
            "height": sent.height,
        }

    _show(_with_node(settings.node_url, change), as_json)


def _with_node(url: str, work: "Callable[[Any], Coroutine[Any, Any, T]]") -> T:
    from chain.client import AsyncNodeClient

    async def connected() -> T:
        async with AsyncNodeClient(url) as client:
            return await work(client)

    return asyncio.run(connected())


@app.command()
def status(
    address: Annotated[str | None, typer.Option(help="The provider's address; or pass --keystore.")] = None,
    keystore: Keystore = None,
    node_url: NodeUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show what the chain's registry says of a provider, and its account."""
    _report(lambda: _status(address, keystore, node_url, as_json))


def _status(address: str | None, keystore: Path | None, node_url: str | None, as_json: bool) -> None:
    from chain.client import AsyncNodeClient
    from chain.primitives.hexadecimal import format_ait
    from provider.registration import find_provider
    from provider.settings import ProviderSettings
    from wallet.keystore import read_keystore

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

    _show(_with_node(settings.node_url, ask), as_json)


@app.command()
def receipts(
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the provider's outbox.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the outbox: which receipts are attested, sent, minted. The provider may be running."""
    _report(lambda: _receipts(data_dir, limit, as_json))


def _receipts(data_dir: Path | None, limit: int, as_json: bool) -> None:
    from provider.outbox import Outbox
    from provider.service import receipt_entry
    from provider.settings import ProviderSettings

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


@app.command()
def health(
    url: Annotated[str, typer.Option(help="The provider's URL.")] = "http://127.0.0.1:8000",
    as_json: AsJson = False,
) -> None:
    """Ask a provider how it is; exit code 1 unless it takes jobs."""
    fields = _report(lambda: _health(url))
    _show(fields, as_json)
    if fields.get("status") != "ok":
        raise typer.Exit(EXIT_FAILED)


def _health(url: str) -> dict[str, Any]:
    import httpx

    try:
        answer = httpx.get(f"{url.rstrip('/')}/v1/health", timeout=5.0)
        fields = answer.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ProviderError(f"no answer from a provider at {url}: {error}") from None
    if not isinstance(fields, dict):
        raise ProviderError(f"what answers at {url} is no provider")
    return fields
