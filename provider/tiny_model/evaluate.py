"""Draws random scenes with the assembled pipeline and counts how many pictures show what was asked for."""

import argparse
import random
from pathlib import Path
from typing import Any

import numpy
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from provider.tiny_model.judge import score
from provider.tiny_model.scenes import CAPTION_TEMPLATES, random_scenes

_BATCH = 10


def evaluate(arguments: argparse.Namespace) -> dict[str, float]:
    """Shares of right backgrounds, colours, shapes and whole pictures; writes a grid of pictures where asked to."""
    pipeline: Any = StableDiffusionPipeline.from_pretrained(arguments.model, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    scenes = random_scenes(arguments.count, seed=777)
    source = random.Random(3)
    captions = [scene.caption(source.randrange(len(CAPTION_TEMPLATES))) for scene in scenes]
    pictures: list[Image.Image] = []
    for start in range(0, len(captions), _BATCH):
        batch = captions[start : start + _BATCH]
        result = pipeline(
            batch,
            num_inference_steps=arguments.steps,
            guidance_scale=arguments.guidance,
            height=arguments.size,
            width=arguments.size,
            generator=[torch.Generator().manual_seed(start + offset) for offset in range(len(batch))],
        )
        pictures += result.images
    if arguments.grid:
        _write_grid(pictures[:24], arguments.grid)
    tensors = [torch.tensor(numpy.array(picture)).permute(2, 0, 1).float() for picture in pictures]
    return score(tensors, scenes)


def _write_grid(pictures: list[Image.Image], path: Path, side: int = 192) -> None:
    grid = Image.new("RGB", (6 * side, -(-len(pictures) // 6) * side), "white")
    for place, picture in enumerate(pictures):
        grid.paste(picture.resize((side, side)), (place % 6 * side, place // 6 * side))
    grid.save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--guidance", type=float, default=2.5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--grid", type=Path)
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    print(evaluate(parsed))
