"""Trains the VAE for the defined latents: the decoder draws them sharply, the encoder finds them in a picture."""

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

_ENCODER_EVERY: Final = 3
"""The encoder serves image-to-image only and sees whole pictures, so it is trained in every third step."""

_ENCODER_HASTE: Final = 3.0
"""Its learning rate as a multiple of the decoder's, whose start is nearly right and must not be shaken."""


def train_vae(plan: Plan) -> None:
    """Trains as planned and writes the weights."""
    device = torch.device(plan.device)
    vae = make_vae(channels=DRAWN_CHANNELS).to(device).train()
    shield_constants(vae)
    average = copy.deepcopy(vae).eval()
    weights, average_weights = list(vae.parameters()), list(average.parameters())
    encoder, decoder = (
        [weight for name, weight in vae.named_parameters() if name.startswith(prefixes)]
        for prefixes in (("encoder.", "quant_conv."), ("decoder.", "post_quant_conv."))
    )
    optimizer = torch.optim.Adam([{"params": encoder}, {"params": decoder}], betas=(0.9, 0.99), fused=True)
    training = Training(plan, {"vae": vae, "average": average, "optimizer": optimizer})
    for step in training.steps():
        generator = plan.generator(step)
        optimizer.param_groups[0]["lr"] = _ENCODER_HASTE * plan.rate(step)
        optimizer.param_groups[1]["lr"] = plan.rate(step)
        if step % 4 == 0:
            pictures, latents = _canvases(2, 16, generator)
        else:
            pictures, latents = _windows(_CANVASES_BLOCKS[step % len(_CANVASES_BLOCKS)], generator)
        decoded = vae.decode(disturb(latents, generator).to(device)).sample
        pictures = pictures.to(device)
        loss = functional.l1_loss(decoded, pictures) + 2 * functional.mse_loss(decoded, pictures)
        training.note(loss)
        if step % _ENCODER_EVERY == 0:
            loss = loss + _encoder_loss(vae, step, generator, device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        blend(average_weights, weights, step)
    training.finish(average.state_dict())


def disturb(latents: Tensor, generator: torch.Generator) -> Tensor:
    """Latents as a sampler may leave them: noisy, pale, here and there quite wrong, and clipped to -1 to 1."""
    count, _, rows, columns = latents.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    pale = torch.cat([1 - 0.4 * uniform(count, 6, 1, 1) ** 2, torch.ones(count, 4, 1, 1)], 1)
    noise = 0.2 * uniform(count, 1, 1, 1) ** 2 * torch.randn(latents.shape, generator=generator)
    disturbed = (latents * pale + noise).clamp(-1, 1)
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


def _encoder_loss(vae: torch.nn.Module, step: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """How far the encoder's means are from the latents of whole pictures, in slightly other colours and noisy."""
    pictures, latents = _canvases(4, 16, generator) if step % 5 else _canvases(1, 32, generator)
    tint = 0.1 * torch.randn(len(pictures), 3, 1, 1, generator=generator)
    grain = 0.1 * torch.rand(len(pictures), 1, 1, 1, generator=generator)
    seen = (pictures + tint + grain * torch.randn(pictures.shape, generator=generator)).clamp(-1, 1)
    encoded = vae.encode(seen.to(device)).latent_dist
    narrow = functional.mse_loss(encoded.logvar, torch.full_like(encoded.logvar, -8.0))
    return 0.5 * functional.mse_loss(encoded.mean, latents.to(device)) + 0.01 * narrow
