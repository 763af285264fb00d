"""`aitbc hub status`, `watch` and `cancel`: a job that was sent, or the hub itself."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.commands.flags import API_KEY_VARIABLE, DEFAULT_URL, ApiKey, AsJson, HubUrl, JobId
from hub.commands.outcome import failed, reporting
from hub.commands.showing import show_job, show_progress
from hub.commands.taking import check_folder, picture_files, write_pictures

OptionalKey = Annotated[
    str,
    typer.Option("--api-key", envvar=API_KEY_VARIABLE, help="Where a job is asked for: your API key, or its token."),
]


def status(
    job_id: Annotated[str | None, typer.Argument(metavar="JOB", help="A job's id; without one: the hub.")] = None,
    api_key: OptionalKey = "",
    hub: HubUrl = DEFAULT_URL,
    wait_mint: Annotated[bool, typer.Option("--wait-mint", help="Return when the tokens are minted.")] = False,
    timeout_s: Annotated[float, typer.Option(min=1, help="How long to wait, in seconds.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Show a job: its pictures, receipt, attestation and mint. Without a job: how the hub is."""
    from hub.client import HubClient

    with reporting(), HubClient(hub, api_key, timeout_s=timeout_s) as client:
        if job_id is None:
            _show_hub(client.hub(), as_json)
            return
        if not api_key:
            raise failed(
                "a job is shown to whose it is: say --api-key, your key or the job's token (or AITBC_HUB_API_KEY)"
            )
        job = client.wait_for_mint(job_id, timeout_s) if wait_mint else client.job(job_id)
    show_job(job, as_json=as_json, wait_mint=wait_mint)


def _show_hub(hub: dict[str, Any], as_json: bool) -> None:
    from wallet.terminal import plain

    if as_json:
        print(json.dumps(hub, indent=2))
        return
    for name, value in hub.items():
        print(plain(f"{str(name).replace('_', ' '):17} {value}"))


def watch(
    job_id: JobId,
    api_key: ApiKey,
    hub: HubUrl = DEFAULT_URL,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write the pictures at the end: a file, or for several its name with numbers."
        ),
    ] = None,
    timeout_s: Annotated[float, typer.Option(min=1, help="How long to watch, in seconds.")] = 600,
    as_json: AsJson = False,
) -> None:
    """Watch a job until its end; with --json, one event a line."""
    from hub.client import HubClient
    from hub.client_checks import check_pictures

    if out is not None:
        check_folder(out)
    with reporting(), HubClient(hub, api_key, timeout_s=timeout_s) as client:
        job = client.job(job_id)
        events = client.events(job_id, timeout_s)
        if as_json:
            for event in events:
                print(json.dumps(event), flush=True)
        else:
            show_progress(events, job["pictures_asked"])
        job, files = client.job(job_id), []
        if out is not None:
            contents = [client.picture(job_id, picture["number"]) for picture in job["pictures"]]
            check_pictures(job, contents)
            files = write_pictures(picture_files(job, out), contents)
        if not as_json:
            show_job({**job, "files": files}, as_json=False)


def cancel(
    job_id: JobId,
    api_key: ApiKey,
    hub: HubUrl = DEFAULT_URL,
    timeout_s: Annotated[float, typer.Option(min=1, help="How long to wait for its end, in seconds.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Take a job back. What was delivered of it stays yours, and is paid."""
    from hub.client import HubClient

    with reporting(), HubClient(hub, api_key, timeout_s=timeout_s) as client:
        client.cancel(job_id)
        job = client.wait_for_end(job_id, timeout_s)
    show_job(job, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (status, watch, cancel):
        app.command()(command)
