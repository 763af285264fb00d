"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Keystore = Annotated[Path | None, typer.Option("--keystore", help="The provider's key: a Web3 keystore, version 3.")]
PasswordFile = Annotated[Path | None, typer.Option("--password-file", help="File with the keystore's password.")]
NodeUrl = Annotated[str | None, typer.Option("--node-url", "--node", help="URL of a chain node.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of the provider's database.")]
Price = Annotated[str | None, typer.Option("--price-per-unit", help="Price in atoms (10^18 are 1 AIT); 0 is free.")]
Prices = Annotated[
    list[str] | None, typer.Option("--price", help="Price of one model, NAME=ATOMS; may be given several times.")
]
UnitType = Annotated[str | None, typer.Option("--unit-type", help="What the price is per: gpu_seconds or images.")]
Endpoint = Annotated[str | None, typer.Option("--endpoint", help="Public URL of this provider, for the registry.")]
Payout = Annotated[str | None, typer.Option("--payout", help="Address that minted tokens go to; default: the key's.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="Model folder, hub id, or NAME=FOLDER; several times for a choice, the first is the default. Without "
        "any: the embedded model.",
    ),
]
ModelName = Annotated[
    str | None, typer.Option("--model-name", help="Name of the first model in receipts and registry.")
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
Precision = Annotated[str | None, typer.Option("--precision", help="auto, float32, float16 or bfloat16.")]
CpuThreads = Annotated[int | None, typer.Option("--cpu-threads", help="Threads on a CPU; 0 chooses.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
