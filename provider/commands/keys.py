"""`aitbc provider keys`: who may ask for pictures. Secrets are shown once; the file holds their hashes."""

import json
from pathlib import Path
from typing import Annotated

import typer

from provider.commands.flags import AsJson
from provider.commands.outcome import report, show_table

KeysFile = Annotated[
    Path | None, typer.Option("--api-keys-file", help="The TOML file; by default the one of the settings.")
]
Name = Annotated[str, typer.Argument(help="Letters, digits and . _ : -; it stands in receipts as `client`.")]

app = typer.Typer(help="Add, list and remove API keys; a running provider takes them at its next start.")


@app.command("list")
def list_keys(api_keys_file: KeysFile = None, as_json: AsJson = False) -> None:
    """Show whose keys there are, never the keys."""
    rows = report(lambda: _list(api_keys_file))
    if as_json:
        print(json.dumps({"keys": rows}))
    else:
        show_table(rows)


@app.command()
def add(
    name: Name,
    api_keys_file: KeysFile = None,
    as_json: AsJson = False,
) -> None:
    """Draw a key and show it, this once."""
    secret = report(lambda: _add(name, api_keys_file))
    print(json.dumps({"name": name, "api_key": secret}) if as_json else secret)


@app.command()
def remove(name: Name, api_keys_file: KeysFile = None) -> None:
    """Take a key away."""
    report(lambda: _remove(name, api_keys_file))


def register(provider: typer.Typer) -> None:
    """Adds the group."""
    provider.add_typer(app, name="keys", no_args_is_help=True)


def _list(api_keys_file: Path | None) -> list[dict[str, object]]:
    from provider.commands.key_files import read_callers

    return [{"name": caller.name, "hashed": not is_plain} for caller, is_plain in read_callers(_path(api_keys_file))]


def _add(name: str, api_keys_file: Path | None) -> str:
    from provider.api_keys import Caller, hash_of, new_secret
    from provider.commands.key_files import add_key

    secret = new_secret()
    add_key(_path(api_keys_file), Caller(name), hash_of(secret))
    return secret


def _remove(name: str, api_keys_file: Path | None) -> None:
    from provider.commands.key_files import remove_key

    remove_key(_path(api_keys_file), name)


def _path(api_keys_file: Path | None) -> Path:
    from provider.errors import ConfigurationError
    from provider.settings import ProviderSettings

    path = ProviderSettings.build(api_keys_file=api_keys_file).api_keys_file
    if path is None:
        raise ConfigurationError("which file? pass --api-keys-file, or set AITBC_PROVIDER_API_KEYS_FILE")
    return path
