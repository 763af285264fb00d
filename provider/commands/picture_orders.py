"""What `aitbc provider generate` does: order, show the progress, check, keep."""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chain.primitives.hexadecimal import format_ait, parse_address, parse_ait, to_checksum_address, to_hex
from chain.primitives.units import MICRO
from provider.client import ProviderClient
from provider.commands.api_key_file import read_api_key
from provider.commands.generate import GenerateOptions
from provider.commands.picture_files import PictureFiles, picture_format
from provider.errors import ConfigurationError
from provider.ordering.errors import printable
from provider.ordering.live import Event, Finished, Queued, Stepped
from provider.ordering.order import PictureOrder, Signing
from provider.ordering.verification import Expected, Pictures
from wallet.accounts import default_home
from wallet.keystore import KeystoreError, load_key
from wallet.known_networks import KnownNetworks
from wallet.passwords import read_password

EXIT_INTERRUPTED: Final = 130
"""As a shell says of a program that Ctrl-C ended."""
_MAX_PROMPT_BYTES: Final = 64 * 1024
_MAX_SOURCE_BYTES: Final = 24 * 2**20
_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


def order_pictures(options: GenerateOptions) -> None:
    """Raises ProviderError, Rejected and OSError for what a person can mend, and typer.Exit after Ctrl-C."""
    files = PictureFiles.plan(options.output, options.count, options.receipt_file, replaces=options.force)
    order = _order(options)
    signing = _signing(options)
    expected = _expected(options)
    api_key = read_api_key(options.api_key_file)
    bar = _Bar(order)
    try:
        with (
            bar,
            ProviderClient(options.url, api_key, expected=expected, timeout_s=options.timeout_s) as provider,
        ):
            made = provider.generate(order, signing=signing, on_event=bar.take)
    except KeyboardInterrupt:
        print("aitbc provider: cancelled", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    files.write(made, provider_url=options.url, source=options.init_image)
    _show(made, files, as_json=options.as_json)


def _order(options: GenerateOptions) -> PictureOrder:
    match = _SIZE.fullmatch(options.size)
    if match is None:
        raise ConfigurationError("--size: WIDTHxHEIGHT, such as 512x512", reason="bad_size")
    source = None if options.init_image is None else _read_source(options.init_image)
    return PictureOrder(
        prompt=_prompt(options.prompt),
        negative_prompt=options.negative,
        steps=options.steps,
        guidance=options.guidance,
        width=int(match[1]),
        height=int(match[2]),
        seed=options.seed,
        count=options.count,
        scheduler=options.scheduler,
        model=options.model,
        source=source,
        strength=options.strength,
        output_format=picture_format(options.output),
        quality=options.quality,
    )


def _prompt(argument: str) -> str:
    """The argument, or all of standard input for `-`, which other users of the machine cannot read."""
    if argument != "-":
        return argument
    content = sys.stdin.buffer.read(_MAX_PROMPT_BYTES + 1)
    if len(content) > _MAX_PROMPT_BYTES:
        raise ConfigurationError(f"the prompt is longer than {_MAX_PROMPT_BYTES} bytes", reason="too_large")
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigurationError("the prompt is not UTF-8 text", reason="malformed") from None


def _read_source(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MAX_SOURCE_BYTES + 1)
    if len(content) > _MAX_SOURCE_BYTES:
        raise ConfigurationError(f"{path} is larger than {_MAX_SOURCE_BYTES} bytes", reason="too_large")
    return content


def _signing(options: GenerateOptions) -> Signing | None:
    if (options.keystore is None) != (options.max_price is None):
        raise ConfigurationError("--keystore and --max-price go together", reason="bad_signing")
    if options.keystore is None or options.max_price is None:
        return None
    if options.provider is None:
        raise ConfigurationError("a signature is for one provider: say its address, --provider", reason="bad_signing")
    max_price_atoms = parse_ait(options.max_price, "--max-price")
    password = read_password(options.password_file, purpose=str(options.keystore))
    return Signing(load_key(options.keystore, password), max_price_atoms)


def _expected(options: GenerateOptions) -> Expected:
    """What the user says, and what the wallet knows of networks where something is signed."""
    provider = None if options.provider is None else parse_address(options.provider, "--provider")
    chain_id = options.chain_id
    if options.keystore is not None:
        try:
            chain_id = KnownNetworks(options.home or default_home()).meant(options.chain_id)
        except KeystoreError as error:
            raise ConfigurationError(str(error), reason="bad_signing") from None
        if chain_id is None:
            message = "which network? say --chain-id, or let the wallet know it: aitbc wallet network add"
            raise ConfigurationError(message, reason="bad_signing")
    return Expected(provider, chain_id)


class _Bar:
    """A bar on stderr, where that is a terminal: the queue, then every step of every picture."""

    def __init__(self, order: PictureOrder) -> None:
        self._steps: dict[int, int] = {}
        self._count = order.count
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("ordering", total=None)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def take(self, event: Event) -> None:
        """One event of the job."""
        if isinstance(event, Queued):
            words = f"waiting behind {event.pictures_ahead}" if event.pictures_ahead else "starting"
            self._progress.update(self._task, description=words)
        elif isinstance(event, Stepped):
            self._steps |= dict.fromkeys(event.pictures, event.step)
            done, total = sum(self._steps.values()), event.steps * self._count
            self._progress.update(self._task, description="drawing", completed=done, total=total)
        elif isinstance(event, Finished):
            self._progress.update(self._task, description="checked")


def _show(made: Pictures, files: PictureFiles, *, as_json: bool) -> None:
    """Where the pictures are and what they cost, on standard output."""
    receipt = made.receipt
    units = receipt.micro_units / MICRO
    if as_json:
        fields: dict[str, Any] = {
            "pictures": [
                {"file": str(path), "seed": seed} for path, seed in zip(files.pictures, made.seeds, strict=True)
            ],
            "job_file": str(files.job_file),
            "job_id": made.job_id,
            "provider": to_checksum_address(receipt.provider),
            "model": made.model,
            "units": units,
            "unit_type": receipt.unit_type,
            "amount": str(receipt.amount),
            "receipt_hash": to_hex(made.receipt_hash),
            "duration_ms": made.duration_ms,
            "gpu_seconds": made.gpu_seconds,
        }
        print(json.dumps(fields))
        return
    for path, seed in zip(files.pictures, made.seeds, strict=True):
        print(f"{path}  seed {seed}")
    print(f"job     {made.job_id}, {made.duration_ms / 1000:.1f} s, {made.model} on {printable(made.gpu)}")
    print(f"price   {format_ait(receipt.amount)} AIT for {units:g} {receipt.unit_type.replace('_', ' ')}")
    print(f"receipt {to_hex(made.receipt_hash)}, signed by {to_checksum_address(receipt.provider)}")
    print(f"kept in {files.job_file}")
