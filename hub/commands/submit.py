"""`aitbc hub submit`: sends a job, watches it, checks its receipt, and writes the pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.commands.flags import API_KEY_VARIABLE, DEFAULT_URL, AsJson, HubUrl
from hub.commands.outcome import failed, reporting
from hub.commands.showing import show_job, show_progress, tell_job
from hub.commands.signing_orders import signing_of
from hub.commands.taking import check_folder, picture_files, write_pictures

_AS_GIVEN = (
    *("negative_prompt", "steps", "guidance", "width", "height", "seed", "model", "min_vram_mib", "priority"),
    "deadline_s",
)
SubmitKey = Annotated[
    str,
    typer.Option(
        "--api-key", envvar=API_KEY_VARIABLE, help="Your API key, where you have one. Others see arguments: export it."
    ),
]

if TYPE_CHECKING:
    from hub.client import HubClient, HubSigning
    from hub.orders.request import JobRequest


def submit(
    prompt: Annotated[list[str], typer.Argument(help="What to draw; several are a picture each.")],
    api_key: SubmitKey = "",
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
        bool, typer.Option("--escrow", help="Pay from your deposit at this hub; needs --from or --keystore.")
    ] = False,
    account: Annotated[
        str | None,
        typer.Option("--from", help="Sign the request with this account of the wallet; needs --hub-id, --max-price."),
    ] = None,
    keystore: Annotated[Path | None, typer.Option(help="The same with the key in this file.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File with the keystore's password.")] = None,
    hub_id: Annotated[str | None, typer.Option(help="The name of the one hub that may use the signature.")] = None,
    chain_id: Annotated[
        int | None, typer.Option(min=1, help="The network meant; else the wallet's default: aitbc wallet network list.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Folder of the wallet ($AITBC_HOME or ~/.aitbc).")] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only say what it would cost, and when. Without an API key it is signed as an order is, for an hour.",
        ),
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return as soon as the hub has taken the job.")] = False,
    wait_mint: Annotated[bool, typer.Option("--wait-mint", help="Return when the tokens are minted.")] = False,
    timeout_s: Annotated[float, typer.Option(min=1, help="How long to wait, in seconds.")] = 600,
    as_json: AsJson = False,
) -> None:
    """Send a job, watch it, check its receipt, and write the pictures. A job that you sign needs no API key."""
    request = _request(dict(locals()))
    if not (dry_run or no_wait):
        check_folder(out)
    if escrow and account is None and keystore is None:
        raise typer.BadParameter(
            "needs --from or --keystore: what you sign allows the hub to pay", param_hint="--escrow"
        )
    from hub.client import HubClient

    signing = signing_of(account, keystore, password_file=password_file, hub_id=hub_id, chain_id=chain_id, home=home)
    if not api_key and signing is None:
        raise failed("say who you are: --api-key (or export AITBC_HUB_API_KEY), or sign with --from or --keystore")
    with reporting(), HubClient(hub, api_key, timeout_s=timeout_s) as client:
        if dry_run and api_key:
            _show_offer(client.estimate(request), as_json)
            return
        if escrow:
            request = request.model_copy(update={"payment": "escrow"})
        if dry_run:
            _show_offer(client.estimate(request, signing=signing), as_json)
            return
        job, request = client.submit(request, signing=signing)
        sent = {"job_token": job.get("job_token")}
        if no_wait:
            show_job(job, as_json=as_json)
            return
        if not as_json:
            tell_job(job)
        show_progress(client.events(job["job_id"], timeout_s), request.pictures)
        job = client.wait_for_end(job["job_id"], timeout_s)
        files = _take_pictures(client, job, request, signing, out)
        if wait_mint:
            job = client.wait_for_mint(job["job_id"], timeout_s)
    show_job({**job, **sent, "files": files}, as_json=as_json, wait_mint=wait_mint)
    if job["status"] != "done":
        raise typer.Exit(1)


def _request(given: dict[str, Any]) -> "JobRequest":
    """From the options, but for how it is paid: that needs a signature."""
    from pydantic import ValidationError

    from chain.primitives.hexadecimal import parse_ait
    from chain.primitives.rejection import Rejected
    from hub.orders.request import JobRequest

    prompts = given["prompt"]
    try:
        most = None if given["max_price"] is None else str(parse_ait(given["max_price"], "--max-price"))
    except Rejected as error:
        raise typer.BadParameter(error.message, param_hint="--max-price") from None
    fields = {
        **({"prompts": prompts} if len(prompts) > 1 else {"prompt": prompts[0], "n": given["count"]}),
        **{name: given[name] for name in _AS_GIVEN},
        "max_price": most,
    }
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
    return write_pictures(picture_files(job, out), contents)


def _show_offer(offer: dict[str, Any], as_json: bool) -> None:
    import json

    from chain.primitives.hexadecimal import format_ait
    from wallet.terminal import plain

    if as_json:
        print(json.dumps(offer, indent=2))
        return
    least, most = (format_ait(int(offer[name])) for name in ("least_amount", "most_amount"))
    print(plain(f"{least} to {most} AIT, done in about {offer['ends_in_s']} s"))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(submit)
