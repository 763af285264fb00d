"""Puts the trained parts together and saves them in half precision as a diffusers pipeline."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import StableDiffusionPipeline

from provider.tiny_model.parts import make_scheduler, make_text_encoder, make_tokenizer, make_unet, make_vae

MANIFEST: Final = "digests.json"
"""The SHA-256 of every other file of the model, by its path within the folder."""


def assemble(text_encoder: dict[str, Any], unet: dict[str, Any], vae: dict[str, Any], output: Path) -> None:
    """Writes the folder that `StableDiffusionPipeline.from_pretrained` loads, and its manifest.

    The folder is made beside and its files then take the places of the old ones, so that a reader finds each whole.
    """
    tokenizer = make_tokenizer()
    pipeline: Any = StableDiffusionPipeline(
        vae=_with_weights(make_vae(), vae),
        text_encoder=_with_weights(make_text_encoder(tokenizer), text_encoder),
        tokenizer=tokenizer,
        unet=_with_weights(make_unet(), unet),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as beside:
        made = Path(beside)
        pipeline.to(torch.float16).save_pretrained(made)
        (made / MANIFEST).write_text(json.dumps(digests(made), indent=2) + "\n")
        _replace(made, output)


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a model but its manifest."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _with_weights(part: Any, weights: dict[str, Any]) -> Any:
    part.load_state_dict(weights)
    return part.eval()


def _replace(made: Path, output: Path) -> None:
    """Renames file by file; what the old model had and the new one has not goes last."""
    names = {path.relative_to(made) for path in made.rglob("*") if path.is_file()}
    for name in sorted(names):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).replace(output / name)
    for stale in [path for path in output.rglob("*") if path.is_file() and path.relative_to(output) not in names]:
        stale.unlink()
    for folder in [path for path in output.iterdir() if path.is_dir() and not any(path.iterdir())]:
        shutil.rmtree(folder)
