"""`aitbc wallet`: every command in its place. What they do is in `wallet.commands`.

Starts fast: nothing here or in what it imports loads httpx, eth-account, FastAPI or torch; what needs them does.
"""

import typer

from wallet.commands import (
    assets,
    attesting,
    balances,
    compliance,
    doctor,
    escrow,
    exporting,
    keys,
    making,
    markets,
    networks,
    providers,
    receipts,
    relaying,
    sending,
    signatures,
    swaps,
    transactions,
)
from wallet.signers.commands import signer
from wallet.terminal import EXIT_CODES, WalletGroup

app = typer.Typer(
    name="wallet", cls=WalletGroup, no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES, add_completion=False
)


@app.callback()
def wallet() -> None:
    """Keep keys, see balances, send AIT, mint for receipts and check them, sign messages and typed data."""


# In the order in which `--help` shows them. An underscore keeps a name off a word of Python's.
for command in (
    making.new,
    making.import_,
    making.derive,
    keys.list_,
    keys.show,
    keys.rename,
    keys.remove,
    keys.bind,
    exporting.export,
    balances.balance,
    balances.nonce,
    balances.history,
    sending.send,
    sending.mint,
    relaying.authorize,
    relaying.relay,
    relaying.revoke,
    providers.providers,
    doctor.doctor,
    signer,
):
    app.command(command.__name__.rstrip("_"))(command)

app.add_typer(transactions.app, name="tx")
app.add_typer(receipts.app, name="receipt")
app.add_typer(signatures.sign_app, name="sign")
app.add_typer(signatures.verify_app, name="verify")
app.add_typer(markets.app, name="market")
app.add_typer(assets.app, name="asset")
app.add_typer(compliance.app, name="compliance")
app.add_typer(attesting.app, name="attest")
app.add_typer(swaps.app, name="swap")
app.add_typer(escrow.app, name="escrow")
app.add_typer(networks.app, name="network")
