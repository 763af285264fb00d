"""`aitbc provider generate`: its options. What it does is in `picture_orders`, imported late: help comes at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True)
class GenerateOptions:
    """What was asked for on the command line; checked in `picture_orders`."""

    prompt: str
    output: Path
    url: str
    api_key_file: Path | None
    negative: str
    steps: int
    guidance: float
    size: str
    seed: int | None
    count: int
    scheduler: str
    model: str | None
    init_image: Path | None
    strength: float
    quality: int
    keystore: Path | None
    password_file: Path | None
    max_price: str | None
    provider: str | None
    chain_id: int | None
    home: Path | None
    timeout_s: float
    receipt_file: Path | None
    force: bool
    as_json: bool


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def generate(
        prompt: Annotated[str, typer.Argument(help="What to draw; - reads it from standard input.")],
        output: Annotated[
            Path, typer.Option("--output", "-o", help="Picture: .png, .jpg or .webp. Several get a number each.")
        ] = Path("out.png"),
        url: Annotated[
            str, typer.Option(help="The provider's URL.", envvar="AITBC_PROVIDER_URL")
        ] = "http://127.0.0.1:8000",
        api_key_file: Annotated[
            Path | None, typer.Option(help="File with the API key; else AITBC_API_KEY or API_KEY is taken.")
        ] = None,
        negative: Annotated[str, typer.Option(help="What should not be in the picture.")] = "",
        steps: Annotated[int, typer.Option(help="Denoising steps, 5 to 100.")] = 30,
        guidance: Annotated[float, typer.Option(help="How strictly the prompt is followed, 0 to 25.")] = 7.5,
        size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels, multiples of 8.")] = "512x512",
        seed: Annotated[int | None, typer.Option(min=0, help="Of the first picture; chosen if omitted.")] = None,
        count: Annotated[int, typer.Option(min=1, max=16, help="Pictures.")] = 1,
        scheduler: Annotated[str, typer.Option(help="Such as euler_a or dpmpp_2m_karras.")] = "default",
        model: Annotated[str | None, typer.Option(help="One of the provider's models; its first by default.")] = None,
        init_image: Annotated[Path | None, typer.Option(help="Picture to draw anew: PNG, JPEG or WebP.")] = None,
        strength: Annotated[float, typer.Option(help="How much of it is drawn anew, up to 1 for all.")] = 0.8,
        quality: Annotated[int, typer.Option(min=1, max=100, help="Of .jpg and .webp.")] = 90,
        keystore: Annotated[
            Path | None, typer.Option(help="Key that signs the request; needs --max-price and --provider.")
        ] = None,
        password_file: Annotated[Path | None, typer.Option(help="File with the keystore's password.")] = None,
        max_price: Annotated[str | None, typer.Option(help="The most that the signed request pays, in AIT.")] = None,
        provider: Annotated[
            str | None, typer.Option(help="Address that the receipt must be signed by, and that a request is for.")
        ] = None,
        chain_id: Annotated[
            int | None,
            typer.Option(min=1, help="The network of the receipt; what is signed is for the wallet's default one."),
        ] = None,
        home: Annotated[Path | None, typer.Option(help="Folder of the wallet ($AITBC_HOME or ~/.aitbc).")] = None,
        timeout_s: Annotated[float, typer.Option(min=1, max=86_400, help="Longest wait in all.")] = 600.0,
        receipt_file: Annotated[Path | None, typer.Option(help="Writes the receipt here too, as JSON.")] = None,
        force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Order pictures from a provider, check them with their receipt, and keep both.

        OUTPUT.job.json beside the picture is for `aitbc provider verify`; it holds the prompt. Ctrl-C cancels.
        """
        options = GenerateOptions(**locals())
        from provider.commands.outcome import report
        from provider.commands.picture_orders import order_pictures

        report(lambda: order_pictures(options))
