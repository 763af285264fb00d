"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Final

import typer

API_KEY_VARIABLE: Final = "AITBC_HUB_API_KEY"
URL_VARIABLE: Final = "AITBC_HUB_URL"
DEFAULT_URL: Final = "http://127.0.0.1:8080"

HubUrl = Annotated[str, typer.Option("--hub", envvar=URL_VARIABLE, help="The hub's URL.")]
ApiKey = Annotated[
    str,
    typer.Option(
        "--api-key", envvar=API_KEY_VARIABLE, help="Your API key, or the job's token. Others see arguments: export it."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of database, pictures and attester's log.")]
DatabaseUrl = Annotated[str | None, typer.Option(help="SQLAlchemy URL instead of the SQLite file.")]
