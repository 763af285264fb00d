"""Trains the VAE's decoder to draw the defined latents sharply, also those that a sampler leaves less than clean."""

import copy
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from provider.tiny_model.latents import DRAWN_CHANNELS, PIXELS_PER_LATENT, latents_of
from provider.tiny_model.near_identity import shield_constants
from provider.tiny_model.parts import make_vae
from provider.tiny_model.scenes import Labels, Placement, depth_field, draw, paint, random_placement
from provider.tiny_model.training import Plan, Training, blend

_WINDOW_BLOCKS: Final = 8
_WINDOWS: Final = 4
_CANVASES_BLOCKS: Final = (16, 16, 32)
"""Windows are cut from canvases of 256 pixels (twice as often) and of 512."""


def train_vae(plan: Plan) -> None:
    """Trains as planned and writes the weights of a VAE for the drawn channels, whose encoder is still untrained."""
    device = torch.device(plan.device)
    vae = make_vae(channels=DRAWN_CHANNELS).to(device).train()
    shield_constants(vae)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    average = copy.deepcopy(vae).eval()
    weights = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    average_weights = [*average.decoder.parameters(), *average.post_quant_conv.parameters()]
    optimizer = torch.optim.Adam(weights, lr=plan.peak_rate, betas=(0.9, 0.99), fused=True)
    training = Training(plan, {"vae": vae, "average": average, "optimizer": optimizer})
    for step in training.steps():
        generator = plan.generator(step)
        optimizer.param_groups[0]["lr"] = plan.rate(step)
        if step % 4 == 0:
            pictures, latents = _canvases(2, 16, generator)
        else:
            pictures, latents = _windows(_CANVASES_BLOCKS[step % len(_CANVASES_BLOCKS)], generator)
        decoded = vae.decode(disturb(latents, generator).to(device)).sample
        pictures = pictures.to(device)
        loss = functional.l1_loss(decoded, pictures) + 2 * functional.mse_loss(decoded, pictures)
        training.note(loss)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        blend(average_weights, weights, step)
    training.finish(average.state_dict())


def disturb(latents: Tensor, generator: torch.Generator) -> Tensor:
    """Latents as a sampler may leave them: noisy, colours pale or glaring, here and there quite wrong."""
    count, _, rows, columns = latents.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    strength = torch.cat(
        [0.7 + 0.7 * uniform(count, 6, 1, 1), 0.9 + 0.3 * uniform(count, 1, 1, 1).expand(-1, 4, 1, 1)], 1
    )
    noise = 0.3 * uniform(count, 1, 1, 1) ** 2 * torch.randn(latents.shape, generator=generator)
    # An outline from noisy depths has no one truth: there the decoder would learn to blur.
    noise = noise * torch.tensor([1.0] * 6 + [0.4] * 4).view(1, -1, 1, 1)
    disturbed = latents * strength + noise
    wrong = (uniform(count, 1, rows, columns) < 0.03) & (uniform(count, 1, 1, 1) < 0.3)
    colours = torch.where(wrong, 2 * uniform(count, 6, rows, columns) - 1, disturbed[:, :6])
    return torch.cat([colours, disturbed[:, 6:]], 1)


def _canvases(count: int, blocks: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Whole pictures and their latents."""
    labels = Labels.random(count, generator)
    placement = random_placement(labels, generator)
    side = blocks * PIXELS_PER_LATENT
    return draw(labels, placement, side, side), latents_of(labels, placement, blocks, blocks)[:, :DRAWN_CHANNELS]


def _windows(canvas_blocks: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures of 128 pixels around a point of the shape's outline, cut from a canvas, and their latents."""
    labels = Labels.random(_WINDOWS, generator)
    placement = random_placement(labels, generator)
    starts = [
        _window_start(middle, placement, canvas_blocks, generator).float() for middle in (placement.y, placement.x)
    ]

    def coordinates(start: Tensor, cells_per_block: int) -> Tensor:
        cells = (torch.arange(_WINDOW_BLOCKS * cells_per_block) + 0.5) / cells_per_block
        return (start[:, None] + cells) / canvas_blocks * 2 - 1

    quadrants = coordinates(starts[0], 2), coordinates(starts[1], 2)
    pixels = (coordinates(start, PIXELS_PER_LATENT) for start in starts)
    field = depth_field(labels.shape, placement, *pixels)
    coverage = (0.5 + field * canvas_blocks * PIXELS_PER_LATENT / 2).clamp(0, 1)
    latents = latents_of(labels, placement, _WINDOW_BLOCKS, _WINDOW_BLOCKS, window=quadrants)
    return paint(labels, coverage), latents[:, :DRAWN_CHANNELS]


def _window_start(middle: Tensor, placement: Placement, canvas_blocks: int, generator: torch.Generator) -> Tensor:
    """First block [windows] of windows whose middles lie anywhere in the shape's extent."""
    anywhere = middle + (2 * torch.rand(len(middle), generator=generator) - 1) * placement.half_size
    start = (anywhere + 1) / 2 * canvas_blocks - _WINDOW_BLOCKS / 2
    return start.long().clamp(0, canvas_blocks - _WINDOW_BLOCKS)
