"""The committed model: whole, small, loadable from safetensors and JSON, and obedient to prompts it was not trained on."""

import json
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from provider.generation import EMBEDDED_MODEL_FOLDER
from provider.tiny_model.assemble import MANIFEST, digests
from provider.tiny_model.evaluate import ask, failures, load, pixels_of
from provider.tiny_model.judge import judge
from provider.tiny_model.parts import make_scheduler, make_text_encoder, make_tokenizer, make_unet, make_vae
from provider.tiny_model.prompts import Prompt, evaluation_prompts
from provider.tiny_model.scenes import COLOUR_NAMES, POSITION_NAMES, SHAPES, Labels, Scene, draw, random_placement

DOZEN = evaluation_prompts()[::4][:12]
THREE = evaluation_prompts()[::17]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    torch.set_num_threads(1)
    return load(EMBEDDED_MODEL_FOLDER)


def configuration(part: str, name: str = "config.json") -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((EMBEDDED_MODEL_FOLDER / part / name).read_text())
    return {key: value for key, value in fields.items() if not key.startswith("_")}


def test_the_files_have_the_digests_of_the_manifest() -> None:
    assert json.loads((EMBEDDED_MODEL_FOLDER / MANIFEST).read_text()) == digests(EMBEDDED_MODEL_FOLDER)


def test_it_is_small_and_holds_nothing_but_safetensors_and_json() -> None:
    files = [path for path in EMBEDDED_MODEL_FOLDER.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}
    assert sum(path.stat().st_size for path in files) < 8.5e6


@pytest.mark.parametrize(("part", "build"), [("unet", make_unet), ("vae", make_vae)])
def test_the_parts_are_those_that_the_trainer_builds(part: str, build: Any) -> None:
    built = json.loads(json.dumps(dict(build().config)))
    assert {key: built[key] for key in configuration(part)} == configuration(part)


def test_the_scheduler_is_the_trainer_s() -> None:
    expected = configuration("scheduler", "scheduler_config.json")
    built = dict(make_scheduler().config)
    # JSON has no minus infinity but Python writes it all the same.
    assert {key: built[key] for key in expected} == expected


def test_the_tokenizer_is_the_trainer_s() -> None:
    tokenizer = make_tokenizer()
    saved = json.loads((EMBEDDED_MODEL_FOLDER / "tokenizer" / "tokenizer.json").read_text())
    assert tokenizer.get_vocab() == saved["model"]["vocab"]
    assert make_text_encoder(tokenizer).config.vocab_size == configuration("text_encoder")["vocab_size"]


@pytest.mark.parametrize(("size", "prompts", "least"), [(256, DOZEN, 11), (512, THREE, 3)], ids=["256", "512"])
def test_it_obeys_prompts_in_free_wording_at_guidance_7_5(
    pipeline: Any, size: int, prompts: tuple[Prompt, ...], least: int
) -> None:
    """Background, colour and shape, told from the pixels alone."""
    asked = ask(pipeline, size, 7.5, prompts=prompts)
    assert sum(each.right for each in asked) >= least, "\n".join(failures(asked))


def test_image_to_image_keeps_the_place_and_takes_the_colour_from_the_prompt(pipeline: Any) -> None:
    scene = Scene(
        COLOUR_NAMES.index("red"), COLOUR_NAMES.index("white"), SHAPES.index("circle"), POSITION_NAMES.index("left")
    )
    labels = Labels.of([scene])
    drawn = draw(labels, random_placement(labels, torch.Generator().manual_seed(1)), 256, 256)[0]
    pixels = ((drawn + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    repainting = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    repainting.set_progress_bar_config(disable=True)
    repainted = repainting(
        "a blue circle on the left, white background",
        image=Image.fromarray(pixels),
        strength=0.8,
        guidance_scale=7.5,
        num_inference_steps=30,
        generator=torch.Generator().manual_seed(3),
    ).images[0]
    seen = judge(pixels_of(repainted)).scene
    assert (COLOUR_NAMES[seen.colour], POSITION_NAMES[seen.position]) == ("blue", "left")
