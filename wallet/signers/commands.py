"""`aitbc wallet signer`: serves accounts of this wallet to a node or a hub, until it is stopped."""

from pathlib import Path
from typing import Annotated, Final

import typer

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from wallet.accounts import Account, Accounts
from wallet.attester import attester_network
from wallet.options import Home, complete_names
from wallet.passwords import read_password
from wallet.signers.purposes import Purpose
from wallet.terminal import CommandError, ExitCode, say

DEFAULT_LISTEN: Final = "127.0.0.1:9000"
"""Where Web3Signer listens unless told otherwise."""
_LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost")


def signer(
    account: Annotated[
        list[str],
        typer.Option("--account", help="Whose key to sign with; may be repeated.", autocompletion=complete_names),
    ],
    purpose: Annotated[
        list[Purpose], typer.Option("--for", help="What to sign; may be repeated. Everything else is refused.")
    ],
    home: Home,
    listen: Annotated[
        str, typer.Option("--listen", help="HOST:PORT. Whoever reaches it can have things signed.")
    ] = DEFAULT_LISTEN,
    chain_id: Annotated[
        int | None, typer.Option("--chain-id", min=1, help="The network whose governance is meant; for `governance`.")
    ] = None,
    password_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--password-file", help="One for all accounts, or one for each in their order; else you are asked."
        ),
    ] = None,
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")] = "info",
) -> None:
    """Sign for a node or a hub on another machine or of another user, by Web3Signer's HTTP API.

    The keys stay here. One line in the log for each signature; nothing that was not asked for by --for is signed.
    """
    from importlib.metadata import version

    from prometheus_client import CollectorRegistry

    from chain.web.logs import set_up_logging
    from chain.web.server import serve
    from wallet.signers.service import create_signer_api

    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter("must be debug, info, warning or error", param_hint="--log-level")
    if Purpose.GOVERNANCE in purpose and chain_id is None:
        raise typer.BadParameter("governance needs to know the network's --chain-id", param_hint="--for")
    host, port = _address_of(listen)
    accounts = [Accounts(home).find(name) for name in account]
    for each in accounts:
        _check_purpose(each, purpose)
    keys = _unlock(accounts, password_file or [])
    set_up_logging(log_level)
    application = create_signer_api(
        keys,
        purpose,
        chain_id=_attesters_chain_id(accounts) if chain_id is None else chain_id,
        version=version("aitbc"),
        registry=CollectorRegistry(),
        hosts=_LOOPBACK_NAMES if host in _LOOPBACK_NAMES else ("*",),
    )

    def on_ready(url: str) -> None:
        for each, key in zip(accounts, keys, strict=True):
            typer.echo(f"{each.name}  {to_checksum_address(key.address)}  {to_hex(key.public_key)}")
        typer.echo(f"signing {', '.join(purpose)} at {url}")

    serve(application, host=host, port=port, on_ready=on_ready)


def _address_of(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise typer.BadParameter("must be HOST:PORT, such as 127.0.0.1:9000", param_hint="--listen")
    return host, int(port)


def _check_purpose(account: Account, purposes: list[Purpose]) -> None:
    """An attester's key signs attestations alone, and only such a key does: what it signs names no network."""
    is_attester = attester_network(account.keystore) is not None
    if is_attester and set(purposes) != {Purpose.ATTESTATIONS}:
        raise CommandError(f"{account.name} is an attester's key: it is served for attestations alone", ExitCode.FAILED)
    if not is_attester and Purpose.ATTESTATIONS in purposes:
        raise CommandError(
            f"{account.name} is no attester's key: make it one, for one network, with: aitbc wallet bind",
            ExitCode.FAILED,
        )


def _attesters_chain_id(accounts: list[Account]) -> int | None:
    """The one network that the attesters among them serve: what they sign of split and paid jobs names it."""
    networks = {network.chain_id for each in accounts if (network := attester_network(each.keystore)) is not None}
    return networks.pop() if len(networks) == 1 else None


def _unlock(accounts: list[Account], password_files: list[Path]) -> list[PrivateKey]:
    if len(password_files) not in (0, 1, len(accounts)):
        raise CommandError("give --password-file once, or once for each account", ExitCode.USAGE)
    files: list[Path | None] = [None] * len(accounts)
    if password_files:
        files = [*(password_files if len(password_files) > 1 else password_files * len(accounts))]
    keys = []
    for account, file in zip(accounts, files, strict=True):
        keys.append(account.keystore.unlock(read_password(file, purpose=f"the account {account.name}")))
        say(f"unlocked {account.name}")
    return keys
