"""Rebuilds the embedded model from nothing, an hour on two cores: `make tiny-model`, or

    python -m provider.tiny_model.build --device cuda --output some/folder

Two processes work side by side, since the latents are defined beforehand: one trains the text encoder and then the
UNet, the other the VAE. An interrupted build goes on where it stopped. On the same machine, with the same versions and
threads, it gives the same bytes; elsewhere the same quality, and it says which. `--device cuda` is written for but was
never tried, as no GPU was at hand.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final

import torch

from provider.tiny_model.assemble import MANIFEST, assemble, digests
from provider.tiny_model.evaluate import ask, failures, load, shares, write_grid
from provider.tiny_model.recipe import Recipe
from provider.tiny_model.train_encoder import train_encoder
from provider.tiny_model.train_text_encoder import train_text_encoder
from provider.tiny_model.train_unet import train_unet
from provider.tiny_model.train_vae import train_vae
from provider.tiny_model.training import Plan, finished_weights

_MODEL: Final = Path(__file__).parents[1] / "models" / "tiny_sd"
_EVALUATED: Final = ((256, 7.5), (512, 7.5), (256, 2.5), (512, 2.5))
"""Sides in pixels and guidance."""


def build(recipe: Recipe, folder: Path, output: Path) -> None:
    """Trains what `folder` does not hold yet, and writes the model to `output`."""
    _side_by_side([_train_reader_and_painter, _train_vae], recipe, folder)
    plans = (recipe.text_encoder(folder), recipe.strong(folder), recipe.encoder(folder))
    text_encoder, unet, vae = (finished_weights(plan) for plan in plans)
    assert text_encoder and unet and vae
    assemble(text_encoder, unet, vae, output)


def _train_reader_and_painter(recipe: Recipe, folder: Path) -> None:
    """The text encoder, then the UNet that listens to it."""
    torch.set_num_threads(recipe.threads)
    text_encoder = recipe.text_encoder(folder)
    text_weights = _trained(text_encoder, lambda: train_text_encoder(text_encoder))
    weights: dict[str, Any] | None = None
    for plan, lesson in recipe.unet_lessons(folder):
        weights = _trained(plan, partial(train_unet, plan, text_weights, recipe.captions, lesson, weights))


def _train_vae(recipe: Recipe, folder: Path) -> None:
    """The VAE for the drawn channels, then its encoder for all of them."""
    torch.set_num_threads(recipe.threads)
    vae, encoder = recipe.vae(folder), recipe.encoder(folder)
    drawn_vae = _trained(vae, lambda: train_vae(vae))
    _trained(encoder, lambda: train_encoder(encoder, drawn_vae))


def _trained(plan: Plan, train: Callable[[], None]) -> dict[str, Any]:
    """The plan's weights, which are trained unless they lie there from an earlier build."""
    if finished_weights(plan) is None:
        train()
    weights = finished_weights(plan)
    assert weights is not None
    return weights


def _side_by_side(tasks: list[Callable[[Recipe, Path], None]], recipe: Recipe, folder: Path) -> None:
    """Runs each task in a process of its own; where one fails, the others are stopped and RuntimeError is raised."""
    spawning = multiprocessing.get_context("spawn")
    processes = [spawning.Process(target=task, args=(recipe, folder)) for task in tasks]
    for process in processes:
        process.start()
    try:
        running = {process.sentinel: process for process in processes}
        while running:
            for sentinel in wait(list(running)):
                assert isinstance(sentinel, int)
                ended = running.pop(sentinel)
                # Its end shows a moment before its exit code does.
                ended.join()
                if ended.exitcode != 0:
                    raise RuntimeError("a training failed; its message is above, and the next build goes on from here")
    finally:
        for process in processes:
            process.terminate()
            process.join()


def compare(committed: dict[str, str], made: dict[str, str]) -> str:
    """Says whether the model is the one that was there before."""
    if not committed:
        return "There was no model before."
    if committed == made:
        return "Every file has the digest that it had before: these are the committed weights, bit by bit."
    changed = sorted(name for name in committed.keys() | made.keys() if committed.get(name) != made.get(name))
    return (
        f"Other bytes than before in {', '.join(changed)}: another machine, other versions or another number of "
        "threads round otherwise. The shares below say whether the model is as good."
    )


def evaluate(model: Path, grids: Path | None) -> None:
    """Prints how many of the fifty prompts come out right, and writes pictures if a folder is given."""
    pipeline = load(model)
    for size, guidance in _EVALUATED:
        asked = ask(pipeline, size, guidance)
        print(f"{size} pixels, guidance {guidance}: {shares(asked)}", flush=True)
        for line in failures(asked):
            print(f"    {line}")
        if grids:
            grids.mkdir(parents=True, exist_ok=True)
            write_grid([each.picture for each in asked], grids / f"{size}-guidance-{guidance}.png")


def _parsed() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=_MODEL, help="the model's folder; the package's own by default")
    parser.add_argument("--folder", type=Path, default=Path("build/tiny-model"), help="for checkpoints and weights")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="of each of the two processes")
    parser.add_argument("--grids", type=Path, help="a folder for pictures of the evaluation")
    return parser.parse_args()


def main() -> None:
    """Builds, compares and evaluates."""
    arguments = _parsed()
    manifest = arguments.output / MANIFEST
    committed: dict[str, str] = json.loads(manifest.read_text()) if manifest.is_file() else {}
    started = time.monotonic()
    build(Recipe(device=arguments.device, threads=arguments.threads), arguments.folder, arguments.output)
    print(f"\n{arguments.output} after {(time.monotonic() - started) / 60:.0f} minutes:")
    made = digests(arguments.output)
    for name, digest in made.items():
        print(f"  {digest}  {name}")
    print(compare(committed, made))
    torch.set_num_threads(arguments.threads)
    evaluate(arguments.output, arguments.grids)


if __name__ == "__main__":
    main()
