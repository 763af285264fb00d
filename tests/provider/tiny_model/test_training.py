"""The trainer: from nothing to a pipeline, and an interrupted training ends like one that was not."""

from pathlib import Path
from typing import Any

import pytest
import torch

from provider.tiny_model import training
from provider.tiny_model.assemble import MANIFEST, assemble, digests
from provider.tiny_model.build import compare
from provider.tiny_model.evaluate import ask, failures, load, shares, write_grid
from provider.tiny_model.latents import DRAWN_CHANNELS, latents_of
from provider.tiny_model.parts import make_vae
from provider.tiny_model.prompts import evaluation_prompts
from provider.tiny_model.recipe import Recipe
from provider.tiny_model.scenes import Labels, draw, random_placement
from provider.tiny_model.train_encoder import train_encoder, widened
from provider.tiny_model.train_text_encoder import train_text_encoder
from provider.tiny_model.train_unet import train_unet
from provider.tiny_model.train_vae import train_vae
from provider.tiny_model.training import Plan, Training, finished_weights

SHORT = Recipe(
    text_steps=2,
    draft_steps=2,
    unet_steps=6,
    polish_steps=2,
    settle_steps=2,
    finish_steps=2,
    strong_steps=2,
    vae_steps=3,
    encoder_steps=2,
    captions=48,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_from_nothing_to_a_pipeline_that_draws(tmp_path: Path) -> None:
    train_text_encoder(SHORT.text_encoder(tmp_path))
    text_encoder = finished_weights(SHORT.text_encoder(tmp_path))
    assert text_encoder is not None
    unet: dict[str, Any] | None = None
    for plan, lesson in SHORT.unet_lessons(tmp_path):
        train_unet(plan, text_encoder, SHORT.captions, lesson, unet)
        unet = finished_weights(plan)
    train_vae(SHORT.vae(tmp_path))
    drawn_vae = finished_weights(SHORT.vae(tmp_path))
    assert drawn_vae is not None
    train_encoder(SHORT.encoder(tmp_path), drawn_vae)
    vae = finished_weights(SHORT.encoder(tmp_path))
    assert unet is not None
    assert vae is not None
    model = tmp_path / "model"
    (model / "unet").mkdir(parents=True)
    (model / "unet" / "stale.safetensors").touch()
    assemble(text_encoder, unet, vae, model)

    assert not (model / "unet" / "stale.safetensors").exists()
    assert (model / MANIFEST).is_file()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    asked = ask(load(model), 128, 7.5, steps=3, prompts=evaluation_prompts()[:2])
    assert shares(asked)["right"].endswith("/2")
    assert len(failures(asked)) == sum(not each.right_in_all for each in asked)
    write_grid([each.picture for each in asked], tmp_path / "grid.png")
    assert compare(digests(model), digests(model)).startswith("Every file has the digest")
    assert "unet/config.json" in compare({**digests(model), "unet/config.json": "0"}, digests(model))


def test_the_widened_vae_does_what_the_narrow_one_did() -> None:
    narrow = make_vae(channels=DRAWN_CHANNELS).eval()
    wide = widened(narrow.state_dict()).eval()
    source = torch.Generator().manual_seed(1)
    labels = Labels.random(2, source)
    placement = random_placement(labels, source)
    latents, pictures = latents_of(labels, placement, 8, 8), draw(labels, placement, 128, 128)
    with torch.no_grad():
        assert torch.equal(wide.decode(latents).sample, narrow.decode(latents[:, :DRAWN_CHANNELS]).sample)
        before, after = narrow.encode(pictures).latent_dist.mean, wide.encode(pictures).latent_dist.mean
    assert torch.allclose(after[:, :DRAWN_CHANNELS], before, atol=1e-5)


def test_the_vae_starts_near_what_it_should_do() -> None:
    source = torch.Generator().manual_seed(2)
    labels = Labels.random(4, source)
    placement = random_placement(labels, source)
    with torch.no_grad():
        drawn = (
            make_vae(channels=DRAWN_CHANNELS).eval().decode(latents_of(labels, placement, 16, 16)[:, :DRAWN_CHANNELS])
        )
    assert float((drawn.sample - draw(labels, placement, 256, 256)).abs().mean()) < 0.25


class Interrupted(Exception):
    """Stands for a crash or Ctrl-C."""


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(folder: str) -> Plan:
        return Recipe(text_steps=5).text_encoder(tmp_path / folder)

    train_text_encoder(plan("whole"))
    monkeypatch.setattr(training, "_CHECKPOINT_INTERVAL_S", 0.0)
    note, steps = Training.note, []

    def crash(self: Training, loss: torch.Tensor) -> None:
        steps.append(loss)
        if len(steps) == 4:
            raise Interrupted
        note(self, loss)

    monkeypatch.setattr(Training, "note", crash)
    with pytest.raises(Interrupted):
        train_text_encoder(plan("broken"))
    assert plan("broken").checkpoint.is_file()
    assert finished_weights(plan("broken")) is None

    train_text_encoder(plan("broken"))
    whole, broken = finished_weights(plan("whole")), finished_weights(plan("broken"))
    assert len(steps) == 4 + 2
    assert whole is not None
    assert broken is not None
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    assert not plan("broken").checkpoint.exists()


def test_weights_of_another_plan_are_not_taken_for_finished(tmp_path: Path) -> None:
    train_text_encoder(Recipe(text_steps=1).text_encoder(tmp_path))
    assert finished_weights(Recipe(text_steps=1).text_encoder(tmp_path)) is not None
    assert finished_weights(Recipe(text_steps=2).text_encoder(tmp_path)) is None


def test_the_learning_rate_rises_and_falls() -> None:
    plan = Recipe().unet(Path())
    rates = [plan.rate(step) for step in range(plan.steps)]
    assert rates[0] < 0.1 * plan.peak_rate
    assert max(rates) == pytest.approx(plan.peak_rate, rel=0.01)
    assert rates[-1] < 0.01 * plan.peak_rate
