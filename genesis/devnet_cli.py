"""`aitbc devnet`: its options, its progress on stderr, and its summary on stdout."""

import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from chain.node.folder import SetupError
from chain.primitives.hexadecimal import format_ait
from chain.storage.errors import StorageError
from genesis.devnet import Devnet
from genesis.job import PICTURES, PROMPT, JobSummary, Share
from genesis.market import DECIMALS, HOLDER_ATOMS
from genesis.processes import ProcessFailed
from genesis.topology import MAX_VALIDATORS

app = typer.Typer(help="A whole network on this machine, from nothing to a minted token.")


def _on_signal(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@app.command()
def devnet(
    folder: Annotated[
        Path,
        typer.Option("--dir", help="Where everything is kept. A folder of an earlier devnet is taken up again."),
    ] = Path("devnet"),
    validators: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_VALIDATORS,
            help="How many validators: 4 unless the folder has another number. With 4, any one may be lost.",
            show_default=False,
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Run one job to its minted end, then stop everything.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON on stdout.")] = False,
    prompt: Annotated[str, typer.Option(help="What the pictures shall show.")] = PROMPT,
    pictures: Annotated[
        int, typer.Option("--pictures", min=1, max=64, help="How many; several are shared by the providers.")
    ] = PICTURES,
) -> None:
    """Start validators, a follower, a hub and two providers as real processes on loopback, and serve some images.

    The hub shares them out, has one receipt signed for all, and attests it; the chain mints for everybody who worked,
    in proportion: the first tokens there are. Without --once the
    network keeps running until Ctrl-C; its URLs, keys and API keys stand in DIR/devnet.json, for scripts and tools.
    Any one of four validators may be killed meanwhile, and a killed follower is started again.
    """
    signal.signal(signal.SIGTERM, _on_signal)
    console = Console(stderr=True, highlight=False)
    started = time.monotonic()

    def progress(message: str) -> None:
        # Escaped: the prompt is in a message, and brackets in it are no markup.
        console.print(f"[dim]{time.monotonic() - started:6.1f} s[/dim]  {escape(message)}", soft_wrap=True)

    try:
        with Devnet(folder, progress, validators=validators) as network:
            network.start()
            summary = network.run_job(prompt, pictures)
            if as_json:
                print(json.dumps(msgspec.to_builtins(summary)), flush=True)
            else:
                _print_summary(summary)
            if not once:
                _keep_running(network, console)
            progress("stopping")
    except (ProcessFailed, SetupError, StorageError) as failure:
        console.print(f"aitbc devnet: {failure}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("stopped")
        raise typer.Exit(130 if once else 0) from None


def _print_summary(summary: JobSummary) -> None:
    unit = summary.unit_type.replace("_", " ")
    rows = [
        *(("picture", image) for image in summary.images),
        *((f"{share.name} made", _share_text(share, unit, int(summary.amount))) for share in summary.shares),
        ("receipt", f"{summary.receipt_hash}, for all of it"),
        ("mint", f"{summary.transaction_hash} at height {summary.height}, final"),
        *((f"{name} holds", f"{format_ait(int(atoms))} AIT") for name, atoms in summary.balances.items() if int(atoms)),
        ("supply", f"{format_ait(int(summary.supply))} AIT, all of it minted for receipts"),
    ]
    for label, value in rows:
        print(f"{label:>16}  {value}")
    sys.stdout.flush()


def _share_text(share: Share, unit: str, whole_atoms: int) -> str:
    amount = int(share.amount)
    pictures = f"{share.pictures} picture{'s' * (share.pictures != 1)}"
    part = f"{100 * amount / whole_atoms:.1f} %" if whole_atoms else "nothing to share"
    return f"{pictures}, {share.units} {unit}: {format_ait(amount)} AIT, {part}"


def _keep_running(network: Devnet, console: Console) -> None:
    description = json.loads(network.description_file.read_text())
    console.print()
    parts = [*description["nodes"], {"name": "hub", **description["hub"]}, *description["providers"]]
    for part in parts:
        console.print(f"  {part['name']:<12} {part['url']}/docs", soft_wrap=True)
    market, follower = description["market"], description["nodes"][0]["url"]
    given = f"alice and bob were given {HOLDER_ATOMS // 10**DECIMALS:,} {market['quote_symbol']} each"
    console.print(f"  {'exchange':<12} {follower}/exchange/{market['market']}  ({given})", soft_wrap=True)
    hub = description["hub"]
    console.print(f"  {'draw':<12} {hub['url']}/  (API key {hub['api_key']})", soft_wrap=True)
    console.print(f"  {'the rest':<12} {network.description_file}", soft_wrap=True)
    _print_wallet_network(description["wallet_network"], description["chain_id"], console)
    console.print("  Ctrl-C stops everything; the same --dir takes it up again.\n")
    while True:
        network.require_running()
        time.sleep(0.5)


def _print_wallet_network(parameters: dict[str, Any], chain_id: int, console: Console) -> None:
    """What one types into MetaMask to add the network."""
    console.print("\n  in MetaMask, “Add a custom network”:")
    rows = [
        ("name", parameters["chainName"]),
        ("RPC URL", parameters["rpcUrls"][0]),
        ("chain id", str(chain_id)),
        ("symbol", parameters["nativeCurrency"]["symbol"]),
    ]
    for label, value in rows:
        console.print(f"  {label:<12} {value}", soft_wrap=True)
    console.print()
