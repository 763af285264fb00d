"""Trains the text encoder as a parser: every position from the end token on must linearly reveal the scene."""

import random
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from provider.tiny_model.captions import empty_caption, random_caption
from provider.tiny_model.parts import MAX_TOKENS, TEXT_WIDTH, make_text_encoder, make_tokenizer
from provider.tiny_model.scenes import LABEL_COUNTS, Scene
from provider.tiny_model.training import Plan, Training

_BATCH: Final = 96
_EMPTY: Final = 6
"""How many captions of a batch ask for nothing: those should reveal nothing, so that guidance has a zero point."""


def train_text_encoder(plan: Plan) -> None:
    """Trains as planned and writes the weights; the head that reads the scene stays in the checkpoint."""
    device = torch.device(plan.device)
    tokenizer = make_tokenizer()
    encoder = make_text_encoder(tokenizer).to(device).train()
    head = torch.nn.Linear(TEXT_WIDTH, sum(LABEL_COUNTS)).to(device)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=plan.peak_rate, betas=(0.9, 0.98), weight_decay=1e-2)
    training = Training(plan, {"encoder": encoder, "head": head, "optimizer": optimizer})
    for step in training.steps():
        optimizer.param_groups[0]["lr"] = plan.rate(step)
        source = random.Random(f"{plan.seed} {step}")
        said = [random_caption(source) for _ in range(_BATCH)]
        captions = [caption for caption, _ in said] + [empty_caption(source) for _ in range(_EMPTY)]
        token_ids, after_end = tokens_of(tokenizer, captions)
        logits = head(encoder(token_ids.to(device))[0])
        targets = [wanted.to(device) for wanted in _targets([scene for _, scene in said])]
        loss = _reading_loss(logits, targets, after_end.to(device))
        training.note(loss)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    training.finish(encoder.state_dict())


def tokens_of(tokenizer: Any, captions: list[str]) -> tuple[Tensor, Tensor]:
    """Token numbers [captions, MAX_TOKENS], and 1.0 at every position from the end token on."""
    token_ids: Tensor = tokenizer(
        captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    ).input_ids
    return token_ids, (token_ids == tokenizer.eos_token_id).float()


def _targets(scenes: list[Scene]) -> list[Tensor]:
    """For each label the wanted probabilities [captions, values]: a little smoothed, and even where nothing is said."""
    rows = torch.tensor([(s.colour, s.background, s.shape, s.position, s.size) for s in scenes])
    targets = []
    for column, count in enumerate(LABEL_COUNTS):
        said = functional.one_hot(rows[:, column], count).float()
        said = 0.97 * said + 0.03 / count
        targets.append(torch.cat([said, torch.full((_EMPTY, count), 1 / count)]))
    return targets


def _reading_loss(logits: Tensor, targets: list[Tensor], weights: Tensor) -> Tensor:
    """Cross-entropy of the five labels beyond that of the targets, averaged over the weighted positions."""
    total = weights.sum()
    loss = torch.zeros((), device=logits.device)
    for scores, wanted in zip(logits.split(LABEL_COUNTS, -1), targets, strict=True):
        divergence = functional.kl_div(scores.log_softmax(-1), wanted[:, None].expand_as(scores), reduction="none")
        loss = loss + (divergence.sum(-1) * weights).sum() / total
    return loss
