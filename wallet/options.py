"""The options that several commands share, each with its one meaning."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from chain.primitives.transaction import MAX_NONCE
from wallet.accounts import HOME_VARIABLE, AccountError, Accounts, default_home
from wallet.passwords import PASSWORD_VARIABLE

NODE_URL_VARIABLE: Final = "AITBC_NODE_URL"
DEFAULT_NODE_URL: Final = "http://127.0.0.1:8545"
"""Where `aitbc node run` listens unless told otherwise."""


class Wait(StrEnum):
    """How far to follow a transaction."""

    FINAL = "final"
    INCLUDED = "included"
    NONE = "none"


def complete_names(context: typer.Context, incomplete: str) -> list[str]:
    """For the shell's completion: the accounts of this home."""
    home = context.params.get("home") or default_home()
    try:
        return [name for name in Accounts(home).names() if name.startswith(incomplete)]
    except AccountError:  # The command itself will say it.
        return []


Home = Annotated[
    Path,
    typer.Option(
        "--home",
        default_factory=default_home,
        show_default=f"${HOME_VARIABLE} or ~/.aitbc",
        help="Folder of the wallet's keys.",
    ),
]
NodeUrl = Annotated[
    str | None,
    typer.Option(
        "--node-url",
        envvar=NODE_URL_VARIABLE,
        help=f"Whom to ask; else the network's own node, else {DEFAULT_NODE_URL}.",
    ),
]
OptionalNodeUrl = Annotated[
    str | None,
    typer.Option("--node-url", envvar=NODE_URL_VARIABLE, help="Ask this node about attesters and mint as well."),
]
ChainId = Annotated[
    int | None,
    typer.Option("--chain-id", min=1, help="The network meant; else the default one: see `network use`."),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", help=f"File with the keystore's password; else ${PASSWORD_VARIABLE}, else you are asked."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; amounts as decimal strings of atoms.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Show what will be done, but do not ask.")]
Light = Annotated[bool, typer.Option("--light", help="Cheaper scrypt (4 MiB, not 256): only for keys of little worth.")]
TimeoutS = Annotated[float, typer.Option("--timeout-s", min=0, max=86_400, help="How long to wait for finality.")]
NewName = Annotated[str, typer.Argument(help="Name of the account: letters, digits, '.', '_', '-'.")]
Name = Annotated[str, typer.Argument(help="Name or address of the account.", autocompletion=complete_names)]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Account that signs: name or address. Not needed where there is one only.",
        autocompletion=complete_names,
    ),
]
Nonce = Annotated[int | None, typer.Option("--nonce", min=0, max=MAX_NONCE, help="Instead of the account's next one.")]
WaitFor = Annotated[
    Wait,
    typer.Option("--wait", help="Until it is final, or in a block (here the same), or only until the node has it."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show it, and ask the node whether it would succeed; nothing is signed.")
]
Payee = Annotated[
    str,
    typer.Argument(help="Address, or the name of another account of this home.", autocompletion=complete_names),
]
Atoms = Annotated[bool, typer.Option("--atoms", help="AMOUNT counts atoms: 10^18 are 1 AIT.")]
