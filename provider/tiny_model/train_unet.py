"""Trains the UNet on the defined latents; the text encoder is frozen, so a bank of captions is embedded beforehand."""

import copy
import random
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from provider.tiny_model.captions import empty_caption, random_caption
from provider.tiny_model.latents import SCALE, latents_of
from provider.tiny_model.parts import make_scheduler, make_text_encoder, make_tokenizer, make_unet
from provider.tiny_model.scenes import Labels, Scene, aspect, random_placement
from provider.tiny_model.train_text_encoder import tokens_of
from provider.tiny_model.training import Plan, Training, blend

_EMPTY_SHARE: Final = 0.08
"""Share of captions that ask for nothing, so that guidance has something to push away from."""

_DISTURBED_SHARE: Final = 0.4
"""Share of inputs that are not what training alone would show, but what a sampler may come to."""

_LATE: Final = 500
"""The time step under which the picture shows through the noise."""


@dataclass(frozen=True)
class Lesson:
    """What one training of the UNet cares for."""

    emphasis: tuple[float, ...]
    """Weights of the channels in the loss: colours and the shape's name are learned soon, place and outline are not."""

    late_empty_share: float = _EMPTY_SHARE
    """Share of captions that ask for nothing in late time steps."""

    misleads_empty: bool = True
    """Whether captions that ask for nothing are also shown the remains of another picture."""


DRAFT: Final = Lesson((0.5,) * 6 + (1.75,) * 4 + (0.5,) * 3 + (1.5,) * 2)
FINAL: Final = Lesson((1.0,) * 15, late_empty_share=0.5, misleads_empty=False)
"""Guidance multiplies by which the prediction without a prompt differs from the one with it. Where the picture shows
through the noise they must be the same, or shapes become caricatures, so this lesson has many empty captions there."""


@dataclass(frozen=True)
class CaptionBank:
    """Captions' embeddings [captions, tokens, width], their scenes, and embeddings of captions that ask for nothing."""

    embeddings: Tensor
    labels: Labels
    empty: Tensor


def make_bank(text_weights: dict[str, Any], count: int, seed: int, device: torch.device) -> CaptionBank:
    """Draws and embeds that many captions."""
    tokenizer = make_tokenizer()
    encoder = make_text_encoder(tokenizer).eval()
    encoder.load_state_dict(text_weights)
    encoder.to(device)
    source = random.Random(f"captions {seed}")
    said = [random_caption(source) for _ in range(count)]

    def embed(captions: list[str]) -> Tensor:
        chunks = []
        with torch.no_grad():
            for start in range(0, len(captions), 256):
                token_ids, _ = tokens_of(tokenizer, captions[start : start + 256])
                chunks.append(encoder(token_ids.to(device))[0].half())
        return torch.cat(chunks)

    scenes: list[Scene] = [scene for _, scene in said]
    nothing = ["", *(empty_caption(source) for _ in range(max(1, count // 40)))]
    return CaptionBank(embed([caption for caption, _ in said]), Labels.of(scenes), embed(nothing))


@dataclass(frozen=True)
class Batch:
    """Noisy latents, their time steps, their captions' embeddings and the velocity to predict."""

    noisy: Tensor
    times: Tensor
    text: Tensor
    velocity: Tensor


def draw_batch(bank: CaptionBank, signal: Tensor, lesson: Lesson, generator: torch.Generator) -> Batch:
    """`signal` holds the share of the picture in the variance, for each of the scheduler's time steps."""
    rows, columns, size = _canvas(generator)
    chosen = torch.randint(len(bank.embeddings), (size,), generator=generator)
    labels = bank.labels.chosen(chosen)
    clean = SCALE * latents_of(labels, random_placement(labels, generator, aspect(rows, columns)), rows, columns)
    text = bank.embeddings[chosen].float()
    chance = torch.rand(size, generator=generator)
    nothing = bank.empty[torch.randint(len(bank.empty), (size,), generator=generator)].float()
    # One time step from each of `size` equal stretches: less noise in the loss than independent draws.
    times = ((torch.arange(size) + torch.rand((), generator=generator)) / size * 1000).long().clamp(0, 999)
    asks_nothing = chance < torch.where(times < _LATE, lesson.late_empty_share, _EMPTY_SHARE)
    text = torch.where(asks_nothing.view(-1, 1, 1).to(text.device), nothing, text)
    share = signal[times].view(-1, 1, 1, 1)
    noise = torch.randn(clean.shape, generator=generator)
    misled = torch.ones(size, dtype=torch.bool) if lesson.misleads_empty else ~asks_nothing
    error = _sampler_error(clean, misled, generator)
    # The error fades with the noise, so that the velocity that leads back to the clean latents stays bounded.
    noisy = share.sqrt() * (clean + (1 - share).sqrt() * error) + (1 - share).sqrt() * noise
    velocity = share.sqrt() * noise - (1 - share).sqrt() * clean + share * error
    return Batch(noisy, times, text, velocity)


def _canvas(generator: torch.Generator) -> tuple[int, int, int]:
    """Rows and columns of latents, and how many pictures: 256 pixels most often, then 512, then anything between."""
    kind = float(torch.rand((), generator=generator))
    if kind < 0.55:
        return 16, 16, 20
    if kind < 0.88:
        return 32, 32, 6
    rows, columns = (8 * int(torch.randint(2, 5, (), generator=generator)) for _ in range(2))
    return rows, columns, 8


def _sampler_error(clean: Tensor, misled: Tensor, generator: torch.Generator) -> Tensor:
    """What guidance does to latents: it drives them too far, or leaves something of another picture where misled."""
    size = len(clean)

    def uniform() -> Tensor:
        return torch.rand((size, 1, 1, 1), generator=generator)

    too_far = 6 * uniform() ** 3 * clean
    other = 0.7 * uniform() * (clean.roll(1, 0) - clean)
    error = torch.where((uniform() < 0.5) | ~misled.view(-1, 1, 1, 1), too_far, other)
    return torch.where(uniform() < _DISTURBED_SHARE, error, torch.zeros_like(error))


def train_unet(
    plan: Plan,
    text_weights: dict[str, Any],
    captions: int,
    lesson: Lesson,
    start: dict[str, Any] | None = None,
) -> None:
    """Trains as planned, from the given weights if any, and writes the moving average of the weights."""
    device = torch.device(plan.device)
    bank = make_bank(text_weights, captions, plan.seed, device)
    signal = make_scheduler().alphas_cumprod.float()
    importance = torch.tensor(lesson.emphasis, device=device).view(1, -1, 1, 1)
    unet = make_unet()
    if start:
        unet.load_state_dict(start)
    unet.to(device, memory_format=torch.channels_last).train()
    average = copy.deepcopy(unet).eval()
    weights, average_weights = list(unet.parameters()), list(average.parameters())
    optimizer = torch.optim.AdamW(weights, lr=plan.peak_rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    training = Training(plan, {"unet": unet, "average": average, "optimizer": optimizer})
    for step in training.steps():
        optimizer.param_groups[0]["lr"] = plan.rate(step)
        batch = draw_batch(bank, signal, lesson, plan.generator(step))
        noisy = batch.noisy.to(device, memory_format=torch.channels_last)
        predicted: Any = unet(noisy, batch.times.to(device), batch.text.to(device)).sample
        loss = ((predicted - batch.velocity.to(device)).square() * importance).mean() / SCALE**2
        training.note(loss)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        blend(average_weights, weights, step)
    training.finish(average.state_dict())
