"""Trains the text encoder as a parser: every position from the end token on must linearly reveal the scene."""

import argparse
import time
from itertools import product
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from provider.tiny_model.parts import MAX_TOKENS, TEXT_WIDTH, make_text_encoder, make_tokenizer
from provider.tiny_model.scenes import CAPTION_TEMPLATES, COLOUR_NAMES, SHAPES, Scene

_COLOURS, _SHAPES = len(COLOUR_NAMES), len(SHAPES)
_SLICES = ((0, _COLOURS), (_COLOURS, 2 * _COLOURS), (2 * _COLOURS, 2 * _COLOURS + _SHAPES))
"""Where the logits of colour, background and shape lie in the parser's head."""

_PEAK_RATE = 3e-3


def train(seconds: float, output: Path) -> None:
    """Trains for that long and saves the state; the head that reads the scene is thrown away."""
    tokenizer = make_tokenizer()
    encoder = make_text_encoder(tokenizer).train()
    head = torch.nn.Linear(TEXT_WIDTH, 2 * _COLOURS + _SHAPES)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=_PEAK_RATE, weight_decay=1e-2)
    numbers = range(_COLOURS)
    cases = [
        (colour, background, shape, template)
        for colour, background, shape, template in product(
            numbers, numbers, range(_SHAPES), range(len(CAPTION_TEMPLATES))
        )
        if colour != background
    ]
    captions = [Scene(*case[:3]).caption(case[3]) for case in cases]
    token_ids = tokenizer(captions, padding="max_length", max_length=MAX_TOKENS, return_tensors="pt").input_ids
    empty_ids = tokenizer("", padding="max_length", max_length=MAX_TOKENS, return_tensors="pt").input_ids
    lengths = torch.tensor([len(tokenizer(caption).input_ids) for caption in captions])
    labels = torch.tensor(cases)
    started, step = time.monotonic(), 0
    while (passed := (time.monotonic() - started) / seconds) < 1:
        optimizer.param_groups[0]["lr"] = _PEAK_RATE * min(1, (step + 1) / 30) * (1 - passed) + 1e-5
        chosen = torch.randint(len(cases), (128,))
        from_end = (torch.arange(MAX_TOKENS)[None] >= lengths[chosen, None] - 1).float()
        loss = _caption_loss(head(encoder(token_ids[chosen])[0]), labels[chosen], from_end)
        loss = loss + 0.1 * _empty_loss(head(encoder(empty_ids)[0]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)
    torch.save(encoder.eval().state_dict(), output)


def _caption_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of the three labels over the weighted positions."""
    loss = torch.zeros(())
    for column, (start, end) in enumerate(_SLICES):
        targets = labels[:, column, None].expand(-1, MAX_TOKENS)
        entropy = functional.cross_entropy(
            logits[:, :, start:end].transpose(1, 2), targets, reduction="none", label_smoothing=0.05
        )
        loss = loss + (entropy * weights).sum() / weights.sum()
    return loss


def _empty_loss(logits: Tensor) -> Tensor:
    """The empty prompt should reveal nothing: every label equally likely."""
    loss = torch.zeros(())
    for start, end in _SLICES:
        loss = loss - logits[..., start:end].log_softmax(-1).mean()
    return loss


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("text_encoder.pt"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train(arguments.seconds, arguments.output)
