"""Puts the trained parts together and saves them in half precision as a diffusers pipeline."""

import argparse
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from provider.tiny_model.parts import make_scheduler, make_text_encoder, make_tokenizer, make_unet, make_vae


def _with_state(part: Any, state: Path) -> Any:
    part.load_state_dict(torch.load(state, weights_only=True))
    return part.eval()


def assemble(text_encoder: Path, unet: Path, vae: Path, output: Path) -> None:
    """Writes the folder that `StableDiffusionPipeline.from_pretrained` loads."""
    tokenizer = make_tokenizer()
    pipeline: Any = StableDiffusionPipeline(
        vae=_with_state(make_vae(), vae),
        text_encoder=_with_state(make_text_encoder(tokenizer), text_encoder),
        tokenizer=tokenizer,
        unet=_with_state(make_unet(), unet),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text-encoder", type=Path, default=Path("text_encoder.pt"))
    parser.add_argument("--unet", type=Path, default=Path("unet.pt"))
    parser.add_argument("--vae", type=Path, default=Path("vae.pt"))
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    assemble(arguments.text_encoder, arguments.unet, arguments.vae, arguments.output)
