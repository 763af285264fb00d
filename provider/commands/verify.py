"""`aitbc provider verify`: its options. What it does is in `verifying_receipts`, imported late: help comes at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

EXIT_CODES = """\b
Exit codes:
  0  all that was asked for was checked, and holds
  1  something could not be checked: no signature, nobody answers, a file or the model is missing
  2  wrong usage
  3  something does not hold
"""


@dataclass(frozen=True)
class VerifyOptions:
    """What was asked for on the command line."""

    job_file: Path
    pictures: tuple[Path, ...]
    node_url: str | None
    url: str | None
    api_key_file: Path | None
    steps: str | None
    picture: int
    samples: int
    only_open: bool
    model: str | None
    device: str
    source: Path | None
    tolerance: float | None
    as_json: bool


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command(epilog=EXIT_CODES)
    def verify(
        job_file: Annotated[
            Path, typer.Argument(metavar="RECEIPT", help="Job file of `generate`, or a receipt's JSON; - for stdin.")
        ],
        pictures: Annotated[
            list[Path] | None,
            typer.Option("--picture-file", help="The job's pictures in order; else those beside the job file."),
        ] = None,
        node_url: Annotated[
            str | None, typer.Option("--node-url", "--node", help="Ask this chain node whether it is minted.")
        ] = None,
        url: Annotated[
            str | None, typer.Option(help="Ask this provider to open steps of the run, and compute them again.")
        ] = None,
        api_key_file: Annotated[
            Path | None, typer.Option(help="File with its API key; else AITBC_API_KEY or API_KEY is taken.")
        ] = None,
        steps: Annotated[
            str | None, typer.Option(help="Steps to open, such as 0,7,20; by default some at random.")
        ] = None,
        picture: Annotated[int, typer.Option(min=0, help="Whose steps, with --steps; the first is 0.")] = 0,
        samples: Annotated[
            int, typer.Option(min=1, max=1000, help="How many steps at random, beside first and last.")
        ] = 2,
        only_open: Annotated[bool, typer.Option("--only-open", help="Check proofs, compute nothing.")] = False,
        model: Annotated[
            str | None, typer.Option(help="Folder or hub id of the receipt's model; by default the embedded one.")
        ] = None,
        device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
        source: Annotated[
            Path | None, typer.Option(help="What image-to-image started from, the file as it was sent.")
        ] = None,
        tolerance: Annotated[
            float | None, typer.Option(min=0, help="Relative distance that a step may have; 0 demands equal bits.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Check a job: receipt, signatures, prompt, pictures; with --node-url its mint; with --url the work itself.

        With --url, steps are chosen at random, opened by the provider with a proof that it committed to them before,
        and computed again here; the answer says how far apart they are. That needs a job file.
        """
        options = VerifyOptions(
            job_file=job_file,
            pictures=tuple(pictures or ()),
            node_url=node_url,
            url=url,
            api_key_file=api_key_file,
            steps=steps,
            picture=picture,
            samples=samples,
            only_open=only_open,
            model=model,
            device=device,
            source=source,
            tolerance=tolerance,
            as_json=as_json,
        )
        from provider.commands.outcome import report
        from provider.commands.verifying_receipts import verify_receipt

        report(lambda: verify_receipt(options))
