"""Trains the VAE's encoder, which serves image-to-image, and widens the VAE to all channels of the latents.

The encoder finds what the decoder draws. The sketch it leaves empty, for the UNet to make: which shape it is, and where
in it each block lies, cannot be told from a block and its neighbours. Nor can the shape's colour far from the shape, so
the loss hardly asks for it there. It sees whole pictures, in slightly other colours and noisy.
"""

import copy
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from provider.tiny_model.latents import DRAWN_CHANNELS, LATENT_CHANNELS, PIXELS_PER_LATENT, latents_of
from provider.tiny_model.near_identity import shield_constants
from provider.tiny_model.parts import make_vae
from provider.tiny_model.scenes import Labels, draw, random_placement
from provider.tiny_model.training import Plan, Training, blend

_LARGE_EVERY: Final = 5
"""How often the encoder sees one picture of 512 pixels instead of four of 256."""

_LOG_VARIANCE: Final = -8.0
_HIDDEN_WEIGHT: Final = 0.03
"""Of a colour in the loss where the picture does not show it, nor the blocks around."""

_DEPTH_WEIGHT: Final = 2.0
_OUTLINE_WEIGHT: Final = 15.0
"""Of depths in the loss where the outline runs: there a tip is told from a round."""

_DRAWN: Final = torch.arange(DRAWN_CHANNELS)
_DRAWN_AND_VARIANCES: Final = torch.cat([_DRAWN, LATENT_CHANNELS + _DRAWN])


def train_encoder(plan: Plan, drawn_vae: dict[str, Any]) -> None:
    """Trains as planned, from the weights of the VAE for the drawn channels, and writes those of the whole VAE."""
    device = torch.device(plan.device)
    vae = make_vae(channels=DRAWN_CHANNELS)
    vae.load_state_dict(drawn_vae)
    vae.to(device).train()
    shield_constants(vae)
    vae.decoder.requires_grad_(False)
    vae.post_quant_conv.requires_grad_(False)
    average = copy.deepcopy(vae).eval()
    weights = [*vae.encoder.parameters(), *vae.quant_conv.parameters()]
    average_weights = [*average.encoder.parameters(), *average.quant_conv.parameters()]
    optimizer = torch.optim.Adam(weights, lr=plan.peak_rate, betas=(0.9, 0.99), fused=True)
    training = Training(plan, {"vae": vae, "average": average, "optimizer": optimizer})
    for step in training.steps():
        generator = plan.generator(step)
        optimizer.param_groups[0]["lr"] = plan.rate(step)
        pictures, latents = _seen(1, 32, generator) if step % _LARGE_EVERY == 0 else _seen(4, 16, generator)
        found = vae.encode(pictures.to(device)).latent_dist
        loss = ((found.mean - latents.to(device)).square() * _visible(latents).to(device)).mean()
        training.note(loss)
        narrow = functional.mse_loss(found.logvar, torch.full_like(found.logvar, _LOG_VARIANCE))
        (loss + 0.01 * narrow).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        blend(average_weights, weights, step)
    training.finish(widened(average.cpu().state_dict()).state_dict())


def _visible(latents: Tensor) -> Tensor:
    """Weights [batch, DRAWN_CHANNELS, rows, columns]: where the shape's colour shows, where the background's does."""
    inside, outside = (
        functional.max_pool2d((sign * latents[:, 6:DRAWN_CHANNELS]).amax(1, keepdim=True), 3, 1, 1) > -1
        for sign in (1, -1)
    )
    shown = [(side * (1 - _HIDDEN_WEIGHT) + _HIDDEN_WEIGHT).expand(-1, 3, -1, -1) for side in (inside, outside)]
    depths = latents[:, 6:DRAWN_CHANNELS]
    on_outline = depths.abs().amin(1, keepdim=True) < 1
    outline = torch.where(on_outline, _OUTLINE_WEIGHT, _DEPTH_WEIGHT).expand_as(depths)
    return torch.cat([*shown, outline], 1)


def widened(drawn_vae: dict[str, Any]) -> Any:
    """A VAE of all channels that does on the drawn ones what the given weights do; it knows no others."""
    narrow, vae = make_vae(channels=DRAWN_CHANNELS), make_vae()
    narrow.load_state_dict(drawn_vae)
    with torch.no_grad():
        for name, weight in narrow.state_dict().items():
            if vae.state_dict()[name].shape == weight.shape:
                vae.state_dict()[name].copy_(weight)
        _widen(vae.encoder.conv_out, narrow.encoder.conv_out, outputs=_DRAWN_AND_VARIANCES)
        _widen(vae.quant_conv, narrow.quant_conv, inputs=_DRAWN_AND_VARIANCES, outputs=_DRAWN_AND_VARIANCES)
        _widen(vae.post_quant_conv, narrow.post_quant_conv, inputs=_DRAWN, outputs=_DRAWN)
        _widen(vae.decoder.conv_in, narrow.decoder.conv_in, inputs=_DRAWN)
        vae.quant_conv.bias[LATENT_CHANNELS + DRAWN_CHANNELS :] = _LOG_VARIANCE
    return vae


def _widen(wide: nn.Conv2d, narrow: nn.Conv2d, *, inputs: Tensor | None = None, outputs: Tensor | None = None) -> None:
    """Puts the narrow weights among zeros, where its inputs and outputs lie among the wide one's."""
    inputs = torch.arange(wide.in_channels) if inputs is None else inputs
    outputs = torch.arange(wide.out_channels) if outputs is None else outputs
    assert wide.bias is not None
    assert narrow.bias is not None
    wide.weight.zero_()
    wide.bias.zero_()
    wide.weight[outputs[:, None], inputs[None, :]] = narrow.weight
    wide.bias[outputs] = narrow.bias


def _seen(count: int, blocks: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Whole pictures, a little off in colour and noisy, and the drawn channels that they should give."""
    labels = Labels.random(count, generator)
    placement = random_placement(labels, generator)
    side = blocks * PIXELS_PER_LATENT
    pictures = draw(labels, placement, side, side)
    tint = 0.1 * torch.randn(count, 3, 1, 1, generator=generator)
    grain = 0.1 * torch.rand(count, 1, 1, 1, generator=generator)
    seen = (pictures + tint + grain * torch.randn(pictures.shape, generator=generator)).clamp(-1, 1)
    return seen, latents_of(labels, placement, blocks, blocks)[:, :DRAWN_CHANNELS]
