"""The scripts that made the embedded model still build exactly its parts, and still run from data to pipeline."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from provider.generation import EMBEDDED_MODEL_FOLDER
from provider.tiny_model.assemble import assemble
from provider.tiny_model.evaluate import evaluate
from provider.tiny_model.judge import judge, score
from provider.tiny_model.parts import make_scheduler, make_text_encoder, make_tokenizer, make_unet, make_vae
from provider.tiny_model.scenes import (
    PALETTE,
    WORDS,
    Scene,
    draw_masks,
    latents_of,
    make_mask_bank,
    random_placement,
    random_scenes,
)
from provider.tiny_model.train_text_encoder import train as train_text_encoder
from provider.tiny_model.train_unet import train as train_unet
from provider.tiny_model.train_vae import train as train_vae


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def configuration(part: str, name: str = "config.json") -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((EMBEDDED_MODEL_FOLDER / part / name).read_text())
    return {key: value for key, value in fields.items() if not key.startswith("_")}


def drawn(scene: Scene, size: int = 128) -> torch.Tensor:
    """What the scene should look like: [3, size, size] in 0 to 255."""
    placement = random_placement(1, torch.Generator().manual_seed(5))
    mask = draw_masks(scene.shape, placement, size)
    front, back = PALETTE[scene.colour].view(3, 1, 1), PALETTE[scene.background].view(3, 1, 1)
    return ((back + (front - back) * mask) + 1) * 127.5


@pytest.mark.parametrize(("part", "build"), [("unet", make_unet), ("vae", make_vae)])
def test_the_parts_are_those_of_the_embedded_model(part: str, build: Any) -> None:
    built = json.loads(json.dumps(dict(build().config)))
    assert {key: built[key] for key in configuration(part)} == configuration(part)


def test_the_scheduler_is_that_of_the_embedded_model() -> None:
    built = dict(make_scheduler().config)
    expected = configuration("scheduler", "scheduler_config.json")
    # JSON has no minus infinity but Python writes it all the same.
    assert {key: built[key] for key in expected} == expected


def test_the_tokenizer_is_that_of_the_embedded_model() -> None:
    tokenizer = make_tokenizer()
    saved = json.loads((EMBEDDED_MODEL_FOLDER / "tokenizer" / "tokenizer.json").read_text())
    assert tokenizer.get_vocab() == saved["model"]["vocab"]
    assert all(len(tokenizer(word).input_ids) == 3 for word in WORDS)
    assert make_text_encoder(tokenizer).config.vocab_size == configuration("text_encoder")["vocab_size"]


def test_the_judge_recognises_every_drawn_scene() -> None:
    scenes = random_scenes(60)
    assert score([drawn(scene) for scene in scenes], scenes)["all"] == 1.0


def test_the_judge_is_unsure_of_an_empty_picture() -> None:
    verdict = judge(torch.full((3, 64, 64), 250.0))
    assert verdict.scene.shape == verdict.scene.colour == -1


def test_latents_lie_in_the_range_that_the_scheduler_clips_to() -> None:
    bank = make_mask_bank(256)
    assert bank.shape == (6, 256, 32, 32)
    latents = latents_of(bank[0, :4], PALETTE[:4], PALETTE[4:])
    assert latents.shape == (4, 7, 16, 16)
    assert float(latents.abs().max()) <= 1.0


def test_from_nothing_to_a_pipeline_that_draws(tmp_path: Path) -> None:
    train_text_encoder(0.5, tmp_path / "text_encoder.pt")
    options = {"seconds": 0.5, "batch": 2, "rate": 2e-3, "small_share": 0.5, "bank": 256}
    train_unet(Namespace(**options, text_encoder=tmp_path / "text_encoder.pt", output=tmp_path / "unet.pt"))
    train_vae(0.5, 2e-3, tmp_path / "vae.pt")
    assemble(tmp_path / "text_encoder.pt", tmp_path / "unet.pt", tmp_path / "vae.pt", tmp_path / "model")
    shares = evaluate(
        Namespace(model=tmp_path / "model", count=2, steps=5, size=256, guidance=2.5, grid=tmp_path / "grid.png")
    )
    assert set(shares) == {"background", "colour", "shape", "all"}
    assert (tmp_path / "grid.png").is_file()
