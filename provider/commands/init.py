"""`aitbc provider init`: everything that a new provider needs, in files of its own; nothing is ever overwritten."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provider.commands.flags import AsJson, Models, NodeUrl, Price
from provider.commands.outcome import report

if TYPE_CHECKING:
    from chain.primitives.types import Address
    from provider.commands.starting_files import StartingChoices

_PASSWORD_BYTES = 32
_CLIENT_NAME = "me"


def init(
    data_dir: Annotated[Path, typer.Option(help="Folder to make for the provider.")] = Path("provider-data"),
    env_file: Annotated[Path, typer.Option(help="File to write the settings to; `run` reads .env.")] = Path(".env"),
    keystore: Annotated[
        Path | None, typer.Option(help="A keystore that you have already; without it a new key is drawn.")
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(help="File with the keystore's password; without it one is drawn and kept beside the key."),
    ] = None,
    client: Annotated[str, typer.Option(help="Name of the first API key.")] = _CLIENT_NAME,
    node_url: NodeUrl = None,
    model: Models = None,
    price_per_unit: Price = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    as_json: AsJson = False,
) -> None:
    """Make a data folder, a key, an API key and a file of settings. The API key is shown once: keep it."""
    flags = {"node_url": node_url, "model": model, "price_per_unit": price_per_unit, "bind_port": port}
    request = _Request(data_dir, env_file, keystore, password_file, client)
    made = report(lambda: _make(request, flags))
    if as_json:
        print(json.dumps(made))
        return
    print(
        f"provider  {made['provider']}\napi key   {made['api_key']}  (shown once; {client} in {made['api_keys_file']})"
    )
    print(
        f"\nKeep a copy of {made['keystore']} and its password: what is minted belongs to that key.\n"
        f"Next:  {made['next']}",
        file=sys.stderr,
    )


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(init)


@dataclass(frozen=True)
class _Request:
    data_dir: Path
    env_file: Path
    keystore: Path | None
    password_file: Path | None
    client: str


def _make(request: _Request, flags: dict[str, Any]) -> dict[str, str]:
    """Checks everything, then writes; whatever was written goes again if the rest cannot be."""
    from chain.primitives.hexadecimal import to_checksum_address
    from provider.api_keys import ApiKeys, Caller, hash_of, new_secret
    from provider.commands.starting_files import StartingChoices, api_keys_text, dotenv_text
    from provider.settings import ProviderSettings
    from wallet.keystore import write_new_file

    settings = ProviderSettings.build(**flags)
    data_dir = request.data_dir.expanduser().absolute()
    choices = StartingChoices(
        data_dir=data_dir,
        keystore=(request.keystore or data_dir / "key.json").expanduser().absolute(),
        password_file=_password_path(request, data_dir),
        api_keys_file=data_dir / "keys.toml",
        node_url=settings.node_url,
        model=() if flags["model"] is None else settings.model,
        price_per_unit=settings.price_per_unit,
        port=settings.bind_port,
    )
    secret = new_secret()
    ApiKeys({Caller(request.client): secret})  # Refuses a name that no key may have.
    created: list[Path] = []
    _refuse_what_exists(request, choices)
    try:
        address = _take_key(request, choices, created)
        for path, text in (
            (choices.api_keys_file, api_keys_text(request.client, hash_of(secret))),
            (request.env_file, dotenv_text(choices)),
        ):
            write_new_file(path, text.encode())
            created.append(path)
    except BaseException:
        for path in created:
            path.unlink(missing_ok=True)
        raise
    is_found = request.env_file.name == ".env"
    folder = request.env_file.expanduser().absolute().parent
    start = "aitbc provider run" if is_found else f"set -a; . {request.env_file}; set +a; aitbc provider run"
    return {
        "provider": to_checksum_address(address),
        "api_key": secret,
        "data_dir": str(data_dir),
        "keystore": str(choices.keystore),
        "api_keys_file": str(choices.api_keys_file),
        "env_file": str(request.env_file.expanduser().absolute()),
        "next": start if folder == Path.cwd() or not is_found else f"cd {folder} && {start}",
    }


def _password_path(request: _Request, data_dir: Path) -> Path | None:
    if request.password_file is not None:
        return request.password_file.expanduser().absolute()
    return data_dir / "password" if request.keystore is None else None


def _refuse_what_exists(request: _Request, choices: "StartingChoices") -> None:
    from provider.errors import ConfigurationError

    planned = [choices.api_keys_file, request.env_file]
    if request.keystore is None:
        planned.append(choices.keystore)
    if request.password_file is None and choices.password_file is not None:
        planned.append(choices.password_file)
    if present := [str(path) for path in planned if path.exists() or path.is_symlink()]:
        message = f"there is {', '.join(present)} already; nothing was written (choose another --data-dir, --env-file)"
        raise ConfigurationError(message, reason="already_there")


def _take_key(request: _Request, choices: "StartingChoices", created: list[Path]) -> "Address":
    """The address of the key that is there, or of a new one; raises KeystoreError."""
    import secrets

    from chain.primitives.keys import PrivateKey
    from wallet.keystore import LIGHT_SCRYPT_N, STANDARD_SCRYPT_N, load_key, save_key, write_new_file
    from wallet.passwords import read_password, read_password_file

    if request.keystore is not None:
        # Opened once, so that `run` does not find out that the password is another's.
        password = read_password(choices.password_file, purpose=str(choices.keystore))
        return load_key(choices.keystore, password).address
    key = PrivateKey.generate()
    assert choices.password_file is not None
    if request.password_file is not None:
        password, cost = read_password_file(choices.password_file), STANDARD_SCRYPT_N
    else:
        # Whoever can read the key can read its password beside it; more scrypt would protect nothing.
        password, cost = secrets.token_urlsafe(_PASSWORD_BYTES), LIGHT_SCRYPT_N
        write_new_file(choices.password_file, f"{password}\n".encode())
        created.append(choices.password_file)
    save_key(choices.keystore, key, password, scrypt_n=cost)
    created.append(choices.keystore)
    return key.address
