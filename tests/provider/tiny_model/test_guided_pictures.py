"""Pictures that the UNet makes itself in training: they end at the clean latents, and survive an interruption."""

import pytest
import torch

from provider.tiny_model.guided_pictures import GuidedPictures
from provider.tiny_model.latents import LATENT_CHANNELS, SCALE
from provider.tiny_model.parts import make_scheduler
from provider.tiny_model.scenes import Labels
from provider.tiny_model.unet_batches import Batch, CaptionBank, draw_batch

EMPHASIS = (1.0,) * LATENT_CHANNELS
GUIDANCE = (1.0, 9.0)
SIGNAL = make_scheduler().alphas_cumprod.float()


@pytest.fixture
def bank() -> CaptionBank:
    source = torch.Generator().manual_seed(4)
    labels = Labels.random(40, source)
    return CaptionBank(torch.randn(40, 3, 5, generator=source), labels, torch.randn(4, 3, 5, generator=source))


def pictures(bank: CaptionBank) -> GuidedPictures:
    return GuidedPictures(bank, SIGNAL, EMPHASIS, GUIDANCE, seed=1)


def clean_of(batch: Batch) -> torch.Tensor:
    share = SIGNAL[batch.times].view(-1, 1, 1, 1)
    return share.sqrt() * batch.noisy - (1 - share).sqrt() * batch.velocity


def test_each_state_is_shown_with_its_prompt_and_without(bank: CaptionBank) -> None:
    batch = pictures(bank).batch(torch.Generator().manual_seed(1))
    count = len(batch.noisy) // 2
    for values in (batch.noisy, batch.times, batch.velocity, batch.weights):
        assert torch.equal(values[:count], values[count:])
    assert not torch.equal(batch.text[:count], batch.text[count:])


def test_who_predicts_rightly_leaves_the_noise_behind(bank: CaptionBank) -> None:
    made, source = pictures(bank), torch.Generator().manual_seed(1)
    share_of_noise: dict[int, list[float]] = {}
    for _ in range(60):
        batch = made.batch(source)
        clean = clean_of(batch)
        assert float((clean.abs() / SCALE).max()) < 1.01
        share = SIGNAL[batch.times].view(-1, 1, 1, 1)
        noise = (batch.noisy - share.sqrt() * clean) / (1 - share).sqrt()
        for time, level in zip(batch.times.tolist(), noise.std((1, 2, 3)).tolist(), strict=True):
            share_of_noise.setdefault(time // 250, []).append(level)
        made.advance(batch.velocity, source)
    assert sorted(share_of_noise) == [0, 1, 2, 3]
    assert all(level == pytest.approx(1, abs=0.1) for levels in share_of_noise.values() for level in levels)


def test_a_picture_that_runs_wild_is_begun_anew(bank: CaptionBank) -> None:
    made, source = pictures(bank), torch.Generator().manual_seed(1)
    for wild in (1e9, float("nan")):
        batch = made.batch(source)
        made.advance(torch.full_like(batch.noisy, wild), source)
    state = made.state_dict()
    assert all(torch.isfinite(canvas["noisy"]).all() for canvas in state.values())
    assert all(int(canvas["done"].sum()) == 0 for canvas in state.values())


def test_a_checkpoint_holds_everything(bank: CaptionBank) -> None:
    first, second = pictures(bank), GuidedPictures(bank, SIGNAL, EMPHASIS, GUIDANCE, seed=2)
    source = torch.Generator().manual_seed(1)
    for _ in range(3):
        first.advance(0.9 * first.batch(source).velocity, source)
    second.load_state_dict(first.state_dict())
    one, other = (made.batch(torch.Generator().manual_seed(9)) for made in (first, second))
    assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_the_velocity_of_a_drawn_batch_leads_back_to_clean_latents(bank: CaptionBank) -> None:
    source = torch.Generator().manual_seed(3)
    for _ in range(12):
        clean = clean_of(draw_batch(bank, SIGNAL, EMPHASIS, 0.5, source)) / SCALE
        assert float(clean.abs().max()) < 1.001
        # Colours and the shape's name are corners of cubes.
        assert torch.allclose(clean[:, [*range(6), 10, 11, 12]].abs(), torch.ones(()), atol=1e-3)
