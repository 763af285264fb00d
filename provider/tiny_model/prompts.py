"""The fifty prompts that the model is judged by, written by hand before its training."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from provider.tiny_model.scenes import COLOUR_NAMES, POSITION_NAMES, SHAPES, SIZE_NAMES, Scene
from provider.tiny_model.vocabulary import words_of

PROMPTS_FILE: Final = Path(__file__).with_name("evaluation_prompts.toml")


@dataclass(frozen=True)
class Prompt:
    """One of the hand-written prompts and the scene that it asks for."""

    text: str
    scene: Scene
    names_position: bool
    names_size: bool


@cache
def evaluation_prompts() -> tuple[Prompt, ...]:
    """The hand-written prompts, in the order of their file."""
    prompts = []
    for entry in tomllib.loads(PROMPTS_FILE.read_text())["prompt"]:
        scene = Scene(
            COLOUR_NAMES.index(entry["colour"]),
            COLOUR_NAMES.index(entry["background"]),
            SHAPES.index(entry["shape"]),
            POSITION_NAMES.index(entry.get("position", "centre")),
            SIZE_NAMES.index(entry.get("size", "medium")),
        )
        prompts.append(Prompt(entry["text"], scene, "position" in entry, "size" in entry))
    return tuple(prompts)


def bare_words(text: str) -> str:
    """The text's words alone, for telling whether two wordings are the same."""
    return " ".join(word for word in words_of(text) if word[-1].isalnum())


@cache
def held_out() -> frozenset[str]:
    """Their bare words: what no caption may be."""
    return frozenset(bare_words(prompt.text) for prompt in evaluation_prompts())
