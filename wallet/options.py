"""The options that several commands share, each with its one meaning."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from wallet.accounts import HOME_VARIABLE, default_home
from wallet.passwords import PASSWORD_VARIABLE

NODE_URL_VARIABLE: Final = "AITBC_NODE_URL"
DEFAULT_NODE_URL: Final = "http://127.0.0.1:8545"
"""Where `aitbc node run` listens unless told otherwise."""


class Wait(StrEnum):
    """How far to follow a transaction."""

    FINAL = "final"
    NONE = "none"


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
    str, typer.Option("--node-url", envvar=NODE_URL_VARIABLE, help="Whom to ask: the address of a node.")
]
OptionalNodeUrl = Annotated[
    str | None,
    typer.Option("--node-url", envvar=NODE_URL_VARIABLE, help="Ask this node about attesters and mint as well."),
]
ChainId = Annotated[
    int | None,
    typer.Option("--chain-id", min=1, help="The network meant; without it, the first one that this home has met."),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", help=f"File with the keystore's password; else ${PASSWORD_VARIABLE}, else you are asked."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; amounts as decimal strings of atoms.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before signing.")]
Light = Annotated[bool, typer.Option("--light", help="Cheaper scrypt (4 MiB, not 256): only for keys of little worth.")]
TimeoutS = Annotated[float, typer.Option("--timeout-s", min=0, max=86_400, help="How long to wait for finality.")]
From = Annotated[
    str | None, typer.Option("--from", help="Account that signs: name or address. Not needed where there is one only.")
]
Nonce = Annotated[int | None, typer.Option("--nonce", min=0, help="Instead of the account's next one.")]
WaitFor = Annotated[Wait, typer.Option("--wait", help="Until it is final, or only until the node has it.")]
