"""`aitbc node verify`: replays a stopped node's chain and says whether everything in it is as it must be."""

import json
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from chain.node.folder import NodeFolder
from chain.node.options import EXIT_FAILED, AsJson, DataDir, explained
from chain.primitives.hexadecimal import to_hex

_REPORT_INTERVAL_S: Final = 1.0


class _ProgressLines:
    """A line on standard error now and then."""

    def __init__(self) -> None:
        self._started_s = self._shown_s = time.monotonic()

    def __call__(self, height: int, head_height: int) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_s < _REPORT_INTERVAL_S:
            return
        self._shown_s = now_s
        speed = height / (now_s - self._started_s)
        typer.echo(f"block {height} of {head_height}, {speed:.0f} blocks/s", err=True)


def verify(
    data_dir: DataDir,
    as_json: AsJson = False,
    scratch_dir: Annotated[
        Path | None,
        typer.Option(
            "--scratch-dir",
            file_okay=False,
            exists=True,
            help="Where temporary files go, about as large as the chain. Default: the system's temporary folder.",
        ),
    ] = None,
) -> None:
    """Replay a stopped node's whole chain from genesis: every signature, certificate, root and stored record."""
    from chain.node.verification.replay import Fault, verify_folder

    with explained():
        folder = NodeFolder.existing(data_dir)
        try:
            found = verify_folder(folder, report=_ProgressLines(), scratch=scratch_dir)
        except Fault as fault:
            if as_json:
                typer.echo(json.dumps({"fault": {"height": fault.height, "reason": fault.reason}}, indent=2))
            typer.echo(f"aitbc node: {data_dir} does not hold a good chain: {fault}", err=True)
            raise typer.Exit(EXIT_FAILED) from None
    if as_json:
        fields = {name: getattr(found, name) for name in found.__struct_fields__}
        shown = {name: to_hex(value) if isinstance(value, bytes) else value for name, value in fields.items()}
        typer.echo(json.dumps(shown, indent=2))
    else:
        typer.echo(f"{found.network}, genesis {to_hex(found.genesis_hash)}: good up to height {found.height}")
        typer.echo(f"newest block {to_hex(found.block_hash)}")
        typer.echo(f"state root   {to_hex(found.state_root)}")
        typer.echo(
            f"{found.transactions} transactions, {found.signatures} signatures, {found.certificates} certificates, "
            f"now in epoch {found.epoch}; {found.seconds:.1f} s"
        )
    if found.certified_height < found.height:
        typer.echo(
            f"No certificate covers the blocks after {found.certified_height} yet: the node was interrupted while it "
            "wrote them. Start it, and it fetches what is missing.",
            err=True,
        )
