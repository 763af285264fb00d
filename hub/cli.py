"""`aitbc hub`: run a hub, send it a job, ask about a job. Fast to start: each command imports what it needs.

Data on stdout, everything else on stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from hub.client import HubSigning

API_KEY_VARIABLE: Final = "AITBC_HUB_API_KEY"
URL_VARIABLE: Final = "AITBC_HUB_URL"

app = typer.Typer(
    help="Many providers, one service: dispatch, check and attest jobs.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

HubUrl = Annotated[str, typer.Option("--hub", envvar=URL_VARIABLE, help="The hub's URL.")]
ApiKey = Annotated[
    str, typer.Option("--api-key", envvar=API_KEY_VARIABLE, help="Your API key. Others see arguments: export it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DEFAULT_URL: Final = "http://127.0.0.1:8080"


@app.command()
def run(
    data_dir: Annotated[Path | None, typer.Option(help="Folder of database, pictures and the attester's log.")] = None,
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
    clients_file: Annotated[Path | None, typer.Option(help="TOML: [clients] name = API key.")] = None,
    providers_file: Annotated[Path | None, typer.Option(help="TOML: [providers] address = API key.")] = None,
    hub_id: Annotated[str | None, typer.Option(help="This hub's name in receipts (hub).")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (8080); 0 takes a free one.")] = None,
    database_url: Annotated[str | None, typer.Option(help="SQLAlchemy URL instead of the SQLite file.")] = None,
    max_concurrent_jobs: Annotated[int | None, typer.Option(help="Jobs with providers at one time (8).")] = None,
    max_waiting_jobs: Annotated[int | None, typer.Option(help="Jobs that may wait (64).")] = None,
    provider_timeout_s: Annotated[float | None, typer.Option(help="For one provider's answer (180).")] = None,
    job_timeout_s: Annotated[float | None, typer.Option(help="For one job (600).")] = None,
    shutdown_grace_s: Annotated[float | None, typer.Option(help="For running jobs after SIGTERM (20).")] = None,
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


@app.command()
def submit(
    prompt: Annotated[str, typer.Argument(help="What to draw.")],
    api_key: ApiKey,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the picture.")] = Path("image.png"),
    hub: HubUrl = _DEFAULT_URL,
    steps: Annotated[int, typer.Option(help="Denoising steps, 5 to 100.")] = 30,
    guidance: Annotated[float, typer.Option(help="How strictly the prompt is followed, 0 to 25.")] = 7.5,
    width: Annotated[int, typer.Option(help="Pixels, 256 to 1024, a multiple of 8.")] = 512,
    height: Annotated[int, typer.Option(help="Pixels, as the width.")] = 512,
    seed: Annotated[int | None, typer.Option(help="Chosen by the hub when omitted.")] = None,
    model: Annotated[str | None, typer.Option(help="Only providers with this model.")] = None,
    max_price: Annotated[str | None, typer.Option(help="The most AIT that the job may cost, such as 1.5.")] = None,
    keystore: Annotated[
        Path | None, typer.Option(help="Sign the request with this key; needs --hub-id and --max-price.")
    ] = None,
    password_file: Annotated[Path | None, typer.Option(help="File with the keystore's password.")] = None,
    hub_id: Annotated[str | None, typer.Option(help="The name of the one hub that may use the signature.")] = None,
    chain_id: Annotated[
        int | None, typer.Option(min=1, help="The network meant; else the wallet's default: aitbc wallet network list.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Folder of the wallet ($AITBC_HOME or ~/.aitbc).")] = None,
    wait_mint: Annotated[bool, typer.Option("--wait-mint", help="Return when the token is minted.")] = False,
    timeout_s: Annotated[float, typer.Option(min=1, help="How long to wait, in seconds.")] = 600,
    as_json: AsJson = False,
) -> None:
    """Send one job, wait for it, check its receipt, and write the picture."""
    from pydantic import ValidationError

    from chain.primitives.hexadecimal import parse_ait
    from hub.client import HubClient, HubClientError
    from hub.request import JobRequest

    fields: dict[str, Any] = {
        "prompt": prompt,
        "steps": steps,
        "guidance": guidance,
        "width": width,
        "height": height,
        "seed": seed,
        "model": model,
        "max_price": None if max_price is None else str(parse_ait(max_price, "--max-price")),
    }
    try:
        request = JobRequest(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(first["msg"], param_hint=name if name == "prompt" else f"--{name}") from None
    signing = None if keystore is None else _signing(keystore, password_file, hub_id, chain_id, home)
    try:
        with HubClient(hub, api_key, timeout_s=timeout_s) as client:
            job, png = client.submit(request, signing=signing)
            out.write_bytes(png)
            if wait_mint:
                job = client.wait_for_mint(job["job_id"], timeout_s)
    except HubClientError as error:
        raise _failed(str(error)) from None
    job.pop("image_base64", None)
    _show({**job, "image": str(out)}, as_json, wait_mint)


@app.command()
def status(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")],
    api_key: ApiKey,
    hub: HubUrl = _DEFAULT_URL,
    wait_mint: Annotated[bool, typer.Option("--wait-mint", help="Return when the token is minted.")] = False,
    timeout_s: Annotated[float, typer.Option(min=1, help="How long to wait, in seconds.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Show a job: its provider, receipt, attestation and mint."""
    from hub.client import HubClient, HubClientError

    try:
        with HubClient(hub, api_key, timeout_s=timeout_s) as client:
            job = client.wait_for_mint(job_id, timeout_s) if wait_mint else client.job(job_id)
    except HubClientError as error:
        raise _failed(str(error)) from None
    _show(job, as_json, wait_mint)


def _signing(
    keystore: Path, password_file: Path | None, hub_id: str | None, chain_id: int | None, home: Path | None
) -> "HubSigning":
    """The key, unlocked, and for whom it signs: what the user says and the wallet knows, not what the hub does."""
    from hub.client import HubSigning
    from wallet.accounts import default_home
    from wallet.keystore import KeystoreError, load_key
    from wallet.known_networks import KnownNetworks
    from wallet.passwords import read_password

    if hub_id is None:
        raise _failed("a signature is for one hub: say --hub-id, which its operator knows")
    try:
        meant = KnownNetworks(home or default_home()).meant(chain_id)
    except KeystoreError as error:
        raise _failed(str(error)) from None
    if meant is None:
        raise _failed("which network? say --chain-id, or let the wallet know it: aitbc wallet network add")
    return HubSigning(load_key(keystore, read_password(password_file, purpose=str(keystore))), hub_id, meant)


def _failed(message: str) -> typer.Exit:
    from wallet.terminal import plain

    print(f"aitbc hub: {plain(message)}", file=sys.stderr)
    return typer.Exit(1)


def _show(job: dict[str, Any], as_json: bool, wait_mint: bool) -> None:
    """Prints a job; fails where its mint was waited for in vain."""
    if as_json:
        print(json.dumps(job, indent=2))
    else:
        print_job(job)
    if wait_mint and job["mint"]["state"] != "minted":
        raise _failed(f"not minted in time; ask again with: aitbc hub status {job['job_id']} --wait-mint")


def print_job(job: dict[str, Any]) -> None:
    """For people: what they ask about most, without what could steer a terminal."""
    from chain.primitives.hexadecimal import format_ait
    from wallet.terminal import plain

    receipt = job.get("receipt") or {}
    lines = {
        "job": job["job_id"],
        "status": job["status"],
        "reason": job["reason"] and f"{job['reason']}: {job['detail']}",
        "image": job.get("image"),
        "seed": job["seed"],
        "provider": job["provider"],
        "units": receipt and f"{receipt['units']} {receipt['unit_type']}",
        "amount": receipt and f"{format_ait(int(receipt['amount']))} AIT",
        "receipt hash": job["receipt_hash"],
        "mint": f"{job['mint']['state']} {job['mint']['transaction_hash'] or ''}".rstrip(),
    }
    for name, value in lines.items():
        if value:
            print(plain(f"{name:13} {value}"))
