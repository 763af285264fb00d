"""The committed model: whole, small, safetensors and JSON alone, and obedient to prompts it was not trained on."""

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
    assert sum(path.stat().st_size for path in files) < 8e6


@pytest.mark.parametrize(("part", "build"), [("unet", make_unet), ("vae", make_vae)])
def test_the_parts_are_those_that_the_trainer_builds(part: str, build: Any) -> None:
    built = json.loads(json.dumps(dict(build().config)))
    assert {key: built[key] for key in configuration(part)} == configuration(part)


def test_the_scheduler_is_the_trainer_s() -> None:
    expected = configuration("scheduler", "scheduler_config.json")
    # Every pipeline sets the offset, which a sampler that trails does not use.
    built = {**make_scheduler().config, "steps_offset": 1}
    # JSON has no minus infinity but Python writes it all the same.
    assert {key: built[key] for key in expected} == expected


def test_the_tokenizer_is_the_trainer_s() -> None:
    tokenizer = make_tokenizer()
    saved = json.loads((EMBEDDED_MODEL_FOLDER / "tokenizer" / "tokenizer.json").read_text())
    assert tokenizer.get_vocab() == saved["model"]["vocab"]
    assert make_text_encoder(tokenizer).config.vocab_size == configuration("text_encoder")["vocab_size"]


@pytest.mark.parametrize(
    ("size", "guidance", "prompts", "least"),
    [(256, 7.5, DOZEN, 11), (256, 2.5, DOZEN, 11), (512, 7.5, THREE, 3)],
    ids=["256 at 7.5", "256 at 2.5", "512 at 7.5"],
)
def test_it_obeys_prompts_in_free_wording(
    pipeline: Any, size: int, guidance: float, prompts: tuple[Prompt, ...], least: int
) -> None:
    """Background, colour and shape, told from the pixels alone."""
    asked = ask(pipeline, size, guidance, prompts=prompts)
    assert sum(each.right for each in asked) >= least, "\n".join(failures(asked))


def test_the_vae_gives_a_picture_back(pipeline: Any) -> None:
    pictures = [drawing(prompt.scene) for prompt in DOZEN]
    with torch.no_grad():
        found = pipeline.vae.encode(torch.cat(pictures)).latent_dist.mean
        given_back = (pipeline.vae.decode(found).sample.clamp(-1, 1) + 1) * 127.5
    right = [judge(picture).agrees(prompt.scene) for picture, prompt in zip(given_back, DOZEN, strict=True)]
    assert sum(right) >= 11, right


def test_image_to_image_at_low_strength_keeps_the_picture(pipeline: Any) -> None:
    repainting = repainter(pipeline)
    right = []
    for number, prompt in enumerate(DOZEN[:6]):
        picture = repainting(
            prompt.text,
            image=image_of(drawing(prompt.scene)),
            strength=0.3,
            guidance_scale=7.5,
            num_inference_steps=20,
            generator=torch.Generator().manual_seed(number),
        ).images[0]
        right.append(judge(pixels_of(picture)).agrees(prompt.scene))
    assert sum(right) >= 5, right


def test_image_to_image_keeps_the_place_and_takes_the_colour_from_the_prompt(pipeline: Any) -> None:
    scene = Scene(
        COLOUR_NAMES.index("red"), COLOUR_NAMES.index("white"), SHAPES.index("circle"), POSITION_NAMES.index("left")
    )
    repainted = repainter(pipeline)(
        "a blue circle on the left, white background",
        image=image_of(drawing(scene)),
        strength=0.8,
        guidance_scale=7.5,
        num_inference_steps=30,
        generator=torch.Generator().manual_seed(3),
    ).images[0]
    seen = judge(pixels_of(repainted)).scene
    assert (COLOUR_NAMES[seen.colour], POSITION_NAMES[seen.position]) == ("blue", "left")


def drawing(scene: Scene) -> torch.Tensor:
    """A drawing of 256 pixels, [1, 3, 256, 256] in -1 to 1."""
    labels = Labels.of([scene])
    return draw(labels, random_placement(labels, torch.Generator().manual_seed(1)), 256, 256)


def image_of(drawn: torch.Tensor) -> Image.Image:
    pixels = ((drawn[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels)


def repainter(pipeline: Any) -> Any:
    repainting = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    repainting.set_progress_bar_config(disable=True)
    return repainting
