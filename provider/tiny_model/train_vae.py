"""Trains the VAE for the defined latents: the decoder sharpens them, the encoder (every sixth step) produces them."""

import argparse
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from provider.tiny_model.parts import make_vae
from provider.tiny_model.scenes import COLOUR_NAMES, PALETTE, SHAPES, draw_masks, latents_of, random_placement


@dataclass(frozen=True)
class Window:
    """How many pictures of which side are seen at once, cut from a canvas of `canvas` pixels."""

    count: int
    canvas: int
    side: int


_LARGE, _MIDDLE, _CUT = Window(2, 256, 256), Window(4, 256, 128), Window(4, 512, 128)


def draw(window: Window, source: random.Random) -> tuple[Tensor, Tensor]:
    """Pictures [count, 3, side, side] and their latents, the window near the shape's edge where it is smaller."""
    masks = []
    for _ in range(window.count):
        shape = source.randrange(len(SHAPES))
        placement = random_placement(1)
        left = _window_start(window, float(placement.x), float(placement.half_size), source)
        top = _window_start(window, float(placement.y), float(placement.half_size), source)
        masks.append(draw_masks(shape, placement, window.side, left=left, top=top, canvas=window.canvas))
    mask = torch.cat(masks)[:, None]
    colour = torch.randint(len(COLOUR_NAMES), (window.count,))
    background = (colour + torch.randint(1, len(COLOUR_NAMES), (window.count,))) % len(COLOUR_NAMES)
    front, back = PALETTE[colour], PALETTE[background]
    pictures = back.view(-1, 3, 1, 1) + (front - back).view(-1, 3, 1, 1) * mask
    return pictures, latents_of(functional.avg_pool2d(mask, 16)[:, 0], front, back)


def _window_start(window: Window, centre: float, half_size: float, source: random.Random) -> int:
    """A multiple of the VAE's factor, 32, so that pixels and latents stay aligned."""
    if window.side == window.canvas:
        return 0
    middle = (centre + source.uniform(-1, 1) * half_size + 1) * window.canvas / 2
    return max(0, min(window.canvas - window.side, int(middle - window.side / 2))) // 32 * 32


def train(seconds: float, peak_rate: float, output: Path) -> None:
    """Trains for that long and saves the state."""
    vae = make_vae().train()
    optimizer = torch.optim.Adam(vae.parameters(), lr=peak_rate, betas=(0.9, 0.99))
    source = random.Random(7)
    torch.manual_seed(7)
    started, step = time.monotonic(), 0
    while (passed := (time.monotonic() - started) / seconds) < 1:
        warm_up = min(1.0, (step + 1) / 50)
        optimizer.param_groups[0]["lr"] = peak_rate * warm_up * (0.5 + 0.5 * math.cos(math.pi * passed)) + 1e-5
        pictures, latents = draw(_LARGE if step % 4 == 0 else _MIDDLE if step % 2 == 0 else _CUT, source)
        noise = 0.08 * torch.rand(len(latents), 1, 1, 1) * torch.randn_like(latents)
        decoded = vae.decode(latents + noise).sample
        loss = functional.l1_loss(decoded, pictures) + 2 * functional.mse_loss(decoded, pictures)
        if step % 6 == 5:
            encoded = vae.encode(pictures).latent_dist
            narrow = torch.full_like(encoded.logvar, -8.0)
            loss = (
                loss + functional.mse_loss(encoded.mean, latents) + 0.01 * functional.mse_loss(encoded.logvar, narrow)
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)
    torch.save(vae.state_dict(), output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1500)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("vae.pt"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train(arguments.seconds, arguments.rate, arguments.output)
