"""`aitbc provider health`: what a provider says of itself."""

from typing import Annotated, Any

import typer

from provider.commands.flags import AsJson
from provider.commands.outcome import EXIT_FAILED, report, show

_TIMEOUT_S = 5.0


def health(
    url: Annotated[str, typer.Option(help="The provider's URL.")] = "http://127.0.0.1:8000",
    as_json: AsJson = False,
) -> None:
    """Ask a provider how it is; exit code 1 unless it takes jobs."""
    fields = report(lambda: ask_health(url))
    show(fields, as_json)
    if fields.get("status") != "ok":
        raise typer.Exit(EXIT_FAILED)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(health)


def ask_health(url: str) -> dict[str, Any]:
    """What a provider says of itself; raises ProviderError where none answers."""
    import httpx

    from provider.errors import ProviderError

    try:
        answer = httpx.get(f"{url.rstrip('/')}/v1/health", timeout=_TIMEOUT_S)
        fields = answer.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ProviderError(f"no answer from a provider at {url}: {error}") from None
    if not isinstance(fields, dict):
        raise ProviderError(f"what answers at {url} is no provider")
    return fields
