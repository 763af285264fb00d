"""`aitbc hub submit`: sends a job, watches it, checks its receipt, and writes the pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.commands.flags import DEFAULT_URL, ApiKey, AsJson, HubUrl
from hub.commands.outcome import failed, reporting
from hub.commands.showing import show_job, show_progress

if TYPE_CHECKING:
    from hub.client import HubClient, HubSigning
    from hub.orders.request import JobRequest


def submit(
    prompt: Annotated[list[str], typer.Argument(help="What to draw; several are a picture each.")],
    api_key: ApiKey,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where to write: a file, or for several pictures its name with numbers.")
    ] = Path("image.png"),
    hub: HubUrl = DEFAULT_URL,
    count: Annotated[int, typer.Option("--count", "-n", help="Pictures, 1 to 256.")] = 1,
    negative_prompt: Annotated[str, typer.Option(help="What the pictures shall not show.")] = "",
    steps: Annotated[int, typer.Option(help="Denoising steps, 5 to 100.")] = 30,
    guidance: Annotated[float, typer.Option(help="How strictly the prompt is followed, 0 to 25.")] = 7.5,
    width: Annotated[int, typer.Option(help="Pixels, 256 to 1024, a multiple of 8.")] = 512,
    height: Annotated[int, typer.Option(help="Pixels, as the width.")] = 512,
    seed: Annotated[int | None, typer.Option(help="Of the first picture; chosen by the hub when omitted.")] = None,
    model: Annotated[str | None, typer.Option(help="Only providers with this model.")] = None,
    max_price: Annotated[str | None, typer.Option(help="The most AIT that the job may cost, such as 1.5.")] = None,
    min_vram_mib: Annotated[int, typer.Option(help="Only providers with so much memory.")] = 0,
    priority: Annotated[int, typer.Option(help="0 to 9.")] = 5,
    deadline_s: Annotated[float | None, typer.Option(help="What is not there by then is not wanted.")] = None,
    escrow: Annotated[
        bool, typer.Option("--escrow", help="Pay from your deposit at this hub; needs --keystore.")
    ] = False,
    keystore: Annotated[
        Path | None, typer.Option(help="Sign the request with this key; needs --hub-id and --max-price.")
    ] = None,
    password_file: Annotated[Path | None, typer.Option(help="File with the keystore's password.")] = None,
    hub_id: Annotated[str | None, typer.Option(help="The name of the one hub that may use the signature.")] = None,
    chain_id: Annotated[
        int | None, typer.Option(min=1, help="The network meant; else the wallet's default: aitbc wallet network list.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Folder of the wallet ($AITBC_HOME or ~/.aitbc).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would cost, and when.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return as soon as the hub has taken the job.")] = False,
    wait_mint: Annotated[bool, typer.Option("--wait-mint", help="Return when the tokens are minted.")] = False,
    timeout_s: Annotated[float, typer.Option(min=1, help="How long to wait, in seconds.")] = 600,
    as_json: AsJson = False,
) -> None:
    """Send a job, watch it, check its receipt, and write the pictures."""
    from chain.primitives.hexadecimal import parse_ait
    from hub.client import HubClient

    fields: dict[str, Any] = {
        **({"prompts": prompt} if len(prompt) > 1 else {"prompt": prompt[0], "n": count}),
        "negative_prompt": negative_prompt,
        "steps": steps,
        "guidance": guidance,
        "width": width,
        "height": height,
        "seed": seed,
        "model": model,
        "max_price": None if max_price is None else str(parse_ait(max_price, "--max-price")),
        "min_vram_mib": min_vram_mib,
        "priority": priority,
        "deadline_s": deadline_s,
    }
    request = _request(fields)
    if escrow and keystore is None:
        raise typer.BadParameter("needs --keystore: what you sign allows the hub to pay", param_hint="--escrow")
    signing = None if keystore is None else _signing(keystore, password_file, hub_id, chain_id, home)
    with reporting(), HubClient(hub, api_key, timeout_s=timeout_s) as client:
        if dry_run:
            _show_offer(client.estimate(request), as_json)
            return
        if escrow:
            request = request.model_copy(update={"payment": "escrow"})
        job, request = client.submit(request, signing=signing)
        if no_wait:
            show_job(job, as_json=as_json)
            return
        show_progress(client.events(job["job_id"], timeout_s), request.pictures)
        job = client.wait_for_end(job["job_id"], timeout_s)
        files = _take_pictures(client, job, request, signing, out)
        if wait_mint:
            job = client.wait_for_mint(job["job_id"], timeout_s)
    show_job({**job, "files": files}, as_json=as_json, wait_mint=wait_mint)
    if job["status"] != "done":
        raise typer.Exit(1)


def _request(fields: dict[str, Any]) -> "JobRequest":
    from pydantic import ValidationError

    from hub.orders.request import JobRequest

    try:
        return JobRequest(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = {"n": "count", "prompts": "prompt"}.get(str(first["loc"][0]), str(first["loc"][0])).replace("_", "-")
        raise typer.BadParameter(first["msg"], param_hint=name if name == "prompt" else f"--{name}") from None


def _take_pictures(
    client: "HubClient", job: dict[str, Any], request: "JobRequest", signing: "HubSigning | None", out: Path
) -> list[str]:
    """Checks them against the receipt, where there is one, and writes them."""
    from hub.client_checks import check_job

    contents = [client.picture(job["job_id"], picture["number"]) for picture in job["pictures"]]
    if job["receipt"] is not None:
        check_job(job, contents, request, signing)
    files: list[str] = []
    for picture, content in zip(job["pictures"], contents, strict=True):
        path = out if request.pictures == 1 else out.with_stem(f"{out.stem}-{picture['number']}")
        path.write_bytes(content)
        files.append(str(path))
    return files


def _show_offer(offer: dict[str, Any], as_json: bool) -> None:
    import json

    from chain.primitives.hexadecimal import format_ait
    from wallet.terminal import plain

    if as_json:
        print(json.dumps(offer, indent=2))
        return
    least, most = (format_ait(int(offer[name])) for name in ("least_amount", "most_amount"))
    print(plain(f"{least} to {most} AIT, done in about {offer['ends_in_s']} s"))


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
        raise failed("a signature is for one hub: say --hub-id, which its operator knows")
    try:
        meant = KnownNetworks(home or default_home()).meant(chain_id)
    except KeystoreError as error:
        raise failed(str(error)) from None
    if meant is None:
        raise failed("which network? say --chain-id, or let the wallet know it: aitbc wallet network add")
    return HubSigning(load_key(keystore, read_password(password_file, purpose=str(keystore))), hub_id, meant)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(submit)
