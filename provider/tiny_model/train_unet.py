"""Trains the UNet on the defined latents; the text encoder is frozen, so a bank of captions is embedded beforehand."""

import copy
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from provider.tiny_model.guided_pictures import GuidedPictures
from provider.tiny_model.latents import SCALE
from provider.tiny_model.parts import make_scheduler, make_unet
from provider.tiny_model.training import Plan, Training, blend
from provider.tiny_model.unet_batches import Batch, draw_batch, make_bank

_FINE: Final = torch.tensor([False] * 6 + [True] * 4 + [False] * 3 + [True] * 2).view(1, -1, 1, 1)
"""The channels that differ from block to block."""


@dataclass(frozen=True)
class Lesson:
    """What one training of the UNet cares for."""

    emphasis: tuple[float, ...]
    """Weights of the channels in the loss: colours and the shape's name are learned soon, place and outline are not."""

    late_empty_share: float = 0.0
    """Share of captions that ask for nothing in late time steps."""

    guided_share: float = 0.0
    """Share of the steps that show pictures which the UNet makes itself under guidance."""

    guidance: tuple[float, float] = (1.0, 9.0)
    """Of those pictures, from and to."""

    agreement: float = 0.0
    """Weight of the difference between predictions with and without a prompt, where both see the picture."""

    sees: tuple[int, int] = (300, 400)
    """Up to the first time step that difference counts fully, from the second on not at all: there, a prompt says more
    than the noise shows."""


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
    unet = make_unet()
    if start:
        unet.load_state_dict(start)
    unet.to(device, memory_format=torch.channels_last).train()
    average = copy.deepcopy(unet).eval()
    weights, average_weights = list(unet.parameters()), list(average.parameters())
    optimizer = torch.optim.AdamW(weights, lr=plan.peak_rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    guided = GuidedPictures(bank, signal, lesson.emphasis, lesson.guidance, plan.seed)
    training = Training(plan, {"unet": unet, "average": average, "optimizer": optimizer, "guided": guided})
    for step in training.steps():
        generator = plan.generator(step)
        optimizer.param_groups[0]["lr"] = plan.rate(step)
        is_guided = float(torch.rand((), generator=generator)) < lesson.guided_share
        batch = (
            guided.batch(generator)
            if is_guided
            else draw_batch(bank, signal, lesson.emphasis, lesson.late_empty_share, generator)
        )
        noisy = batch.noisy.to(device, memory_format=torch.channels_last)
        predicted: Any = unet(noisy, batch.times.to(device), batch.text.to(device)).sample
        loss = ((predicted - batch.velocity.to(device)).square() * batch.weights.to(device)).mean()
        training.note(loss / SCALE**2)
        if is_guided:
            loss = loss + lesson.agreement * _disagreement(predicted, batch, lesson.sees)
            guided.advance(predicted.detach().float().cpu(), generator)
        (loss / SCALE**2).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        blend(average_weights, weights, step)
    training.finish(average.state_dict())


def _disagreement(predicted: Tensor, batch: Batch, sees: tuple[int, int]) -> Tensor:
    """The mean square by which predictions with a prompt (the first half) and without differ, where both could know.

    In depth and place only the one without a prompt is drawn to the other, which is sharper.
    """
    with_prompt, without = predicted.chunk(2)
    times = batch.times[: len(with_prompt)].to(predicted.device)
    known = ((sees[1] - times) / (sees[1] - sees[0])).clamp(0, 1)
    teacher = torch.where(_FINE.to(predicted.device), with_prompt.detach(), with_prompt)
    return ((teacher - without).square().mean((1, 2, 3)) * known).mean()
