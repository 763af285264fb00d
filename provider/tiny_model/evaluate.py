"""Asks the model the fifty hand-written prompts and counts how many pictures show what was asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from provider.tiny_model.judge import UNSURE, Verdict, judge
from provider.tiny_model.prompts import Prompt, evaluation_prompts

_BATCH: Final = 10


@dataclass(frozen=True)
class Asked:
    """One prompt, the picture that the model made of it, and what the judge saw."""

    prompt: Prompt
    picture: Image.Image
    verdict: Verdict

    @property
    def right(self) -> bool:
        """Background, colour and shape as asked for."""
        return self.verdict.agrees(self.prompt.scene)

    @property
    def right_in_all(self) -> bool:
        """Also position and size, where the prompt names them."""
        seen, wanted = self.verdict.scene, self.prompt.scene
        position = not self.prompt.names_position or seen.position == wanted.position
        return self.right and position and (not self.prompt.names_size or seen.size == wanted.size)


def load(model: Path) -> Any:
    """The pipeline in a folder, in single precision."""
    pipeline: Any = StableDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def pixels_of(picture: Image.Image) -> Tensor:
    """Floats [3, height, width] in 0 to 255."""
    return torch.tensor(numpy.array(picture.convert("RGB"))).permute(2, 0, 1).float()


def ask(
    pipeline: Any,
    size: int,
    guidance: float,
    *,
    steps: int = 30,
    prompts: tuple[Prompt, ...] | None = None,
    seed: int = 0,
) -> list[Asked]:
    """One picture of `size` pixels a side per prompt, each with its own seed."""
    prompts = prompts or evaluation_prompts()
    asked = []
    for start in range(0, len(prompts), _BATCH):
        batch = prompts[start : start + _BATCH]
        pictures = pipeline(
            [prompt.text for prompt in batch],
            num_inference_steps=steps,
            guidance_scale=guidance,
            height=size,
            width=size,
            generator=[torch.Generator().manual_seed(seed + start + offset) for offset in range(len(batch))],
        ).images
        asked += [
            Asked(prompt, picture, judge(pixels_of(picture))) for prompt, picture in zip(batch, pictures, strict=True)
        ]
    return asked


def shares(asked: list[Asked]) -> dict[str, str]:
    """How many of how many are right, altogether and in each respect."""
    pairs = [(each.verdict.scene, each.prompt.scene) for each in asked]
    placed = [each for each in asked if each.prompt.names_position]
    sized = [each for each in asked if each.prompt.names_size]
    return {
        "right": _share([each.right for each in asked]),
        "background": _share([seen.background == wanted.background for seen, wanted in pairs]),
        "colour": _share([seen.colour == wanted.colour for seen, wanted in pairs]),
        "shape": _share([seen.shape == wanted.shape for seen, wanted in pairs]),
        "position where named": _share([each.verdict.scene.position == each.prompt.scene.position for each in placed]),
        "size where named": _share([each.verdict.scene.size == each.prompt.scene.size for each in sized]),
        "right in all": _share([each.right_in_all for each in asked]),
    }


def _share(hits: list[bool]) -> str:
    return f"{sum(hits)}/{len(hits)}"


def failures(asked: list[Asked]) -> list[str]:
    """A line for each picture that is not right in all."""
    return [
        f"{each.prompt.text!r}: {'nothing' if each.verdict.scene.shape == UNSURE else each.verdict.scene}, "
        f"overlap {each.verdict.overlap:.2f}, purity {each.verdict.purity:.2f}"
        for each in asked
        if not each.right_in_all
    ]


def write_grid(pictures: list[Image.Image], path: Path, *, side: int = 160, across: int = 10) -> None:
    """The pictures side by side, row by row."""
    grid = Image.new("RGB", (across * side, -(-len(pictures) // across) * side), "white")
    for place, picture in enumerate(pictures):
        grid.paste(picture.resize((side - 2, side - 2)), (place % across * side, place // across * side))
    grid.save(path)
