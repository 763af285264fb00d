"""`aitbc provider models`: what would be served, whether its folder is whole, and what is loaded now."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provider.commands.flags import AsJson, DataDir, ModelName, Models, Prices
from provider.commands.outcome import EXIT_FAILED, report, show_table

if TYPE_CHECKING:
    from provider.settings import ProviderSettings

_MIB = 2**20


def models(
    model: Models = None,
    model_name: ModelName = None,
    prices: Prices = None,
    data_dir: DataDir = None,
    url: Annotated[
        str | None, typer.Option(help="A running provider's URL; by default the one of its settings.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the models of the settings: where they are, their size, whether they are loaded in a running provider.

    Exit code 1 where one cannot be served.
    """
    flags = {"model": model, "model_name": model_name, "prices": prices, "data_dir": data_dir}
    entries = report(lambda: _list_models(flags, url))
    if as_json:
        print(json.dumps({"models": entries}))
    else:
        show_table(entries)
    if any(entry["state"].startswith("folder ") for entry in entries):
        raise typer.Exit(EXIT_FAILED)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(models)


def _list_models(flags: dict[str, Any], url: str | None) -> list[dict[str, Any]]:
    from provider.settings import ProviderSettings

    settings = ProviderSettings.build(**flags)
    running = _running_models(settings, url)
    return [
        {
            "name": name,
            "source": source,
            "state": state,
            "size_mib": None if size_bytes is None else round(size_bytes / _MIB, 1),
            "price_per_unit": str(settings.price_of(name)),
            "loaded": running.get(name, {}).get("loaded"),
            "vram_mib": running.get(name, {}).get("vram_mib"),
        }
        for name, source in settings.public_models.items()
        for state, size_bytes in [_look_at(source)]
    ]


def _look_at(source: str) -> tuple[str, int | None]:
    """A few words on whether it can be served, and its bytes on disk where they are known."""
    from provider.generation import EMBEDDED_MODEL, EMBEDDED_MODEL_FOLDER

    folder = EMBEDDED_MODEL_FOLDER if source == EMBEDDED_MODEL else Path(source).expanduser()
    if not folder.is_dir():
        looks_like_folder = source.startswith(("/", ".", "~")) or source.count("/") > 1
        return ("folder missing" if looks_like_folder else "from the model hub, when first needed"), None
    size_bytes = sum(_size_bytes(path) for path in folder.rglob("*"))
    missing = _missing_file(folder)
    if missing is not None:
        return f"folder without {missing}", size_bytes
    return ("embedded" if source == EMBEDDED_MODEL else "folder"), size_bytes


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # It may be downloading.
        return 0


def _missing_file(folder: Path) -> str | None:
    """The first part of a diffusers pipeline that is not there; loading may still find other faults."""
    index = folder / "model_index.json"
    try:
        document = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "a readable model_index.json"
    if not isinstance(document, dict):
        return "a readable model_index.json"
    parts: list[str] = [
        name for name, value in document.items() if isinstance(value, list) and value[:1] not in ([None], [])
    ]
    weighted = {"unet", "vae", "text_encoder"}
    for part in parts:
        if part in ("safety_checker", "feature_extractor"):
            continue  # Not needed to draw.
        if not (folder / part).is_dir():
            return part
        if part in weighted and not any((folder / part).glob("*.safetensors")):
            return f"{part}/*.safetensors"
    return None


def _running_models(settings: "ProviderSettings", url: str | None) -> dict[str, dict[str, Any]]:
    """What a running provider says of each; nothing where none runs."""
    from provider.commands.health import ask_health
    from provider.errors import ProviderError
    from provider.storage.folder_lock import lock_owner

    if url is None and lock_owner(settings.data_dir) is None:
        return {}
    try:
        reported = ask_health(url or settings.local_url).get("models", [])
    except ProviderError:
        if url is not None:
            raise
        return {}  # It may be starting.
    return {entry["name"]: entry for entry in reported if isinstance(entry, dict) and "name" in entry}
