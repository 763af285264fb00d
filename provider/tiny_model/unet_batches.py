"""What the UNet is shown: noisy latents of captions' scenes, now and then as a sampler may leave them."""

import random
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from provider.tiny_model.captions import empty_caption, random_caption
from provider.tiny_model.latents import DRAWN_CHANNELS, SCALE, latents_of
from provider.tiny_model.parts import make_text_encoder, make_tokenizer
from provider.tiny_model.scenes import Labels, Scene, aspect, random_placement
from provider.tiny_model.train_text_encoder import tokens_of

_EMPTY_SHARE: Final = 0.08
"""Share of captions that ask for nothing, so that guidance has something to push away from."""

_DISTURBED_SHARE: Final = 0.4
"""Share of inputs that are not what training alone would show, but what a sampler may come to."""

_UNSKETCHED_SHARE: Final = 0.12
"""Share of inputs without the sketch, as the VAE's encoder gives them to image-to-image."""

SPREAD: Final = 0.25
"""Share of the sizes and places that go with a scene. What a prompt leaves open, the UNet predicts blurred at first."""

_LATE: Final = 500
"""The time step under which the picture shows through the noise."""


@dataclass(frozen=True)
class CaptionBank:
    """Captions' embeddings [captions, tokens, width], their scenes, and embeddings of captions that ask for nothing.

    The first of those is the empty caption's.
    """

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
                chunks.append(encoder(token_ids.to(device))[0].half().cpu())
        return torch.cat(chunks)

    scenes: list[Scene] = [scene for _, scene in said]
    nothing = ["", *(empty_caption(source) for _ in range(max(1, count // 40)))]
    return CaptionBank(embed([caption for caption, _ in said]), Labels.of(scenes), embed(nothing))


@dataclass(frozen=True)
class Batch:
    """Noisy latents, their time steps, their captions' embeddings, the velocity to predict, and the loss's weights."""

    noisy: Tensor
    times: Tensor
    text: Tensor
    velocity: Tensor
    weights: Tensor
    """[batch, channels, 1, 1]."""


_SIZE_WEIGHTS: Final = torch.tensor([2.0, 1.0, 0.7])


def importance(labels: Labels, emphasis: tuple[float, ...]) -> Tensor:
    """The loss's weights [batch, channels, 1, 1]: the depth of small shapes, which have few edges, counts for more."""
    weights = torch.tensor(emphasis).repeat(len(labels.size), 1)
    weights[:, 6:DRAWN_CHANNELS] *= _SIZE_WEIGHTS[labels.size][:, None]
    return weights[:, :, None, None]


def draw_batch(
    bank: CaptionBank, signal: Tensor, emphasis: tuple[float, ...], late_empty_share: float, generator: torch.Generator
) -> Batch:
    """`signal` holds the share of the picture in the variance, for each of the scheduler's time steps.

    `late_empty_share` is that of captions that ask for nothing where the picture shows through the noise.
    """
    rows, columns, size = _canvas(generator)
    chosen = torch.randint(len(bank.embeddings), (size,), generator=generator)
    labels = bank.labels.chosen(chosen)
    placement = random_placement(labels, generator, aspect(rows, columns), spread=SPREAD)
    clean = SCALE * latents_of(labels, placement, rows, columns)
    text = bank.embeddings[chosen].float()
    chance = torch.rand(size, generator=generator)
    nothing = bank.empty[torch.randint(len(bank.empty), (size,), generator=generator)].float()
    # One time step from each of `size` equal stretches: less noise in the loss than independent draws.
    times = ((torch.arange(size) + torch.rand((), generator=generator)) / size * 1000).long().clamp(0, 999)
    asks_nothing = chance < torch.where(times < _LATE, max(late_empty_share, _EMPTY_SHARE), _EMPTY_SHARE)
    text = torch.where(asks_nothing.view(-1, 1, 1), nothing, text)
    share = signal[times].view(-1, 1, 1, 1)
    noise = torch.randn(clean.shape, generator=generator)
    error = _sampler_error(clean, ~asks_nothing, generator)
    # The error fades with the noise, so that the velocity that leads back to the clean latents stays bounded.
    noisy = share.sqrt() * (clean + (1 - share).sqrt() * error) + (1 - share).sqrt() * noise
    velocity = share.sqrt() * noise - (1 - share).sqrt() * clean + share * error
    return Batch(noisy, times, text, velocity, importance(labels, emphasis))


def _canvas(generator: torch.Generator) -> tuple[int, int, int]:
    """Rows and columns of latents, and how many pictures: 256 pixels most often, then 512, then anything between."""
    kind = float(torch.rand((), generator=generator))
    if kind < 0.55:
        return 16, 16, 20
    if kind < 0.88:
        return 32, 32, 6
    rows, columns = (8 * int(torch.randint(2, 5, (), generator=generator)) for _ in range(2))
    return rows, columns, 8


def _sampler_error(clean: Tensor, asks_something: Tensor, generator: torch.Generator) -> Tensor:
    """What may be wrong with latents: driven too far, something of another picture in them, or no sketch.

    Only who asks for something can tell that another picture is another.
    """

    def uniform() -> Tensor:
        return torch.rand((len(clean), 1, 1, 1), generator=generator)

    too_far = 6 * uniform() ** 3 * clean
    other = 0.7 * uniform() * (clean.roll(1, 0) - clean)
    error = torch.where((uniform() < 0.5) | ~asks_something.view(-1, 1, 1, 1), too_far, other)
    error = torch.where(uniform() < _DISTURBED_SHARE, error, torch.zeros_like(error))
    unsketched = uniform() < _UNSKETCHED_SHARE
    sketch = torch.where(unsketched, -clean, error)[:, DRAWN_CHANNELS:]
    return torch.cat([error[:, :DRAWN_CHANNELS], sketch], 1)
