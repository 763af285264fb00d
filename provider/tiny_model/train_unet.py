"""Trains the UNet on the defined latents; the text encoder is frozen, so every caption is embedded once."""

import argparse
import copy
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from provider.tiny_model.parts import (
    MAX_TOKENS,
    TEXT_WIDTH,
    make_scheduler,
    make_text_encoder,
    make_tokenizer,
    make_unet,
)
from provider.tiny_model.scenes import (
    CAPTION_TEMPLATES,
    COLOUR_NAMES,
    PALETTE,
    SHAPES,
    Scene,
    latents_of,
    make_mask_bank,
)

_COLOURS, _SHAPES, _TEMPLATES = len(COLOUR_NAMES), len(SHAPES), len(CAPTION_TEMPLATES)
_EMPTY_SHARE = 0.08
"""Share of captions left empty, so that guidance has something to push away from."""


def embed_captions(text_encoder_state: Path) -> tuple[Tensor, Tensor]:
    """Embeddings [colour, background, shape, template, token, width] of all captions, and those of the empty one."""
    tokenizer = make_tokenizer()
    encoder = make_text_encoder(tokenizer).eval()
    encoder.load_state_dict(torch.load(text_encoder_state, weights_only=True))

    def embed(captions: list[str]) -> Tensor:
        chunks = []
        for start in range(0, len(captions), 256):
            ids = tokenizer(
                captions[start : start + 256], padding="max_length", max_length=MAX_TOKENS, return_tensors="pt"
            ).input_ids
            with torch.no_grad():
                chunks.append(encoder(ids)[0])
        return torch.cat(chunks)

    captions = [
        Scene(colour, background, shape).caption(template)
        for colour in range(_COLOURS)
        for background in range(_COLOURS)
        for shape in range(_SHAPES)
        for template in range(_TEMPLATES)
    ]
    table = embed(captions).view(_COLOURS, _COLOURS, _SHAPES, _TEMPLATES, MAX_TOKENS, TEXT_WIDTH)
    return table, embed([""])


class Batches:
    """Draws noisy latents, their time steps, their captions' embeddings and the velocity to predict."""

    def __init__(self, embeddings: Tensor, empty: Tensor, count_per_shape: int) -> None:
        self._embeddings = embeddings
        self._empty = empty
        self._bank = make_mask_bank(count_per_shape)
        self._signal = make_scheduler().alphas_cumprod.float()

    def draw(self, size: int, *, small: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`small` halves the side of the latents: 8 by 8, a picture of 256 pixels."""
        shape = torch.randint(_SHAPES, (size,))
        colour = torch.randint(_COLOURS, (size,))
        background = (colour + torch.randint(1, _COLOURS, (size,))) % _COLOURS
        masks = self._bank[shape, torch.randint(self._bank.shape[1], (size,))]
        if small:
            masks = functional.avg_pool2d(masks[:, None], 2)[:, 0]
        clean = latents_of(masks, PALETTE[colour], PALETTE[background])
        text = self._embeddings[colour, background, shape, torch.randint(_TEMPLATES, (size,))]
        text = torch.where((torch.rand(size) < _EMPTY_SHARE).view(size, 1, 1), self._empty, text)
        # One time step from each of `size` equal stretches: less noise in the loss than independent draws.
        times = ((torch.arange(size) + torch.rand(())) / size * 1000).long().clamp(0, 999)
        signal = self._signal[times].view(size, 1, 1, 1)
        noise = torch.randn_like(clean)
        noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        return noisy, times, text, signal.sqrt() * noise - (1 - signal).sqrt() * clean


def learning_rate(peak: float, step: int, passed: float) -> float:
    """A short warm-up, the peak until 30 % of the time, then a cosine to almost nothing."""
    decay = 1.0 if passed < 0.3 else 0.5 + 0.5 * math.cos(math.pi * (passed - 0.3) / 0.7)
    return peak * min(1.0, (step + 1) / 50) * decay + 1e-6


def train(arguments: argparse.Namespace) -> None:
    """Trains for the given time and saves the moving average of the weights."""
    embeddings, empty = embed_captions(arguments.text_encoder)
    batches = Batches(embeddings, empty, arguments.bank)
    unet = make_unet().to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(unet).eval()
    weights, average_weights = list(unet.parameters()), list(average.parameters())
    optimizer = torch.optim.AdamW(weights, lr=arguments.rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    torch.manual_seed(0)
    started, step = time.monotonic(), 0
    while (passed := (time.monotonic() - started) / arguments.seconds) < 1:
        optimizer.param_groups[0]["lr"] = learning_rate(arguments.rate, step, passed)
        small = bool(torch.rand(()) < arguments.small_share)
        noisy, times, text, velocity = batches.draw(arguments.batch * (2 if small else 1), small=small)
        predicted: Any = unet(noisy.contiguous(memory_format=torch.channels_last), times, text).sample
        loss = functional.mse_loss(predicted, velocity)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        with torch.no_grad():
            torch._foreach_lerp_(average_weights, weights, 1 - min(0.998, (1 + step) / (10 + step)))
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)
    torch.save(average.state_dict(), arguments.output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1300)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--small-share", type=float, default=0.4, help="share of the steps at 8 by 8")
    parser.add_argument("--bank", type=int, default=2048, help="masks drawn per shape")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--text-encoder", type=Path, default=Path("text_encoder.pt"))
    parser.add_argument("--output", type=Path, default=Path("unet.pt"))
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    train(parsed)
